//go:build machine

// An update of txupd itself, and the way back from it.

package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/internal/testbed/machine"
	"github.com/txupd/txupd/pkg/journal/record"
)

// TestARollbackToThePreviousRelease: what runs then judges its boot, writes on
// and rolls back in a journal that the next release has added to.
func TestARollbackToThePreviousRelease(t *testing.T) {
	thorough(t)
	s := start(t, prepared(machine.Variant{}))
	dir := t.TempDir()
	next, err := testbed.BuildNextRelease(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	risk := func(n uint64) bool {
		s.t.Helper()
		return strings.Contains(s.must("txctl", "show", fmt.Sprint(n), "--json"), `"risk": "low"`)
	}
	s.must("txctl", "run", "-m", "the release that we go back to", "--", "touch", "/usr/before")
	p := s.pending()
	s.must("txctl", "begin", "-m", "the next release")
	n := s.status().Transaction.Number
	for from, to := range map[string]string{next.Txupd: "usr/libexec/txupd", next.Txctl: "usr/bin/txctl"} {
		raw, err := os.ReadFile(from)
		s.check(err)
		s.check(s.vm.WriteFile(s.context(), filepath.Join(fmt.Sprintf("/.snapshots/%d/snapshot", n), to), raw, 0o755))
	}
	s.must("txctl", "commit")
	s.reboot()
	s.consistent(n)
	s.judged()
	s.must("txctl", "run", "-m", "by the next release", "--", "touch", "/usr/next")
	m := s.pending()
	if !risk(m) {
		t.Fatal("the next release is this one")
	}
	s.must("txctl", "rollback", fmt.Sprint(p), "--yes")
	s.reboot()

	s.consistent(p)
	s.judged()
	if risk(m) {
		t.Fatal("this release is the next one")
	}
	if rec := s.show(p); rec.Verdict != record.Good || len(rec.Boots) != 1 || rec.Boots[0].Verdict != record.Good {
		t.Errorf("the verdict on it is %s, its boots are %+v", rec.Verdict, rec.Boots)
	}
	s.must("txctl", "note", fmt.Sprint(m), "seen by the release before")
	s.must("txctl", "run", "-m", "by this release", "--", "touch", "/usr/this")
	s.must("txctl", "verify")
	s.must("txctl", "rollback", fmt.Sprint(m), "--yes")
	s.reboot()

	s.consistent(m)
	s.judged()
	if !risk(m) || !strings.Contains(s.must("txctl", "show", fmt.Sprint(m)), "seen by the release before") {
		t.Errorf("the record is\n%s", s.must("txctl", "show", fmt.Sprint(m), "--json"))
	}
	s.must("txctl", "verify")
}
