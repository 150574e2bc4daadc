package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
)

// TestGCKeepsWhatTheRulesKeep: the oldest go, what is needed, pinned or tagged
// stays, records stay, and what goes gives its space back.
func TestGCKeepsWhatTheRulesKeep(t *testing.T) {
	s := newSystem(t, options{})
	s.configure("[gc]\nautomatic = false\nleast = 1\nmost = 2\ntags = [\"release-*\"]\nfree-percent = 0\n")
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

// TestOldSnapshotsGoByThemselves: after every commit, and nobody is refused for it.
func TestOldSnapshotsGoByThemselves(t *testing.T) {
	s := newSystem(t, options{})
	s.configure("[gc]\nleast = 1\nmost = 2\nfree-percent = 0\n")
	var made []uint64
	for range 7 {
		s.must("run", "--", "sh", "-c", "echo words; date +%N >/usr/share/now")
		made = append(made, s.pending())
	}
	oldest, left := made[0], made[4:] // beside the pending one two stay
	s.eventually("the old ones are gone", func() bool {
		return s.show(oldest).Deleted != nil && s.show(made[3]).Deleted != nil
	})
	for _, n := range left {
		if s.show(n).Deleted != nil || !exists(s.inSnapshot(n, "usr")) {
			t.Errorf("snapshot %d is gone", n)
		}
	}
	rec := s.show(oldest)
	if rec.DeletedFor != "there are more than 2" || exists(s.inSnapshot(oldest, "")) {
		t.Errorf("%d was deleted for %q", oldest, rec.DeletedFor)
	}
	if shown := s.must("show", itoa64(oldest)).stdout; !strings.Contains(shown, "by gc: there are more than 2") {
		t.Errorf("it is shown as\n%s", shown)
	}
	s.expect(4, "was deleted, and what it printed with it", "output", itoa64(oldest))
	s.consistent()

	s.configure("[gc]\nautomatic = false\nleast = 1\nmost = 1\nfree-percent = 0\n")
	s.run("no-more")
	s.untouched("nothing goes by itself where nobody wants it", func() { s.status() })
	if s.show(made[4]).Deleted != nil {
		t.Errorf("%d went", made[4])
	}
}

// TestManyGoWhileOthersWork: of many snapshots most are deleted while snapper
// and transactions work beside it; what is needed stays. TXUPD_SNAPSHOTS makes more.
func TestManyGoWhileOthersWork(t *testing.T) {
	testbed.NeedTools(t, "snapper")
	all := 60
	if more := os.Getenv("TXUPD_SNAPSHOTS"); more != "" {
		var err error
		if all, err = strconv.Atoi(more); err != nil || all < 20 {
			t.Fatalf("TXUPD_SNAPSHOTS=%s: a number from 20 on is accepted", more)
		}
	}
	s := newSystem(t, options{prepare: snapperConfig})
	stay := max(10, all-100)
	s.configure(fmt.Sprintf("[gc]\nautomatic = false\nleast = 1\nmost = %d\nfree-percent = 0\n", stay))
	var made []uint64
	for range all {
		s.must("run", "--keep-unchanged", "--", "true")
		made = append(made, s.pending())
	}
	pinned := made[1]
	s.must("pin", itoa64(pinned))
	snappers, err := s.snapper("create", "--description", "not ours", "--print-number")
	if err != nil {
		t.Fatal(err)
	}
	theirs := []string{snappers}
	stop, ended := make(chan struct{}), make(chan error, 2)
	beside := func(work func() error) {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if err := work(); err != nil {
				ended <- err
				return
			}
		}
	}
	go beside(func() error {
		n, err := s.snapper("create", "--description", "not ours", "--print-number")
		if err == nil {
			if _, err = s.snapper("delete", n); err != nil {
				theirs = append(theirs, n)
			}
		}
		// It gives up where a directory goes that it has just listed.
		if err != nil && strings.Contains(err.Error(), "errno:2") {
			return nil
		}
		return err
	})
	var beganBeside int
	go beside(func() error {
		cmd := s.command("run", "--wait", "--keep-unchanged", "--", "true")
		out, err := cmd.CombinedOutput()
		beganBeside++
		if err != nil {
			err = fmt.Errorf("a transaction beside it: %w\n%s", err, out)
		}
		return err
	})
	doc := document[bus.GC](s, "gc", "--wait")
	close(stop)
	if err := errors.Join(<-ended, <-ended); err != nil {
		t.Error(err)
	}
	if len(doc.Failed) != 0 {
		t.Errorf("some could not be deleted: %+v", doc.Failed)
	}
	gone := 0
	for _, n := range made {
		if !exists(s.inSnapshot(n, "usr")) {
			gone++
		}
	}
	if want := all - stay - 2; gone < want { // the pinned one and the one that booted next
		t.Errorf("%d of %d are gone, at least %d should be", gone, all, want)
	}
	st := s.status()
	for what, n := range map[string]uint64{"the pinned one": pinned, "the booted one": st.Booted.Number, "what boots next": st.Default.Number} {
		if !exists(s.inSnapshot(n, "usr")) {
			t.Errorf("%s, %d, is gone", what, n)
		}
	}
	if !exists(filepath.Join(s.machine.Root, ".snapshots", snappers, "snapshot/usr")) {
		t.Errorf("snapshot %s of snapper is gone", snappers)
	}
	if beganBeside == 0 {
		t.Error("no transaction came to its end beside it")
	}
	for _, n := range theirs {
		// Where it gave up it also leaves empty directories, which it does not delete.
		if _, err := s.snapper("delete", n); err != nil && exists(filepath.Join(s.machine.Root, ".snapshots", n, "info.xml")) {
			t.Error(err)
		}
	}
	t.Logf("%d of %d are gone; %d transactions beside it", gone, all, beganBeside)
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
