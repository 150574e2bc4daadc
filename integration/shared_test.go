// Shared trees through everything: from a command to the live tree, and back;
// and each way in which a boot that hands over can fail.

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/txupd/txupd/integration/oracle"
	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

// changeShared also writes to shared trees, what freshShared laid out.
const changeShared = change + "; echo $TXUPD_TRANSACTION >/srv/x; rm /srv/old; mkdir -p /var/cache/x; echo $TXUPD_TRANSACTION >/var/cache/x/y"

// freshShared makes the live trees what changeShared begins with.
func (s *system) freshShared() {
	s.t.Helper()
	for _, path := range []string{"srv/x", "var/cache/x"} {
		if err := os.RemoveAll(filepath.Join(s.machine.Root, path)); err != nil {
			s.t.Fatal(err)
		}
	}
	s.edit("srv/old", "old\n")
}

// live is what is in a file of the running system, "" for nothing.
func (s *system) live(path string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.machine.Root, path))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(text)
}

// notHandedOver expects the live trees as freshShared made them.
func (s *system) notHandedOver() {
	s.t.Helper()
	if x, y, old := s.live("srv/x"), s.live("var/cache/x/y"), s.live("srv/old"); x+y != "" || old != "old\n" {
		s.t.Errorf("the live trees have %q, %q and %q", x, y, old)
	}
}

// handedOver expects what changeShared wrote in a transaction.
func (s *system) handedOver(n uint64) {
	s.t.Helper()
	want := itoa64(n) + "\n"
	if x, y, old := s.live("srv/x"), s.live("var/cache/x/y"), s.live("srv/old"); x != want || y != want || old != "" {
		s.t.Errorf("the live trees have %q, %q and %q, want what transaction %d wrote", x, y, old, n)
	}
}

// earlyBoot does what the unit does, and fails as faults says: the daemon that
// starts later has to make up for it.
func earlyBoot(faults string) func(s *system) []result {
	return func(s *system) []result {
		cmd := exec.Command(s.programs.Txupd, "state", "--boot", "--root", s.machine.Root)
		cmd.Env = append(os.Environ(), failpoint.Variable+"="+faults)
		cmd.Run() // how it fails is what the cell is about
		return nil
	}
}

// sharedScenarios are made to fail in transactions that write to shared trees, and
// early in a boot.
func sharedScenarios(faults string) []scenario {
	return []scenario{
		{
			name: "hand-over",
			before: func(s *system) {
				s.freshShared()
				s.must("run", "-m", "acknowledged", "--", "sh", "-c", changeShared)
				s.stopDaemon()
				s.bootsAgain()
			},
			act: earlyBoot(faults),
			expect: func(s *system, before, after oracle.Facts, results []result) oracle.Expect {
				s.handedOver(before.NumberOf(before.Booted))
				return keeps(s, before, after, results)
			},
		},
		{
			name: "taken back",
			before: func(s *system) {
				s.freshShared()
				s.must("run", "-m", "acknowledged", "--", "sh", "-c", changeShared)
				s.reboot()
				booted := s.status().Booted
				s.handedOver(booted.Number)
				s.must("rollback", "-y", "--var=restore", itoa64(*booted.Parent))
				s.stopDaemon()
				s.bootsAgain()
			},
			act: earlyBoot(faults),
			expect: func(s *system, before, after oracle.Facts, results []result) oracle.Expect {
				s.notHandedOver()
				return keeps(s, before, after, results)
			},
		},
		{
			name:   "captured",
			before: func(s *system) { s.freshShared() },
			act: func(s *system) []result {
				return []result{s.txctl("run", "-m", "acknowledged", "--", "sh", "-c", changeShared)}
			},
			expect: func(s *system, before, after oracle.Facts, results []result) oracle.Expect {
				s.notHandedOver()
				return commits(s, before, after, results)
			},
		},
	}
}

// TestEveryFailpointOfSharedTrees is the matrix of what they add. TXUPD_MATRIX=1
// runs every kind of failure, else it is killed only.
func TestEveryFailpointOfSharedTrees(t *testing.T) {
	kinds := []failpoint.Kind{failpoint.Kill}
	if fromEnvironment(t, "TXUPD_MATRIX", 0) != 0 {
		kinds = failpoint.Kinds
	}
	faults := filepath.Join(t.TempDir(), "failpoint")
	s := newSystem(t, options{faults: faults})
	for _, c := range sharedScenarios(faults) {
		t.Run(c.name, func(t *testing.T) { (&matrix{s: s.at(t), faults: faults, kinds: kinds, scenario: c}).run() })
	}
}

// TestPackageWithDataInSharedTrees on writable and on read-only roots: what its scripts wrote is
// there after the reboot, with what the running system wrote meanwhile.
func TestPackageWithDataInSharedTrees(t *testing.T) {
	for _, layout := range []string{"opensuse", "opensuse-ro"} {
		t.Run(layout, func(t *testing.T) {
			s := newSystem(t, options{layout: layout, prepare: func(root string) error {
				return testbed.UseDebRepo(t.Context(), root, testbed.Deb{
					Name: "keeper", Version: "1.0", Files: map[string]string{"/usr/bin/keeper": "#!/bin/sh\n"},
					Scripts: map[string]string{"postinst": "#!/bin/sh\nset -e\nmkdir -p /srv/keeper\ncat /srv/before >/srv/keeper/state\necho installed >>/srv/keeper/state\n"},
				})
			}})
			s.edit("srv/before", "live\n")
			s.must("pkg", "add", "keeper")
			n := s.pending()
			if s.live("srv/keeper/state") != "" {
				t.Error("the running system has the data of the package")
			}
			words := s.must("show", "pending").stdout
			if !strings.Contains(words, "Captured of /srv") || !strings.Contains(words, "/srv/keeper/state") {
				t.Errorf("show does not tell what was captured:\n%s", words)
			}
			s.edit("srv/meanwhile", "x\n")
			s.reboot()
			s.status()
			if got := s.live("srv/keeper/state"); got != "live\ninstalled\n" || s.live("srv/meanwhile") != "x\n" || s.live("var/log/dpkg.log") == "" {
				t.Errorf("after the reboot the data is %q", got)
			}
			rec := s.show(n)
			if slices.ContainsFunc(rec.Shared, func(tree record.SharedTree) bool { return tree.HandedOver == nil }) {
				t.Errorf("the record says %+v", rec.Shared)
			}
			r := s.must("rollback", "-y", "--var=restore")
			if !strings.Contains(r.stdout, "Handed over to shared trees") || !strings.Contains(r.stdout, "taken back") {
				t.Errorf("the rollback says\n%s", r.stdout)
			}
			s.reboot()
			s.status()
			if s.live("srv/keeper/state") != "" || s.live("srv/meanwhile") != "x\n" {
				t.Errorf("after the rollback the data is %q", s.live("srv/keeper/state"))
			}
			s.consistent()
		})
	}
}
