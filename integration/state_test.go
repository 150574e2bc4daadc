// What is edited on the running system between a commit and the boot of the
// snapshot comes along: at shutdown, and where the power was cut, at first boot.

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/txupd/txupd/integration/oracle"
	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/testbed"
)

// holds expects a text in a file of the running root.
func (s *system) holds(path, text string) {
	s.t.Helper()
	got, err := os.ReadFile(filepath.Join(s.machine.Root, path))
	if err != nil || string(got) != text {
		s.t.Errorf("%s holds %q (%v), want %q", path, got, err, text)
	}
}

func (s *system) decided(n uint64, path, what string) int {
	s.t.Helper()
	count := 0
	for _, d := range s.show(n).EtcDecisions {
		if d.Path == path && d.Decision == what {
			count++
		}
	}
	return count
}

// editedAfterCommit commits a snapshot with one /etc, and edits the running one.
func editedAfterCommit(t *testing.T, layout string) (s *system, n uint64) {
	t.Helper()
	s = newSystem(t, options{layout: layout, prepare: func(root string) error {
		return os.WriteFile(filepath.Join(root, "etc/both"), []byte("one\ntwo\nthree\nfour\nfive\n"), 0o644)
	}})
	s.must("run", "--", "sh", "-c", "sed -i s/five/FIVE/ /etc/both; echo theirs >/etc/conflict; echo p >/etc/package")
	n = s.pending()
	s.edit("etc/both", "ONE\ntwo\nthree\nfour\nfive\n")
	s.edit("etc/conflict", "running\n")
	s.edit("etc/by-hand", "mine\n")
	return s, n
}

// merged expects of the root that booted what editedAfterCommit edited.
func (s *system) merged(n uint64) {
	s.t.Helper()
	if booted := s.status().Booted; booted == nil || booted.Number != n {
		s.t.Fatalf("booted %+v, want %d", booted, n)
	}
	s.holds("etc/both", "ONE\ntwo\nthree\nfour\nFIVE\n")
	s.holds("etc/conflict", "running\n")
	s.holds("etc/conflict.txupd-"+itoa64(n), "theirs\n")
	s.holds("etc/by-hand", "mine\n")
	s.holds("etc/package", "p\n")
	for path, what := range map[string]string{"/etc/both": "merged", "/etc/conflict": "conflict", "/etc/by-hand": "theirs"} {
		if s.decided(n, path, what) != 1 {
			s.t.Errorf("decided: %+v", s.show(n).EtcDecisions)
		}
	}
	if w := s.status().Warnings; len(w) != 1 || !strings.Contains(w[0], "1 conflict that nobody has decided: /etc/conflict") {
		s.t.Errorf("it warns: %q", w)
	}
}

func TestEditsAfterTheCommitComeAlong(t *testing.T) {
	for _, layout := range testbed.Layouts {
		t.Run(layout, func(t *testing.T) {
			t.Run("at shutdown", func(t *testing.T) {
				s, n := editedAfterCommit(t, layout)
				s.stopDaemon()
				if words := s.turn("shutdown"); !strings.Contains(words, "merged") {
					t.Errorf("it says %q", words)
				}
				if words := s.turn("shutdown"); words != "" {
					t.Errorf("the second time it says %q", words)
				}
				s.has(n, "etc/by-hand", "mine\n")
				s.bootsAgain()
				if words := s.turn("boot"); words != "" {
					t.Errorf("at boot it says %q", words)
				}
				s.merged(n)
			})
			t.Run("at first boot", func(t *testing.T) {
				s, n := editedAfterCommit(t, layout)
				s.stopDaemon()
				s.bootsAgain()
				if words := s.turn("boot"); !strings.Contains(words, "merged") {
					t.Errorf("it says %q", words)
				}
				s.merged(n)
				s.stopDaemon()
				if words := s.turn("boot"); words != "" {
					t.Errorf("the second time it says %q", words)
				}
				s.consistent()
				// Nor where the journal is lost, and the record comes from beside the snapshot.
				s.edit("etc/by-hand", "later\n")
				s.stopDaemon()
				if err := os.Remove(s.journalPath()); err != nil {
					t.Fatal(err)
				}
				if words := s.turn("boot"); strings.Contains(words, "merged") {
					t.Errorf("without its journal it says %q", words)
				}
				s.holds("etc/by-hand", "later\n")
			})
		})
	}
}

// TestARollbackBringsNothingAlong: what booted once keeps its /etc as it was then.
func TestARollbackBringsNothingAlong(t *testing.T) {
	s, n := editedAfterCommit(t, "")
	old := s.status().Booted.Number
	s.reboot()
	s.merged(n)
	s.edit("etc/only-there", "x\n")
	s.must("rollback", "-y", itoa64(old))
	s.reboot()
	s.holds("etc/by-hand", "mine\n")
	s.holds("etc/both", "ONE\ntwo\nthree\nfour\nfive\n")
	if exists(filepath.Join(s.machine.Root, "etc/only-there")) {
		t.Error("an edit of the snapshot that was left came along")
	}
	s.edit("etc/back", "x\n")
	s.must("rollback", "-y", itoa64(n))
	s.reboot()
	s.holds("etc/only-there", "x\n")
	if exists(filepath.Join(s.machine.Root, "etc/back")) {
		t.Error("an edit came along into a snapshot that had booted before")
	}
	s.consistent()
}

