// The daemon is killed at random moments, and what the next one finds must make
// sense: nothing half-done, nothing that was acknowledged is lost.

package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// fromEnvironment reads a number that makes a run longer or repeats it.
func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func TestDaemonKilledAtAnyMoment(t *testing.T) {
	seed := fromEnvironment(t, "TXUPD_SEED", uint64(time.Now().UnixNano()))
	t.Logf("TXUPD_SEED=%d repeats this run, TXUPD_KILLS sets its length", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newSystem(t, options{})
	s.must("run", "--", "touch", "/usr/before")
	undone, finished := 0, 0
	for i := range fromEnvironment(t, "TXUPD_KILLS", 12) {
		file := fmt.Sprintf("usr/kill-%d", i)
		old := s.pending()
		cmd := s.command("run", "-m", file, "--", "touch", "/"+file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment is the point here, so this is no wait for something.
		time.Sleep(time.Duration(random.IntN(250)) * time.Millisecond)
		if pid := s.daemonPID(); pid != 0 {
			kill(t, pid, syscall.SIGKILL)
		}
		exit := exitOf(t, cmd)
		now := s.pending()
		s.consistent()
		switch {
		case now == old && exit == 0:
			t.Fatalf("txctl said done, but %d boots next", now)
		case now == old:
			undone++
		case !exists(s.inSnapshot(now, file)) || s.show(now).Message != file:
			t.Fatalf("%d boots next, which is neither the old one nor the new", now)
		default:
			finished++
		}
	}
	t.Logf("%d undone, %d finished", undone, finished)
}

// consistent compares the records with what stands on the disk.
func (s *system) consistent() {
	s.t.Helper()
	if tx := s.status().Transaction; tx != nil {
		s.t.Fatalf("transaction %d is still in progress", tx.Number)
	}
	var recorded, found []string
	for _, rec := range document[bus.Log](s, "log", "-n", "1000").Records {
		switch {
		case rec.Phase == record.Open:
			s.t.Fatalf("transaction %d is recorded as open", rec.Number)
		case rec.Phase == record.Committed && rec.Deleted == nil && rec.Number != 0: // 0 lies elsewhere
			recorded = append(recorded, itoa64(rec.Number))
		}
	}
	names, err := os.ReadDir(filepath.Join(s.machine.Root, ".snapshots"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range names {
		if !strings.HasPrefix(n.Name(), ".") {
			found = append(found, n.Name())
		}
	}
	slices.Sort(recorded)
	slices.Sort(found)
	if !slices.Equal(recorded, found) {
		s.t.Fatalf("recorded are %v, on the disk are %v", recorded, found)
	}
	left, err := os.ReadDir(filepath.Join(s.machine.Root, ".snapshots/.txupd"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range left {
		if strings.HasPrefix(n.Name(), "new-") || strings.HasPrefix(n.Name(), "del-") {
			s.t.Fatalf("%s was left", n.Name())
		}
	}
}

// TestDefaultChangedByOthersIsNotOverwritten: what somebody else set meanwhile stays.
func TestDefaultChangedByOthersIsNotOverwritten(t *testing.T) {
	s := newSystem(t, options{})
	s.must("run", "--", "touch", "/usr/one")
	one := s.pending()
	s.must("run", "--from", "booted", "--", "touch", "/usr/two")
	s.must("begin")
	s.must("exec", "--", "touch", "/usr/three")
	d := btrfs.Driver{}
	root, err := d.Info(s.inSnapshot(one, ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SetDefault(s.machine.Root, root.ID); err != nil {
		t.Fatal(err)
	}
	s.expect(7, "default", "commit")
	if got := s.pending(); got != one {
		t.Errorf("%d boots next, want %d", got, one)
	}
	s.consistent()
}

// TestCrashLeavesNoTraceOfTheSandboxInAnOpenTransaction: what a sandbox puts
// into the snapshot while it lives is not committed when it died instead.
func TestCrashLeavesNoTraceOfTheSandboxInAnOpenTransaction(t *testing.T) {
	s := newSystem(t, options{})
	s.must("begin")
	s.must("exec", "--", "touch", "/usr/one")
	kill(t, s.daemonPID(), syscall.SIGKILL)
	s.must("commit")
	n := s.pending()
	if exists(s.inSnapshot(n, "usr/sbin/policy-rc.d")) {
		t.Error("services would not be started any more: policy-rc.d was committed")
	}
	if rec := s.show(n); len(rec.FileChanges) != 1 {
		t.Errorf("changed: %v", rec.FileChanges)
	}
}

// TestForeignSubvolumeInASnapshotStopsNothing: what somebody made inside of a
// snapshot is not deleted, and does not keep the daemon from serving.
func TestForeignSubvolumeInASnapshotStopsNothing(t *testing.T) {
	s := newSystem(t, options{})
	s.must("run", "--", "touch", "/usr/one")
	n := s.pending()
	foreign := s.inSnapshot(n, "usr/foreign")
	if err := (btrfs.Driver{}).Create(foreign); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(foreign, "data"), []byte("of somebody"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.must("rollback", "booted")
	s.expect(5, "", "delete", "-y", itoa64(n))
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	s.must("status")
	if !exists(filepath.Join(foreign, "data")) || s.show(n).Deleted != nil {
		t.Error("it was deleted, or is said to be")
	}
	s.must("rollback", itoa64(n))
	// The same in an open transaction, which cannot be undone then.
	s.must("begin", "--from", "booted")
	open := s.status().Transaction.Number
	if err := (btrfs.Driver{}).Create(s.inSnapshot(open, "usr/foreign")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.inSnapshot(open, "usr/foreign/data"), []byte("of somebody"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.txctl("discard")
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	st := s.status()
	if !strings.Contains(strings.Join(st.Warnings, "\n"), "could not be resumed") {
		t.Errorf("status does not say what is left: %q", st.Warnings)
	}
	s.must("rollback", "booted")
	s.must("run", "--", "touch", "/usr/two")
}
