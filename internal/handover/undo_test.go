package handover

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// handed gives all captures and forks the live tree before and after.
func (s *scene) handed(t fataler) UndoRequest {
	t.Helper()
	r := UndoRequest{Number: 10, Tree: "/var", Live: s.live, Before: filepath.Join(s.dir, "before"), After: filepath.Join(s.dir, "after")}
	fork(t, s.live, r.Before, true)
	for n := range s.captures {
		r.Rows = append(r.Rows, s.give(t, n)...)
	}
	fork(t, s.live, r.After, true)
	return r
}

func TestUndo(t *testing.T) {
	s := newScene(t, func(live string) {
		for _, name := range []string{"/replaced", "/replaced-later", "/removed", "/dir/a", "/dir/b/c", "/conflict", "/type", "/untouched", "/mode/f"} {
			write(t, live+name, "before")
		}
	})
	s.sandbox(t, func(view string) {
		for _, name := range []string{"/replaced", "/replaced-later", "/conflict", "/new", "/new-later", "/fresh/a", "/fresh/b", "/used/a", "/used/b"} {
			write(t, view+name, "ours")
		}
		must(t, os.Remove(view+"/removed"))
		must(t, os.RemoveAll(view+"/dir"))
		must(t, os.Remove(view+"/type"))
		write(t, view+"/type/f", "ours")
		must(t, os.Chmod(view+"/mode", 0o700))
	})
	write(t, s.live+"/conflict", "theirs")
	want, _ := contents(t, s.live)
	r := s.handed(t)
	write(t, s.live+"/replaced-later", "later")
	write(t, s.live+"/new-later", "later")
	write(t, s.live+"/used/c", "later")
	write(t, s.live+"/since", "later")
	for n := range 2 {
		rows, err := Undo(t.Context(), r)
		must(t, err)
		if n == 0 {
			equal(t, "rows", tell(rows), `/var/conflict.txupd-10 removed
/var/dir created
/var/dir/a created
/var/dir/b created
/var/dir/b/c created
/var/fresh removed
/var/fresh/a removed
/var/fresh/b removed
/var/mode replaced
/var/new removed
/var/new-later kept (the live side changed it)
/var/removed created
/var/replaced replaced
/var/replaced-later kept (the live side changed it)
/var/type replaced
/var/used kept (the live side has something in it)
/var/used/a removed
/var/used/b removed
`)
		}
		got, _ := contents(t, s.live)
		want := strings.NewReplacer(`"replaced-later" "before"`, `"replaced-later" "later"`, `"untouched"`, "\"since\" \"later\"\n\"untouched\"").Replace(want)
		want = strings.Replace(want, `"removed"`, "\"new-later\" \"later\"\n\"removed\"", 1)
		want = strings.Replace(want, "\"untouched\" \"before\"\n", "\"untouched\" \"before\"\n\"used/c\" \"later\"\n", 1)
		want = strings.Replace(want, "\"since\" \"later\"\n", "", 1)
		want = strings.Replace(want, "\"type\"", "\"since\" \"later\"\n\"type\"", 1)
		equal(t, fmt.Sprintf("files after undo %d", n+1), got, want)
	}
}

func TestUndoOfAnInterruptedHandover(t *testing.T) {
	s := newScene(t, func(live string) {
		write(t, live+"/a", "before")
		write(t, live+"/dir/f", "before")
		cluster(t, live+"/db")
	})
	s.sandbox(t, func(view string) {
		write(t, view+"/a", "ours")
		write(t, view+"/new/f", "ours")
		must(t, os.RemoveAll(view+"/dir"))
		upgrade(t, view+"/db")
	})
	before := filepath.Join(s.dir, "before")
	fork(t, s.live, before, true)
	want, live := dump(t, s.live), s.live
	for n := 0; ; n += 2 {
		s.live = filepath.Join(s.dir, fmt.Sprintf("cut-%d", n))
		fork(t, live, s.live, false)
		step, done := cutAfter(n)
		request := Request{Capture: s.captures[0], Live: s.live}
		if _, err := give(t.Context(), request, step); err == nil {
			if *done < 15 {
				t.Errorf("only %d changes", *done)
			}
			return
		}
		request.DryRun = true
		rows, err := Give(t.Context(), request)
		must(t, err)
		now := filepath.Join(s.dir, fmt.Sprintf("now-%d", n))
		fork(t, s.live, now, true)
		_, err = Undo(t.Context(), UndoRequest{Number: 10, Tree: "/var", Live: s.live, Before: before, After: now, Rows: rows})
		must(t, err)
		equal(t, fmt.Sprintf("after a cut at %d", n), dump(t, s.live), want)
	}
}

func TestUndoOfSeveralHandovers(t *testing.T) {
	s := newScene(t, func(live string) {
		write(t, live+"/a/b/c", "before")
		write(t, live+"/a/d", "before")
		must(t, os.MkdirAll(live+"/a/empty", 0o755))
		write(t, live+"/type/f", "before")
		write(t, live+"/back", "before")
	})
	s.sandbox(t, func(view string) {
		must(t, os.RemoveAll(view+"/a"))
		must(t, os.RemoveAll(view+"/type"))
		write(t, view+"/type", "one")
		must(t, os.Remove(view+"/back"))
	})
	s.sandbox(t, func(view string) {
		write(t, view+"/a/new", "two")
		write(t, view+"/a/b/new", "two")
		must(t, os.Remove(view+"/type"))
		write(t, view+"/type/g", "two")
		write(t, view+"/back", "before")
	})
	want := dump(t, s.live)
	r := s.handed(t)
	write(t, s.live+"/a/later", "later")
	_, err := Undo(t.Context(), r)
	must(t, err)
	if got := read(t, s.live+"/a/later"); got != "later" {
		t.Errorf("what the live side made is %q", got)
	}
	must(t, os.Remove(s.live+"/a/later"))
	equal(t, "the live tree", dump(t, s.live), want)
}

func TestUndoOfADatabaseIsWholeOrNotAtAll(t *testing.T) {
	s := newScene(t, func(live string) {
		cluster(t, live+"/clean")
		cluster(t, live+"/used")
	})
	s.sandbox(t, func(view string) {
		upgrade(t, view+"/clean")
		upgrade(t, view+"/used")
	})
	before := dump(t, s.live+"/clean")
	r := s.handed(t)
	write(t, s.live+"/used/base/1/112", "rows")
	used := dump(t, s.live+"/used")
	rows, err := Undo(t.Context(), r)
	must(t, err)
	equal(t, "the database that nobody used", dump(t, s.live+"/clean"), before)
	equal(t, "the database that was used", dump(t, s.live+"/used"), used)
	if want := "/var/used kept (PostgreSQL database: the live side changed it)\n"; !strings.HasSuffix(tell(rows), want) {
		t.Errorf("rows:\n%s", tell(rows))
	}
}

func TestUndoRefusesRowsOfAnotherTree(t *testing.T) {
	s := newScene(t, nil)
	s.sandbox(t, func(view string) { write(t, view+"/f", "ours") })
	r := s.handed(t)
	r.Rows = append(r.Rows, Row{Tree: "/var", Path: "/variant/f", Decision: Created})
	if _, err := Undo(t.Context(), r); err == nil || !strings.Contains(err.Error(), "/variant/f does not lie in it") {
		t.Errorf("Undo says %v", err)
	}
	if !exists(s.live + "/f") {
		t.Error("something was taken back")
	}
}
