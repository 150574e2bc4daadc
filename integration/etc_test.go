// What is edited in the running /etc between a transaction's fork and its commit
// comes along, stacked or not, and never silently.

package integration

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

func (s *system) edit(path, text string) {
	s.t.Helper()
	write(s.t, filepath.Join(s.machine.Root, path), text)
}

func (s *system) has(n uint64, path, text string) {
	s.t.Helper()
	got, err := os.ReadFile(s.inSnapshot(n, path))
	if err != nil || string(got) != text {
		s.t.Errorf("snapshot %d: %s holds %q (%v), want %q", n, path, got, err, text)
	}
}

// TestEditsOfEtcComeAlong in every layout: made on the running system while a transaction is open.
func TestEditsOfEtcComeAlong(t *testing.T) {
	for _, layout := range testbed.Layouts {
		t.Run(layout, func(t *testing.T) {
			s := newSystem(t, options{layout: layout, prepare: func(root string) error {
				return os.WriteFile(filepath.Join(root, "etc/both"), []byte("one\ntwo\nthree\nfour\nfive\n"), 0o644)
			}})
			s.must("begin")
			s.must("exec", "--", "sh", "-c", "sed -i s/five/FIVE/ /etc/both; echo theirs >/etc/conflict; echo p >/etc/package")
			s.edit("etc/both", "ONE\ntwo\nthree\nfour\nfive\n")
			s.edit("etc/conflict", "running\n")
			s.edit("etc/by-hand", "mine\n")
			s.must("commit")
			n := s.pending()
			s.has(n, "etc/both", "ONE\ntwo\nthree\nfour\nFIVE\n")
			s.has(n, "etc/conflict", "running\n")
			s.has(n, "etc/conflict.txupd-"+itoa64(n), "theirs\n")
			s.has(n, "etc/by-hand", "mine\n")
			s.has(n, "etc/package", "p\n")
			rec := s.show(n)
			decided := func(path, what string) bool {
				return slices.ContainsFunc(rec.EtcDecisions, func(d record.EtcDecision) bool { return d.Path == path && d.Decision == what })
			}
			if !decided("/etc/both", "merged") || !decided("/etc/conflict", "conflict") || !decided("/etc/by-hand", "theirs") {
				t.Errorf("decided: %+v", rec.EtcDecisions)
			}
			// An edit of the pending one stays under a stacked one, and a revert on the running side is followed.
			s.must("run", "--", "sh", "-c", "echo stacked >/etc/stacked")
			s.must("begin")
			s.must("exec", "--", "touch", "/usr/more")
			if err := os.Remove(filepath.Join(s.machine.Root, "etc/by-hand")); err != nil {
				t.Fatal(err)
			}
			s.edit("etc/both", "one\ntwo\nthree\nfour\nfive\n")
			s.must("commit")
			m := s.pending()
			s.has(m, "etc/stacked", "stacked\n")
			s.has(m, "etc/both", "one\ntwo\nthree\nfour\nFIVE\n")
			if exists(s.inSnapshot(m, "etc/by-hand")) {
				t.Error("what was removed again on the running system came back")
			}
			// What only differs from the snapshot because nothing was edited stays away from the record.
			s.must("run", "--", "touch", "/usr/last")
			if rec := s.show(s.pending()); len(rec.EtcDecisions) > 0 {
				t.Errorf("decided without an edit: %+v", rec.EtcDecisions)
			}
		})
	}
}

// TestNoMergeIntoWhatDoesNotDescend: a snapshot of another line keeps its own /etc.
func TestNoMergeIntoWhatDoesNotDescend(t *testing.T) {
	s := newSystem(t, options{})
	s.must("run", "--", "touch", "/usr/one")
	one := s.pending()
	s.edit("etc/later", "x\n")
	s.must("run", "--from", itoa64(one), "--", "touch", "/usr/two")
	s.has(s.pending(), "etc/later", "x\n") // that one descends from what runs
	if strings.Contains(s.must("show", itoa64(s.pending())).stdout, "not merged") {
		t.Error("it says that it was not merged")
	}
}

// TestSomeFilesFollowTheRunningSystem, whatever a transaction does to them, and
// so does what is configured.
func TestSomeFilesFollowTheRunningSystem(t *testing.T) {
	s := newSystem(t, options{prepare: func(root string) error {
		for name, text := range map[string]string{
			"machine-id": "00000000000000000000000000000001\n", "app.state": "one\n", "list": "a\nb\n", "txupd/conf.d/etc.toml": "[etc]\nlive = ['app.state']\nwhole = ['list']\n",
		} {
			file := filepath.Join(root, "etc", name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
				return err
			}
		}
		return nil
	}})
	s.must("run", "--", "sh", "-c", "echo other >/etc/machine-id; touch /usr/x")
	s.has(s.pending(), "etc/machine-id", "00000000000000000000000000000001\n")
	s.must("begin")
	s.must("exec", "--", "sh", "-c", "echo two >/etc/app.state; printf 'a\nb\nc\n' >/etc/list")
	s.edit("etc/app.state", "three\n")
	s.edit("etc/list", "0\na\nb\n")
	s.must("commit")
	n := s.pending()
	s.has(n, "etc/app.state", "three\n")
	s.has(n, "etc/list", "0\na\nb\n")
	s.has(n, "etc/list.txupd-"+itoa64(n), "a\nb\nc\n")
	if d := s.show(n).EtcDecisions; !slices.ContainsFunc(d, func(d record.EtcDecision) bool { return d.Path == "/etc/app.state" && d.Rule == "live" }) {
		t.Errorf("decided: %+v", d)
	}
}
