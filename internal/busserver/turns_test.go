package busserver

import (
	"context"
	"errors"
	"testing"
)

// queue starts takes that wait, one after the other, and tells on the channel who has got a turn.
func queue(t *testing.T, ts *turns, ctx context.Context, key lineKey, name string, got chan<- string) {
	t.Helper()
	started := waiting(ts, key)
	go func() {
		if _, err := ts.take(ctx, key, name); err == nil {
			got <- name
		} else {
			got <- "-" + name
		}
	}()
	for waiting(ts, key) == started {
	}
}

func waiting(ts *turns, key lineKey) int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	n := 0
	if l := ts.lines[key]; l != nil {
		n = l.running
		for _, a := range l.askers {
			n += len(a.waiting)
		}
	}
	return n
}

func TestTurnsGoRound(t *testing.T) {
	ts, key := newTurns(), lineKey{uid: 1000}
	var done []func()
	for _, name := range []string{"a", "a", "b", "b"} {
		d, err := ts.take(t.Context(), key, name)
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, d)
	}
	got := make(chan string, 10)
	for _, name := range []string{"a", "a", "a", "c", "c", "b"} {
		queue(t, ts, t.Context(), key, name, got)
	}
	// The user has four turns and so has each of two callers. Others do not wait for them.
	if d, err := ts.take(t.Context(), lineKey{uid: 1001}, "x"); err != nil {
		t.Fatal(err)
	} else {
		d()
	}
	if d, err := ts.take(t.Context(), lineKey{uid: 1000, slow: true}, "a"); err != nil {
		t.Fatal(err)
	} else {
		d()
	}
	order := ""
	// In the order of asking, each once before anybody has a second turn.
	for _, d := range done {
		d()
		order += <-got
	}
	if order != "acba" {
		t.Errorf("turns went to %s", order)
	}
}

func TestWhoLeavesWhileWaitingKeepsNobody(t *testing.T) {
	ts, key := newTurns(), lineKey{uid: 1000}
	var done []func()
	for range perCaller {
		d, err := ts.take(t.Context(), key, "a")
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, d)
	}
	ctx, leave := context.WithCancelCause(t.Context())
	got := make(chan string, 3)
	queue(t, ts, ctx, key, "a", got)
	queue(t, ts, t.Context(), key, "a", got)
	leave(errors.New("gone"))
	if first := <-got; first != "-a" {
		t.Errorf("who left got %q", first)
	}
	done[0]()
	if next := <-got; next != "a" {
		t.Errorf("the next got %q", next)
	}
	done[1]()
}
