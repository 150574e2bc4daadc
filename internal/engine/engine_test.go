package engine

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

// world is what steps act on: a list of names that exist, and what was done to it.
type world struct {
	exists []string
	log    []string
	broken string // Do of this one fails
}

func (w *world) kind(commitPoint bool) Kind {
	name := func(raw json.RawMessage) (s string) { _ = json.Unmarshal(raw, &s); return s }
	k := Kind{
		Do: func(_ context.Context, raw json.RawMessage) error {
			n := name(raw)
			if n == w.broken {
				return errors.New("no room")
			}
			w.log = append(w.log, "+"+n)
			if !slices.Contains(w.exists, n) {
				w.exists = append(w.exists, n)
			}
			return nil
		},
		Undo: func(_ context.Context, raw json.RawMessage) error {
			n := name(raw)
			w.log = append(w.log, "-"+n)
			w.exists = slices.DeleteFunc(w.exists, func(s string) bool { return s == n })
			return nil
		},
	}
	if commitPoint {
		k.Happened = func(_ context.Context, raw json.RawMessage) (bool, error) {
			return slices.Contains(w.exists, name(raw)), nil
		}
	}
	return k
}

func setup(t *testing.T, kinds ...string) (*world, *Engine, *Plan) {
	t.Helper()
	w := &world{}
	e := New(map[string]Kind{"a": w.kind(false), "b": w.kind(false), "switch": w.kind(true), "c": w.kind(false)})
	p := &Plan{}
	for _, k := range kinds {
		if err := p.Intend(k, k); err != nil {
			t.Fatal(err)
		}
	}
	return w, e, p
}

func TestNoStepActsBeforeItIsRecorded(t *testing.T) {
	w, e, p := setup(t, "a")
	if err := e.Do(context.Background(), p, ""); !errors.Is(err, ErrNotRecorded) {
		t.Fatalf("Do of an unrecorded step: %v", err)
	}
	if len(w.log) != 0 {
		t.Fatalf("it acted: %v", w.log)
	}
}

func TestFailureUndoesNewestFirst(t *testing.T) {
	w, e, p := setup(t, "a", "b", "c")
	w.broken = "c"
	p.Recorded()
	if err := e.Do(context.Background(), p, ""); err == nil {
		t.Fatal("a failing step went unnoticed")
	}
	if err := e.Undo(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	// c is undone too: it may have stopped half-way.
	if want := []string{"+a", "+b", "-c", "-b", "-a"}; !slices.Equal(w.log, want) {
		t.Fatalf("did %v, want %v", w.log, want)
	}
}

func TestUnknownKindFailsClosed(t *testing.T) {
	w, e, p := setup(t, "a", "from-the-future", "b")
	p.Recorded()
	w.exists = []string{"a", "b"}
	if err := e.Undo(context.Background(), p); !errors.Is(err, ErrUnknownKind) {
		t.Fatalf("Undo: %v", err)
	}
	if _, err := e.Committed(context.Background(), p); !errors.Is(err, ErrUnknownKind) {
		t.Fatalf("Committed: %v", err)
	}
	if err := e.Finish(context.Background(), p); !errors.Is(err, ErrUnknownKind) {
		t.Fatalf("Finish: %v", err)
	}
	if len(w.log) != 0 {
		t.Fatalf("something was touched around an unknown step: %v", w.log)
	}
}

// TestResumeAfterEveryCrash cuts the run after each action and lets a new
// engine decide from the world alone.
func TestResumeAfterEveryCrash(t *testing.T) {
	kinds := []string{"a", "b", "switch", "c"}
	for cut := 0; cut <= len(kinds); cut++ {
		w, e, p := setup(t, kinds...)
		p.Recorded()
		raw, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		w.exists = slices.Clone(kinds[:cut])
		p, err = Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		committed, err := e.Committed(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{}
		if committed {
			err, want = e.Finish(context.Background(), p), kinds
		} else {
			err = e.Undo(context.Background(), p)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.exists, want) {
			t.Errorf("cut after %d actions: left %v, want %v", cut, w.exists, want)
		}
		if committed != (cut >= 3) {
			t.Errorf("cut after %d actions: committed = %v", cut, committed)
		}
	}
}

func TestUndoKeepsWhatItCouldNotUndo(t *testing.T) {
	e := New(map[string]Kind{
		"fine":  {Undo: func(context.Context, json.RawMessage) error { return nil }},
		"stuck": {Undo: func(context.Context, json.RawMessage) error { return errors.New("device is busy") }},
	})
	p := &Plan{}
	for _, k := range []string{"stuck", "fine"} {
		if err := p.Intend(k, nil); err != nil {
			t.Fatal(err)
		}
	}
	p.Recorded()
	if err := e.Undo(context.Background(), p); err == nil {
		t.Fatal("a failed undo went unnoticed")
	}
	if !p.Has("stuck") || p.Has("fine") {
		t.Fatalf("left in the plan: %+v", p.steps)
	}
}

// TestPlanWithoutCommitPointIsFinishedWhole: a removal that began is finished, not believed.
func TestPlanWithoutCommitPointIsFinishedWhole(t *testing.T) {
	w, e, p := setup(t, "a", "b")
	p.Recorded()
	if err := e.Finish(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	if want := []string{"+a", "+b"}; !slices.Equal(w.log, want) {
		t.Fatalf("did %v, want %v", w.log, want)
	}
}
