package polkit_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/txupd/txupd/internal/polkit"
	"github.com/txupd/txupd/internal/testbed"
)

// patience bounds every wait: reaching it is a failure, never a pass.
const patience = time.Minute

// authority connects to a bus and asks whoever is polkit there.
func authority(t *testing.T, b *testbed.Bus) (a *polkit.Authority, hearing *atomic.Int32) {
	t.Helper()
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	hearing = &atomic.Int32{}
	return polkit.New(conn, func(string) func() {
		hearing.Add(1)
		return func() { hearing.Add(-1) }
	}), hearing
}

func privateBus(t *testing.T) *testbed.Bus {
	t.Helper()
	testbed.NeedRoot(t)
	return testbed.PrivateBus(t, testbed.BusOptions{})
}

func TestAnswersOfPolkit(t *testing.T) {
	b := privateBus(t)
	type wanted struct {
		answer      testbed.PolkitAnswer
		interactive bool
		want        error
	}
	table := map[string]wanted{
		"yes":                       {testbed.PolkitYes, false, nil},
		"yes, by a password":        {testbed.PolkitYes, true, nil},
		"no":                        {testbed.PolkitNo, false, polkit.ErrDenied},
		"no, whatever the password": {testbed.PolkitNo, true, polkit.ErrDenied},
		"a password would do":       {testbed.PolkitChallenge, false, polkit.ErrChallenge},
		"nobody to ask":             {testbed.PolkitChallenge, true, polkit.ErrUnanswered},
		"dismissed":                 {testbed.PolkitDismissed, true, polkit.ErrDismissed},
	}
	fake := testbed.NewPolkit(t, b, func(q testbed.PolkitQuestion) testbed.PolkitAnswer { return table[q.Details["case"]].answer })
	a, hearing := authority(t, b)
	for name, c := range table {
		t.Run(name, func(t *testing.T) {
			q := polkit.Question{Caller: ":1.4711", Action: polkit.Transact, Interactive: c.interactive, Details: map[string]string{"case": name}}
			if err := a.Check(t.Context(), q); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if hearing.Load() != 0 {
		t.Errorf("it still listens to %d answers", hearing.Load())
	}
	details := map[string]string{"packages": "hello vim", "number": "4", "case": "yes"}
	if err := a.Check(t.Context(), polkit.Question{Caller: ":1.7", Action: polkit.Update, Details: details, Interactive: true}); err != nil {
		t.Error(err)
	}
	asked := fake.Asked()
	want := testbed.PolkitQuestion{Kind: "system-bus-name", Caller: ":1.7", Action: "org.txupd1.update", Details: details, Flags: 1}
	if d := cmp.Diff(want, asked[len(asked)-1], cmpopts.IgnoreFields(testbed.PolkitQuestion{}, "ID", "Cancelled")); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	ids := map[string]bool{}
	for _, q := range asked {
		ids[q.ID] = true
	}
	if ids[""] || len(ids) != len(asked) {
		t.Errorf("%d questions have the ids %v to be cancelled by", len(asked), ids)
	}
}

func TestWithoutPolkit(t *testing.T) {
	a, _ := authority(t, privateBus(t))
	if err := a.Check(t.Context(), polkit.Question{Caller: ":1.1", Action: polkit.Transact}); !errors.Is(err, polkit.ErrAbsent) {
		t.Errorf("%v, want %v", err, polkit.ErrAbsent)
	}
}

// TestWhoIsAskedIsLeftAlone: when nobody waits for the answer any more.
func TestWhoIsAskedIsLeftAlone(t *testing.T) {
	b := privateBus(t)
	asked, cancelled := make(chan struct{}, 2), make(chan struct{}, 2)
	testbed.NewPolkit(t, b, func(q testbed.PolkitQuestion) testbed.PolkitAnswer {
		asked <- struct{}{}
		<-q.Cancelled
		cancelled <- struct{}{}
		return testbed.PolkitYes
	})
	a, hearing := authority(t, b)
	wait := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(patience):
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	left, done := errors.New("it left"), make(chan error, 1)
	go func() {
		done <- a.Check(ctx, polkit.Question{Caller: ":1.1", Action: polkit.Transact, Interactive: true})
	}()
	wait("somebody is asked", asked)
	cancel(left)
	wait("it is taken back", cancelled)
	if err := <-done; !errors.Is(err, left) {
		t.Errorf("the check ends with %v", err)
	}
	// The same where it takes too long.
	a.Patience = 20 * time.Millisecond
	if err := a.Check(t.Context(), polkit.Question{Caller: ":1.1", Action: polkit.Transact}); err == nil || errors.Is(err, left) {
		t.Errorf("polkit that does not answer: %v", err)
	}
	wait("it is taken back", cancelled)
	if hearing.Load() != 0 {
		t.Errorf("it still listens to %d answers", hearing.Load())
	}
}

func TestPolkitThatEnds(t *testing.T) {
	b := privateBus(t)
	asked, ended := make(chan struct{}), make(chan struct{})
	fake := testbed.NewPolkit(t, b, func(testbed.PolkitQuestion) testbed.PolkitAnswer {
		close(asked)
		<-ended
		return testbed.PolkitYes
	})
	go func() {
		defer close(ended)
		<-asked
		fake.Leave()
	}()
	a, _ := authority(t, b)
	err := a.Check(t.Context(), polkit.Question{Caller: ":1.1", Action: polkit.Transact})
	if err == nil || !errors.As(err, new(dbus.Error)) {
		t.Errorf("polkit ended while it was asked: %v", err)
	}
	// The next one is asked, not the one that is gone.
	testbed.NewPolkit(t, b, func(testbed.PolkitQuestion) testbed.PolkitAnswer { return testbed.PolkitYes })
	if err := a.Check(t.Context(), polkit.Question{Caller: ":1.1", Action: polkit.Transact}); err != nil {
		t.Errorf("the next polkit: %v", err)
	}
}

// TestPolkitThatIsReplaced: between the question who it is and the one that matters.
func TestPolkitThatIsReplaced(t *testing.T) {
	b := privateBus(t)
	old := testbed.NewPolkit(t, b, func(testbed.PolkitQuestion) testbed.PolkitAnswer { return testbed.PolkitNo })
	a, _ := authority(t, b)
	replace := sync.OnceFunc(func() {
		old.Leave()
		testbed.NewPolkit(t, b, func(testbed.PolkitQuestion) testbed.PolkitAnswer { return testbed.PolkitYes })
	})
	a.Hear = func(string) func() {
		replace()
		return func() {}
	}
	if err := a.Check(t.Context(), polkit.Question{Caller: ":1.1", Action: polkit.Transact}); err != nil {
		t.Errorf("the new one says yes: %v", err)
	}
}