// TestNobodyMergedAtBoot: a system without the unit says what it missed.
func TestNobodyMergedAtBoot(t *testing.T) {
	s, n := editedAfterCommit(t, "")
	s.stopDaemon()
	s.bootsAgain()
	if w := strings.Join(s.status().Warnings, "\n"); !strings.Contains(w, "txupd-state.service did not run") {
		t.Errorf("it warns %q", w)
	}
	if s.decided(n, "/etc/by-hand", "theirs") != 0 {
		t.Error("something was merged into an /etc that is in use")
	}
}

// TestATurnWithoutEditsAndAPowerCut: the image of a turn that found nothing to
// merge does not come back, and is removed where one lies there from before.
func TestATurnWithoutEditsAndAPowerCut(t *testing.T) {
	images := func(root string) []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(root, ".snapshots/*/live.new"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	s := newSystem(t, options{})
	s.must("run", "--", "touch", "/usr/new")
	n := s.pending()
	s.edit("usr/outside-of-etc", "x\n")
	s.stopDaemon()
	s.bootsAgain()
	if words := s.turn("boot"); words != "" {
		t.Errorf("it says %q", words)
	}
	if left := images(testbed.CutSystem(t, s.machine.Root)); len(left) != 0 {
		t.Errorf("after a power cut there are %v", left)
	}

	running := s.machine.Root
	dir := filepath.Join(running, ".snapshots", itoa64(n))
	testbed.Run(t, "btrfs", "-q", "subvolume", "snapshot", "-r", running, filepath.Join(dir, "live.new"))
	s.status()
	if left := images(running); len(left) != 0 {
		t.Errorf("a start of the daemon leaves %v", left)
	}
	s.consistent()
}

// TestEveryFailpointOfATurn: a merge at either end of a boot may fail in any
// way and at any place. The next boot makes up for it, and nothing is told twice.
func TestEveryFailpointOfATurn(t *testing.T) {
	for _, moment := range []string{"shutdown", "boot"} {
		t.Run(moment, func(t *testing.T) {
			faults := filepath.Join(t.TempDir(), "failpoint")
			s := newSystem(t, options{faults: faults})
			m := &matrix{s: s, faults: faults, kinds: failpoint.Kinds}
			var n uint64
			m.before = func(s *system) {
				t.Helper()
				before := s.status().Booted.Number
				s.must("run", "--", "sh", "-c", "echo $TXUPD_TRANSACTION >/etc/ours; echo theirs $TXUPD_TRANSACTION >/etc/conflict")
				n = s.pending()
				s.edit("etc/by-hand", fmt.Sprintln(n))
				s.edit("etc/conflict", fmt.Sprintln("running", n))
				if n > before+1 { // what was left at the last turn
					s.must("delete", "-y", itoa64(before-1))
				}
				if moment == "boot" {
					s.stopDaemon()
					s.bootsAgain()
				}
			}
			m.act = func(*system) []result {
				cmd := exec.Command(s.programs.Txupd, "state", "--"+moment, "--root", s.machine.Root)
				cmd.Env = append(os.Environ(), failpoint.Variable+"="+faults)
				cmd.Run() // how it fails is what the cell is about
				return nil
			}
			whole := func(c fmt.Stringer) {
				t.Helper()
				s.bootsAgain()
				s.turn("boot")
				s.holds("etc/ours", fmt.Sprintln(n))
				s.holds("etc/by-hand", fmt.Sprintln(n))
				s.holds("etc/conflict", fmt.Sprintln("running", n))
				s.holds("etc/conflict.txupd-"+itoa64(n), fmt.Sprintln("theirs", n))
				for path, what := range map[string]string{"/etc/by-hand": "theirs", "/etc/conflict": "conflict"} {
					if got := s.decided(n, path, what); got != 1 {
						t.Errorf("%s: %s is recorded %d times as %s", c, path, got, what)
					}
				}
				s.stopDaemon()
				now := s.facts(false)
				for _, f := range oracle.Judge(now, now, oracle.Expect{Next: []uint64{n}}) {
					t.Errorf("%s: %s", c, f)
				}
				s.turn("boot")
				if again := s.facts(false); !cmp.Equal(again, now, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(oracle.Facts{}, "Mounts", "Processes"), cmpopts.IgnoreUnexported(oracle.Facts{})) {
					t.Errorf("%s: a second turn changed something:\n%s", c, cmp.Diff(now, again))
				}
			}
			cells := m.cells()
			whole(cell{name: "no failure"})
			for _, c := range cells {
				m.prepare()
				m.arm(fmt.Sprintln(c.name, c.time, c.kind))
				m.act(s)
				m.disarm()
				if whole(c); t.Failed() {
					return
				}
			}
			t.Attr("size", fmt.Sprintf("%d failpoints × %d kinds = %d cells", len(cells)/len(m.kinds), len(m.kinds), len(cells)))
		})
	}
}
