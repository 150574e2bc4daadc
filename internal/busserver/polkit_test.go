// The server and an authority on one bus: who is asked about whom, and that
// nobody else notices.

package busserver

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/polkit"
	"github.com/txupd/txupd/internal/testbed"
)

// somebody is a user who is not root.
const somebody = 65534

const notAuthorized = fault.Prefix + "NotAuthorized"

// as connects as another user.
func (ts *testServer) as(uid int) *testbed.RawBus {
	ts.t.Helper()
	r, err := ts.bus.RawAs(uid)
	if err == nil {
		err = r.Patience(2 * patience) // of its whole life
	}
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { r.Close() })
	return r
}

// judge is an authority whose answers wait for the test, where they are not given at once.
type judge struct {
	*testbed.Polkit
	mu      sync.Mutex
	at      map[string]testbed.PolkitAnswer // by method or caller
	asked   chan testbed.PolkitQuestion     // where neither is in at
	answers chan testbed.PolkitAnswer
}

func (ts *testServer) judge(at map[string]testbed.PolkitAnswer) *judge {
	j := &judge{at: at, asked: make(chan testbed.PolkitQuestion, 100), answers: make(chan testbed.PolkitAnswer)}
	ended := make(chan struct{})
	j.Polkit = testbed.NewPolkit(ts.t, ts.bus, func(q testbed.PolkitQuestion) testbed.PolkitAnswer {
		j.mu.Lock()
		a, at := j.at[q.Details["method"]]
		if !at {
			a, at = j.at[q.Caller]
		}
		j.mu.Unlock()
		if at {
			return a
		}
		j.asked <- q
		select {
		case a := <-j.answers:
			return a
		case <-q.Cancelled:
		case <-ended:
		}
		return testbed.PolkitNo
	})
	ts.t.Cleanup(func() { close(ended) })
	return j
}

func (j *judge) next(t *testing.T) testbed.PolkitQuestion {
	t.Helper()
	select {
	case q := <-j.asked:
		return q
	case <-time.After(patience):
		t.Fatalf("polkit is not asked within %v", patience)
		panic("unreachable")
	}
}

// TestWhoMayIsDecidedByPolkit: what it says, and what becomes of that on the bus.
func TestWhoMayIsDecidedByPolkit(t *testing.T) {
	for name, c := range map[string]struct {
		flags  dbus.Flags
		answer testbed.PolkitAnswer
		want   string // the error's name
		words  string
	}{
		"yes":             {0, testbed.PolkitYes, "", ""},
		"no":              {0, testbed.PolkitNo, notAuthorized, "not authorised to work: polkit's rules"},
		"challenge":       {0, testbed.PolkitChallenge, errInteractive, "a password is needed to work"},
		"password":        {dbus.FlagAllowInteractiveAuthorization, testbed.PolkitYes, "", ""},
		"wrong password":  {dbus.FlagAllowInteractiveAuthorization, testbed.PolkitChallenge, notAuthorized, "wrong"},
		"dismissed":       {dbus.FlagAllowInteractiveAuthorization, testbed.PolkitDismissed, notAuthorized, "dismissed"},
		"no, and may ask": {dbus.FlagAllowInteractiveAuthorization, testbed.PolkitNo, notAuthorized, "rules"},
	} {
		t.Run(name, func(t *testing.T) {
			ts := serveTest(t)
			ts.letGo()
			j := ts.judge(map[string]testbed.PolkitAnswer{"Work": c.answer})
			r := ts.as(somebody)
			_, err := r.Answer(send(t, r, "Work", c.flags, options{}))
			if errorName(err) != c.want || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %q and %q", err, c.want, c.words)
			}
			_, _, most := ts.state()
			if worked := most > 0; worked != (c.want == "") {
				t.Errorf("worked: %v", worked)
			}
			want := testbed.PolkitQuestion{Kind: "system-bus-name", Caller: r.Name, Action: polkit.Transact,
				Details: map[string]string{"method": "Work", polkit.MessageKey: "Authentication is required to work."}}
			if c.flags != 0 {
				want.Flags = polkit.AllowUserInteraction
			}
			asked := j.Asked()
			if len(asked) != 1 {
				t.Fatalf("asked %d times", len(asked))
			}
			got := asked[0]
			got.ID, got.Cancelled = "", nil
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("asked (-want +got):\n%s", d)
			}
		})
	}
}

func TestRootAsksNobody(t *testing.T) {
	ts := serveTest(t)
	ts.letGo()
	j := ts.judge(map[string]testbed.PolkitAnswer{"Work": testbed.PolkitNo})
	if err := ask(ts.client(), "Work", options{}).Err; err != nil {
		t.Error(err)
	}
	if asked := j.Asked(); len(asked) != 0 {
		t.Errorf("polkit was asked about root: %+v", asked)
	}
}

func TestWithoutPolkitOnlyRootMay(t *testing.T) {
	ts := serveTest(t)
	ts.letGo()
	r := ts.as(somebody)
	for _, flags := range []dbus.Flags{0, dbus.FlagAllowInteractiveAuthorization} {
		_, err := r.Answer(send(t, r, "Work", flags, options{}))
		if errorName(err) != notAuthorized || !strings.Contains(err.Error(), "only root may") {
			t.Errorf("%v", err)
		}
	}
	if err := ask(ts.client(), "Work", options{}).Err; err != nil {
		t.Errorf("root: %v", err)
	}
}

