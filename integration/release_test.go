// The journal is newer than the programs after a rollback that takes them back, too.

package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
)

// TestThisReleaseServesTheJournalOfTheNext: after an additive change of the
// schema it reads, appends, annotates and rolls back, and what it does not know stays.
func TestThisReleaseServesTheJournalOfTheNext(t *testing.T) {
	testbed.NeedRoot(t)
	this, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	next, err := testbed.BuildNextRelease(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s := newSystem(t, options{programs: func() (testbed.Programs, error) { return next, nil }})
	use := func(p testbed.Programs) {
		t.Helper()
		s.stopDaemon()
		for from, to := range map[string]string{p.Txupd: next.Txupd, p.Txctl: next.Txctl} {
			raw, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(to); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, raw, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	kept := testbed.Programs{Txupd: next.Txupd + ".next", Txctl: next.Txctl + ".next"}
	for from, to := range map[string]string{next.Txupd: kept.Txupd, next.Txctl: kept.Txctl} {
		if err := os.Link(from, to); err != nil {
			t.Fatal(err)
		}
	}
	risk := func(n string) bool { return strings.Contains(s.must("show", n, "--json").stdout, `"risk": "low"`) }
	s.must("run", "-m", "by the next one", "--", "touch", "/usr/next")
	n := itoa64(s.pending())
	if !risk(n) {
		t.Fatal("the next release is this one")
	}

	use(this)
	if risk(n) {
		t.Fatal("this release is the next one")
	}
	if m := s.show(s.pending()).Message; m != "by the next one" {
		t.Errorf("it reads the message %q", m)
	}
	s.must("note", n, "seen by the one before")
	s.must("tag", n, "checked")
	s.must("run", "-m", "by this one", "--", "touch", "/usr/this")
	m := itoa64(s.pending())
	s.must("rollback", n, "-y")
	s.must("rollback", m, "-y")
	s.must("rollback", "booted", "-y")
	s.must("delete", m, "-y")
	s.must("verify")
	s.must("doctor")

	use(kept)
	if !risk(n) {
		t.Error("what only the next release knows is gone from a record that this one annotated")
	}
	if out := s.must("show", n).stdout; !strings.Contains(out, "seen by the one before") {
		t.Errorf("the note is not there:\n%s", out)
	}
	s.must("verify")
	s.must("run", "-m", "and again", "--", "touch", "/usr/again")
	if !risk(itoa64(s.pending())) {
		t.Error("the next release wrote as this one does")
	}
	s.consistent()
}
