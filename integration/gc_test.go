package integration

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
)

// TestGCKeepsWhatTheRulesKeep: the oldest go, what is needed, pinned or tagged
// stays, records stay, and what goes gives its space back.
func TestGCKeepsWhatTheRulesKeep(t *testing.T) {
	s := newSystem(t, options{})
	s.configure("[gc]\nleast = 1\nmost = 2\ntags = [\"release-*\"]\nfree-percent = 0\n")
	var made []uint64
	for range 7 {
		s.must("run", "--", "sh", "-c", "head -c 2000000 /dev/urandom >/usr/share/ballast")
		made = append(made, s.pending())
	}
	s.must("pin", itoa64(made[0]))
	s.must("tag", itoa64(made[1]), "release-1")
	want := []uint64{made[2], made[3]} // beside the pending one two stay
	rules := map[uint64]string{made[0]: "pinned", made[1]: "tagged", made[2]: "most", made[3]: "most", made[4]: "spare", made[5]: "spare", made[6]: "needed"}

	s.untouched("an explanation", func() {
		doc := document[bus.GC](s, "gc", "--explain")
		if !doc.DryRun || len(doc.Deleted) != 0 {
			t.Errorf("it says that it deleted %v", doc.Deleted)
		}
		for _, one := range doc.Snapshots {
			if rule, ok := rules[one.Number]; ok && (one.Rule != rule || one.Delete != slices.Contains(want, one.Number)) {
				t.Errorf("of %d: %+v, want %s", one.Number, one, rule)
			}
		}
	})
	doc := document[bus.GC](s, "gc")
	if !slices.Equal(doc.Deleted, want) || len(doc.Failed) != 0 {
		t.Errorf("it deleted %v, want %v; failed: %+v", doc.Deleted, want, doc.Failed)
	}
	if doc.After.Data <= doc.Before.Data {
		t.Errorf("%d bytes were free and %d are", doc.Before.Data, doc.After.Data)
	}
	for _, n := range made {
		if gone := slices.Contains(want, n); exists(s.inSnapshot(n, "")) == gone {
			t.Errorf("snapshot %d: gone is %v", n, gone)
		}
		if s.show(n).Number != n {
			t.Errorf("the record of %d is gone", n)
		}
	}
	if again := document[bus.GC](s, "gc"); len(again.Deleted) != 0 {
		t.Errorf("once more it deletes %v", again.Deleted)
	}
	s.consistent()

	// Too little is free: what might have stayed goes, and never the newest or what is needed.
	filler, err := os.Create(filepath.Join(s.machine.Root, "var/filler"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Fallocate(int(filler.Fd()), 0, 0, int64(doc.After.Data/2)), unix.Syncfs(int(filler.Fd())), filler.Close()); err != nil {
		t.Fatal(err)
	}
	s.configure("[gc]\nleast = 2\nfree-percent = 90\n")
	doc = document[bus.GC](s, "gc")
	if !slices.Equal(doc.Deleted, []uint64{made[1], made[4]}) || !doc.After.Lacking() {
		t.Errorf("where space is wanted it deleted %v; %+v", doc.Deleted, doc.After)
	}

	// By the defaults it would delete what somebody wanted to keep.
	s.configure("[gc]\nleast = 100\nfree-percent = 100\n")
	s.untouched("a configuration with an error", func() {
		if r := s.txctl("gc"); r.exit == 0 || !strings.Contains(r.stderr, "gc.free-percent cannot be 100") {
			t.Errorf("exit %d: %s%s", r.exit, r.stdout, r.stderr)
		}
	})
	s.consistent()
}

// configure writes the configuration, for the next daemon.
func (s *system) configure(text string) {
	s.t.Helper()
	dir := filepath.Join(s.machine.Root, "etc/txupd")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "txupd.toml"), []byte(text), 0o644)); err != nil {
		s.t.Fatal(err)
	}
	s.stopDaemon()
}