// TestPolkitSeesOnlyCallsThatMakeSense: nobody is asked for a password for what is refused then.
func TestPolkitSeesOnlyCallsThatMakeSense(t *testing.T) {
	ts := serveTest(t)
	j := ts.judge(map[string]testbed.PolkitAnswer{"Work": testbed.PolkitYes, "Ask": testbed.PolkitNo})
	r := ts.as(somebody)
	for _, args := range [][]any{{"x"}, {options{"typo": dbus.MakeVariant(1)}}, {}} {
		if _, err := r.Answer(send(t, r, "Work", 0, args...)); errorName(err) != fault.Prefix+"InvalidArgument" {
			t.Errorf("Work(%v): %v", args, err)
		}
	}
	if _, err := r.Answer(send(t, r, "Ask", 0, options{})); err != nil {
		t.Errorf("reading state: %v", err)
	}
	if asked := j.Asked(); len(asked) != 0 {
		t.Errorf("polkit was asked: %+v", asked)
	}
}

// TestThinkingAboutAPasswordKeepsNobody: neither others nor oneself, neither who reads nor who changes.
func TestThinkingAboutAPasswordKeepsNobody(t *testing.T) {
	ts := serveTest(t)
	ts.letGo()
	j := ts.judge(nil)
	thinks, root := ts.as(somebody), ts.client()
	ts.answers(root)
	serial := send(t, thinks, "Work", dbus.FlagAllowInteractiveAuthorization, options{})
	j.next(t)
	for range 10 {
		ts.answers(root)
		if err := ask(root, "Work", options{}).Err; err != nil {
			t.Errorf("another change: %v", err)
		}
	}
	same := ts.as(somebody)
	if _, err := same.Answer(send(t, same, "Ask", 0, options{})); err != nil {
		t.Errorf("a question of the same user: %v", err)
	}
	if _, _, most := ts.state(); most > 1 {
		t.Errorf("%d changes at the same time: that of who thinks is among them", most)
	}
	j.answers <- testbed.PolkitYes
	if _, err := thinks.Answer(serial); err != nil {
		t.Errorf("in the end: %v", err)
	}
}

// TestWhoLeavesIsAskedNoMore: and nothing is done for it.
func TestWhoLeavesIsAskedNoMore(t *testing.T) {
	ts := serveTest(t)
	ts.letGo()
	j := ts.judge(nil)
	leaves := ts.as(somebody)
	send(t, leaves, "Work", dbus.FlagAllowInteractiveAuthorization, options{})
	q := j.next(t)
	leaves.Close()
	select {
	case <-q.Cancelled:
	case <-time.After(patience):
		t.Fatalf("the question is not taken back within %v", patience)
	}
	ts.eventually("nothing is left of it", func() bool {
		ts.asking.mu.Lock()
		defer ts.asking.mu.Unlock()
		ts.link.hearing.Lock()
		defer ts.link.hearing.Unlock()
		return len(ts.asking.users) == 0 && len(ts.link.heard) == 0
	})
	if _, _, most := ts.state(); most != 0 {
		t.Error("it was done all the same")
	}
	ts.answers(ts.client())
}

func TestPolkitThatLeavesInBetween(t *testing.T) {
	ts := serveTest(t)
	ts.letGo()
	j := ts.judge(nil)
	r := ts.as(somebody)
	serial := send(t, r, "Work", dbus.FlagAllowInteractiveAuthorization, options{})
	j.next(t)
	j.Leave()
	if _, err := r.Answer(serial); errorName(err) != notAuthorized || !strings.Contains(err.Error(), "polkit ended before it answered") {
		t.Errorf("%v", err)
	}
	// The next one is asked.
	ts.judge(map[string]testbed.PolkitAnswer{"Work": testbed.PolkitYes})
	if _, err := r.Answer(send(t, r, "Work", 0, options{})); err != nil {
		t.Errorf("with another polkit: %v", err)
	}
}

// TestQuestionsToPolkitAreBounded: for each user on its own.
func TestQuestionsToPolkitAreBounded(t *testing.T) {
	ts := serveTest(t)
	ts.letGo()
	r, other := ts.as(somebody), ts.as(1)
	j := ts.judge(map[string]testbed.PolkitAnswer{other.Name: testbed.PolkitYes})
	for range maxAsking {
		send(t, r, "Work", dbus.FlagAllowInteractiveAuthorization, options{})
		j.next(t)
	}
	if _, err := r.Answer(send(t, r, "Work", 0, options{})); errorName(err) != limits {
		t.Errorf("question %d: %v", maxAsking+1, err)
	}
	if _, err := other.Answer(send(t, other, "Work", 0, options{})); err != nil {
		t.Errorf("another user: %v", err)
	}
}

// TestNobodyElseAnswersForPolkit: answers of strangers do not come through.
func TestNobodyElseAnswersForPolkit(t *testing.T) {
	l := &link{}
	answer := header{kind: dbus.TypeMethodReply, sender: ":1.7"}
	if l.hears(answer) {
		t.Error("an answer of a stranger is heard")
	}
	first, second := l.hear(":1.7"), l.hear(":1.7")
	if !l.hears(answer) || !l.hears(header{kind: dbus.TypeError, sender: ":1.7"}) {
		t.Error("polkit is not heard")
	}
	if l.hears(header{kind: dbus.TypeSignal, sender: ":1.7"}) || l.hears(header{kind: dbus.TypeMethodReply, sender: ":1.8"}) {
		t.Error("more than the answers of polkit is heard")
	}
	first()
	first()
	if !l.hears(answer) {
		t.Error("the second question hears nothing any more")
	}
	second()
	if l.hears(answer) || len(l.heard) != 0 {
		t.Errorf("after the last answer %v are heard", l.heard)
	}
}
