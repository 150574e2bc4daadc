// Others on the same disk: what they do beside us, to us, and before us.

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

// snapperConfig lets snapper work on a root.
func snapperConfig(root string) error {
	for path, text := range map[string]string{
		"etc/snapper/configs/root": "SUBVOLUME=\"/\"\nFSTYPE=\"btrfs\"\n",
		"etc/sysconfig/snapper":    "SNAPPER_CONFIGS=\"root\"\n",
		"etc/default/snapper":      "SNAPPER_CONFIGS=\"root\"\n",
	} {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// snapper runs the real one on the machine's root.
func (s *system) snapper(args ...string) (string, error) {
	cmd := exec.Command("snapper", append([]string{"--no-dbus", "--root", s.machine.Root}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said // it also says which snapshots went while it looked
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("snapper %s: %w\n%s%s", strings.Join(args, " "), err, out, said.String())
	}
	return strings.TrimSpace(string(out)), err
}

// TestSnapperWorksBesideUs: both take numbers, and neither loses anything.
func TestSnapperWorksBesideUs(t *testing.T) {
	testbed.NeedTools(t, "snapper")
	s := newSystem(t, options{prepare: snapperConfig})
	first := s.run("first")
	stop, done := make(chan struct{}), make(chan error)
	var kept []string
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			n, err := s.snapper("create", "--description", "not ours", "--print-number")
			if err == nil && i%2 == 0 {
				_, err = s.snapper("delete", n)
			} else {
				kept = append(kept, n)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	var ours []uint64
	for i := range 12 {
		ours = append(ours, s.run(fmt.Sprintf("of-ours-%d", i)))
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.must("rollback", itoa64(first))
	for _, n := range ours {
		for i := range ours {
			if file := fmt.Sprintf("usr/of-ours-%d", i); exists(s.inSnapshot(n, file)) != (ours[i] <= n) {
				t.Errorf("snapshot %d: %s is there: %v", n, file, ours[i] > n)
			}
		}
		s.must("delete", "-y", itoa64(n))
	}
	for _, n := range kept {
		if !exists(filepath.Join(s.machine.Root, ".snapshots", n, "snapshot/usr")) {
			t.Errorf("snapshot %s of snapper is gone", n)
		}
		if _, err := s.snapper("delete", n); err != nil {
			t.Error(err)
		}
	}
	s.consistent()
	t.Logf("ours are %v, snapper's %v", ours, kept)
}

// TestSnapperDeletesWhatIsOurs: it lists our snapshots, and may delete them.
func TestSnapperDeletesWhatIsOurs(t *testing.T) {
	testbed.NeedTools(t, "snapper")
	s := newSystem(t, options{prepare: snapperConfig})
	first := s.run("first")
	second := s.run("second")
	gone := func(n uint64) {
		t.Helper()
		if _, err := s.snapper("delete", itoa64(n)); err != nil {
			t.Fatal(err)
		}
	}
	gone(first)
	s.answers()
	s.expect(4, "not found", "rollback", itoa64(first))
	if got := s.pending(); got != second {
		t.Errorf("%d boots next", got)
	}
	// That of an open transaction, in the middle.
	s.must("begin", "--from", "booted")
	open := s.status().Transaction.Number
	s.must("exec", "--", "touch", "/usr/open")
	gone(open)
	s.answers()
	if r := s.txctl("commit"); r.exit == 0 {
		t.Error("what is not there was committed")
	}
	if got := s.pending(); got != second {
		t.Errorf("%d boots next", got)
	}
	if s.status().Transaction != nil {
		t.Error("the transaction is still open")
	}
	if rec := s.show(open); rec.Phase != record.Failed {
		t.Errorf("transaction %d is %s", open, rec.Phase)
	}
	s.run("third")
}

// TestSetDefaultByHandInTheMiddle: what an administrator chose stays.
func TestSetDefaultByHandInTheMiddle(t *testing.T) {
	s := newSystem(t, options{})
	first := s.run("first")
	s.run("second")
	s.untouched("a transaction that others overtook", func() {
		cmd, _ := s.startWaiting("run", "--", "sh", "-c", "echo going; touch /usr/third; while [ ! -e /usr/go ]; do sleep 0.05; done")
		testbed.Run(t, "btrfs", "subvolume", "set-default", s.inSnapshot(first, ""))
		write(t, s.inSnapshot(s.status().Transaction.Number, "usr/go"), "")
		if got := exitOf(t, cmd); got != 125 {
			t.Errorf("exit %d", got)
		}
		if got := s.pending(); got != first {
			t.Errorf("%d boots next, want %d", got, first)
		}
		if recs := document[bus.Log](s, "log", "-n", "1").Records; recs[0].ErrorCode != "Stale" {
			t.Errorf("the record says %s: %s", recs[0].ErrorCode, recs[0].Error)
		}
		testbed.Run(t, "btrfs", "subvolume", "set-default", s.inSnapshot(first+1, ""))
	})
}

// waitingDeb is a package whose installation waits for a word on the pipe /srv/go.
var waitingDeb = testbed.Deb{Name: "waiting", Scripts: map[string]string{"postinst": "#!/bin/sh\nread line </srv/go\n"}}

// aptAtWork starts apt-get on the running root and returns when it is in the
// middle of its work; release lets it end.
func (s *system) aptAtWork(packages ...string) (release func()) {
	s.t.Helper()
	pipe := filepath.Join(s.machine.Root, "srv/go")
	if err := unix.Mkfifo(pipe, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		out, err := testbed.Chroot(context.Background(), s.machine.Root, append([]string{"apt-get", "-y", "-q", "install", "--reinstall"}, packages...)...)
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		done <- err
	}()
	opened := make(chan *os.File, 1)
	go func() {
		if w, err := os.OpenFile(pipe, os.O_WRONLY, 0); err == nil {
			opened <- w
		}
	}()
	select {
	case err := <-done:
		if r, open := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0); open == nil {
			r.Close()
		}
		s.t.Fatalf("apt-get did not wait: %v", err)
		return nil
	case w := <-opened:
		return func() {
			s.t.Helper()
			if _, err := w.WriteString("go\n"); err != nil {
				s.t.Error(err)
			}
			w.Close()
			if err := <-done; err != nil {
				s.t.Error(err)
			}
		}
	}
}

// TestAPackageManagerIsAtWorkOnTheRunningSystem: nothing is forked from half of a change.
func TestAPackageManagerIsAtWorkOnTheRunningSystem(t *testing.T) {
	configure := func(root, wait string) error {
		path := filepath.Join(root, "etc/txupd/txupd.toml")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte("[packages]\nwait = \""+wait+"\"\n"), 0o644)
	}
	s := newSystem(t, options{prepare: func(root string) error {
		return errors.Join(configure(root, "0s"), testbed.UseDebRepo(t.Context(), root, waitingDeb))
	}})
	s.status()
	release := s.aptAtWork("waiting")
	s.untouched("while apt works", func() {
		r := s.expect(6, "apt-get (process ", "begin")
		if !strings.Contains(r.stderr, "/var/lib/dpkg/lock-frontend") {
			t.Errorf("the lock is not named: %s", r.stderr)
		}
		s.expect(125, "apt-get (process ", "run", "--", "touch", "/usr/first")
		s.expect(6, "apt-get (process ", "pkg", "add", "waiting")
	})
	release()
	first := s.run("first")

	// A pending snapshot is nobody's work.
	release = s.aptAtWork("waiting")
	second := s.run("second")
	if p := s.show(second).Parent; p == nil || *p != first {
		t.Errorf("%d has parent %v", second, p)
	}
	// With patience it goes on by itself.
	if err := configure(s.machine.Root, "2m"); err != nil {
		t.Fatal(err)
	}
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	cmd := s.command("run", "--wait", "--from", "booted", "--", "sh", "-c", "dpkg --status waiting && touch /usr/third")
	var said bytes.Buffer
	cmd.Stderr = &said
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("who waited was told: %s", said.String())
		}
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.eventually("somebody else is told who waits", func() bool {
		r := s.txctl("boot-once", "--cancel")
		return r.exit == 6 && strings.Contains(r.stderr, "a transaction of")
	})
	release()
	if got := exitOf(t, cmd); got != 0 {
		t.Errorf("who waited: exit %d", got)
	}
	if !exists(s.inSnapshot(s.pending(), "usr/third")) {
		t.Error("what waited was not done")
	}
	s.consistent()
}

// TestSnapshotsAreNotMounted, before the daemon starts: the remedy is one that works.
func TestSnapshotsAreNotMounted(t *testing.T) {
	for _, layout := range []string{"debian", "flat"} {
		t.Run(layout, func(t *testing.T) {
			s := newSystem(t, options{layout: layout})
			at := filepath.Join(s.machine.Root, ".snapshots")
			if err := unix.Unmount(at, 0); err != nil {
				t.Fatal(err)
			}
			r := s.expect(10, "mount -o subvol=/@snapshots", "begin")
			for _, args := range [][]string{{"status"}, {"list"}, {"rollback"}} {
				s.expect(10, "mount -o subvol=/@snapshots", args...)
			}
			s.expect(125, "mount -o subvol=/@snapshots", "run", "--", "touch", "/usr/first")
			if names, err := os.ReadDir(at); err != nil || len(names) > 0 {
				t.Errorf("in the directory are %v, %v", names, err)
			}
			done := 0
			for line := range strings.Lines(r.stderr) {
				_, command, _ := strings.Cut(line, "| ")
				if word, _, _ := strings.Cut(command, " "); word == "mkdir" || word == "mount" {
					testbed.Run(t, "sh", "-c", command)
					done++
				}
			}
			if done != 2 {
				t.Fatalf("%d commands were found in\n%s", done, r.stderr)
			}
			s.eventually("the daemon looks again", func() bool { return s.txctl("status").exit == 0 })
			s.run("first")
		})
	}
}

// TestSnapshotsGoAwayWhileTheDaemonRuns: nothing is made in what shows instead.
func TestSnapshotsGoAwayWhileTheDaemonRuns(t *testing.T) {
	s := newSystem(t, options{layout: "debian"})
	n := s.run("first")
	pid := s.daemonPID()
	at := filepath.Join(s.machine.Root, ".snapshots")
	gone := func() {
		t.Helper()
		if err := unix.Unmount(at, 0); !errors.Is(err, unix.EBUSY) {
			t.Fatalf("the journal does not keep it mounted: %v", err)
		}
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
	back := func() {
		t.Helper()
		testbed.Mount(t, s.machine.Device, at, "subvol=@snapshots")
	}
	empty := func() {
		t.Helper()
		if names, err := os.ReadDir(at); err != nil || len(names) > 0 {
			t.Errorf("in the directory are %v, %v", names, err)
		}
	}
	gone()
	for _, args := range [][]string{{"status"}, {"list"}, {"begin"}, {"rollback", "booted"}, {"delete", "-y", itoa64(n)}} {
		s.expect(10, "is not mounted any more", args...)
	}
	s.expect(125, "is not mounted any more", "run", "--", "touch", "/usr/second")
	empty()
	back()
	second := s.run("second")

	// In the middle of a transaction.
	s.must("begin")
	s.must("exec", "--", "touch", "/usr/third")
	gone()
	if r := s.txctl("commit"); r.exit == 0 || !strings.Contains(r.stderr, ".snapshots") {
		t.Errorf("commit: exit %d\n%s", r.exit, r.stderr)
	}
	empty()
	back()
	if got := s.daemonPID(); got != pid {
		t.Errorf("the daemon is process %d, was %d", got, pid)
	}
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	if got := s.pending(); got != second {
		t.Errorf("%d boots next, want %d", got, second)
	}
	if tx := s.status().Transaction; tx != nil {
		s.must("discard")
	}
	s.consistent()
	s.run("fourth")
}

// remount changes the whole file system, as `mount -o remount` does.
func (s *system) remount(readOnly bool) error {
	var flags uintptr = unix.MS_REMOUNT | unix.MS_NOATIME
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	return unix.Mount("", s.machine.Top, "", flags, "")
}

// TestAReadOnlyRemountInTheMiddle of an open transaction, which outlives it.
func TestAReadOnlyRemountInTheMiddle(t *testing.T) {
	s := newSystem(t, options{})
	s.must("begin")
	s.must("exec", "--", "touch", "/usr/first")
	if err := s.remount(true); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("under a running daemon: %v", err)
	}
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	if err := s.remount(true); err != nil {
		t.Fatal(err)
	}
	s.expect(10, "remount,rw", "status")
	s.expect(10, "remount,rw", "commit")
	s.expect(125, "remount,rw", "run", "--", "true")
	if err := s.remount(false); err != nil {
		t.Fatal(err)
	}
	s.eventually("the daemon looks again", func() bool { return s.txctl("status").exit == 0 })
	s.must("commit")
	if n := s.pending(); !exists(s.inSnapshot(n, "usr/first")) {
		t.Error("what was done before is lost")
	}
	s.consistent()
}

// TestTheDiskFailsInTheMiddle: the device takes no more writes, and the kernel
// makes the file system read-only under us.
func TestTheDiskFailsInTheMiddle(t *testing.T) {
	testbed.NeedRoot(t)
	// The image lies on a file system that will have no space for it.
	thin := filepath.Join(t.TempDir(), "thin")
	if err := os.Mkdir(thin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("thin", thin, "tmpfs", 0, "size=900m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(thin, 0); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", thin)
	s := newSystem(t, options{sizeMiB: 2048})
	n := s.run("first")
	pid := s.daemonPID()
	s.must("begin")
	s.must("exec", "--", "touch", "/usr/second")
	testbed.Run(t, "sync", "-f", s.machine.Top)

	full := testbed.NewFiller(t, thin)
	full.Data(0)
	s.txctl("exec", "--", "dd", "if=/dev/urandom", "of=/usr/lost", "bs=1M", "count=64")
	r := s.txctl("commit")
	if r.exit == 0 {
		t.Fatal("what could not be written was committed")
	}
	t.Logf("commit: exit %d\n%s", r.exit, r.stderr)
	if !strings.Contains(r.stderr, "read-only file system") && !strings.Contains(r.stderr, "input/output error") {
		t.Errorf("commit: exit %d\n%s", r.exit, r.stderr)
	}
	s.expect(125, "", "run", "--", "touch", "/usr/third")
	// What can still be read is told, and what not is an error of the disk.
	if r := s.txctl("status"); r.exit != 0 && !strings.Contains(r.stderr, "input/output error") {
		t.Errorf("status: exit %d\n%s", r.exit, r.stderr)
	}
	if got := s.daemonPID(); got != pid {
		t.Errorf("the daemon is process %d, was %d", got, pid)
	}

	// With a disk again, and after a reboot.
	full.Empty()
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	for _, point := range []string{s.machine.Top} {
		if err := unix.Unmount(point, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.machine.Reboot(); err != nil {
		t.Fatal(err)
	}
	testbed.Mount(t, s.machine.Device, s.machine.Top, "subvolid=5")
	if got := s.status(); got.Booted == nil || got.Booted.Number != n {
		t.Errorf("the status is %+v", got)
	}
	if s.status().Transaction != nil {
		s.must("discard")
	}
	s.consistent()
	s.run("fourth")
}

// TestTheRootIsMountedReadOnly: all that is ours lies beside it.
func TestTheRootIsMountedReadOnly(t *testing.T) {
	s := newSystem(t, options{layout: "debian"})
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", s.machine.Root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOATIME|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	first := s.run("first")
	remount(0)
	s.run("second")
	remount(unix.MS_RDONLY)
	s.must("rollback", itoa64(first))
	s.must("delete", "-y", itoa64(first+1))
	s.answers()
}

// TestWhatAForkWouldLeaveBehindIsNamed: swap files and the subvolumes of containers.
func TestWhatAForkWouldLeaveBehindIsNamed(t *testing.T) {
	s := newSystem(t, options{})
	s.status()
	swap := filepath.Join(s.machine.Root, "usr/swap file")
	testbed.Run(t, "btrfs", "filesystem", "mkswapfile", "--size", "16M", swap)
	testbed.Run(t, "swapon", swap)
	active := true
	t.Cleanup(func() {
		if active {
			testbed.Run(t, "swapoff", swap)
		}
	})
	s.untouched("with a swap file in use", func() {
		r := s.expect(10, "/usr/swap file", "begin")
		if !strings.Contains(r.stderr, "swapoff '/usr/swap file'") {
			t.Errorf("no way out: %s", r.stderr)
		}
		s.expect(125, "/usr/swap file", "run", "--", "touch", "/usr/first")
	})
	testbed.Run(t, "swapoff", swap)
	active = false
	n := s.run("first")

	d := btrfs.Driver{}
	machines := filepath.Join(s.machine.Root, "var/lib/machines")
	for _, path := range []string{machines, filepath.Join(machines, "debian")} {
		if err := d.Create(path); err != nil {
			t.Fatal(err)
		}
	}
	s.untouched("with a container in the root", func() {
		r := s.expect(10, "/var/lib/machines", "begin", "--from", "booted")
		if !strings.Contains(r.stderr, "move") {
			t.Errorf("no way out: %s", r.stderr)
		}
	})
	// One without anything in it is nobody's data, and the pending one has none.
	testbed.Run(t, "btrfs", "-q", "subvolume", "delete", filepath.Join(machines, "debian"))
	s.must("run", "--from", "booted", "--", "touch", "/usr/second")
	s.must("run", "--from", itoa64(n), "--", "touch", "/usr/third")
}

// started is a daemon that the test started itself, and what it said.
type started struct {
	cmd   *exec.Cmd
	words *logBuffer
}

// daemon starts one more on a bus.
func (s *system) daemon(b *testbed.Bus, args ...string) started {
	s.t.Helper()
	d := started{exec.Command(s.programs.Txupd, append([]string{"--root", s.machine.Root}, args...)...), &logBuffer{}}
	d.cmd.Env, d.cmd.Stderr = b.Env(), d.words
	if err := d.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// left waits for its end and expects an exit code and words.
func (s *system) left(d started, exit int, words string) {
	s.t.Helper()
	_ = d.cmd.Wait() // its status is asked below
	if got := d.cmd.ProcessState.ExitCode(); got != exit || !strings.Contains(d.words.String(), words) {
		s.t.Errorf("the daemon left with %d, want %d and %q:\n%s", got, exit, words, d.words)
	}
}

// TestTheSecondDaemonLeaves, with words, and the first goes on with what it does.
func TestTheSecondDaemonLeaves(t *testing.T) {
	s := newSystem(t, options{})
	s.status()
	first := s.daemonPID()
	cmd, _ := s.startWaiting("run", "--", "sh", "-c", "echo going; touch /usr/first; while [ ! -e /usr/go ]; do sleep 0.05; done")

	s.left(s.daemon(s.bus), 6, fmt.Sprintf("txupd (process %d)", first))

	other := testbed.PrivateBus(t, testbed.BusOptions{Daemon: []string{s.programs.Txupd, "--root", s.machine.Root}})
	s.left(s.daemon(other), 6, "another txupd serves this system")
	call := s.command("status")
	call.Env = append(other.Env(), "NO_COLOR=1")
	if r := s.finish(call); r.exit != 6 || !strings.Contains(r.stderr, fmt.Sprintf("txupd (process %d)", first)) {
		t.Errorf("over the other bus: exit %d\n%s", r.exit, r.stderr)
	}

	write(t, s.inSnapshot(s.status().Transaction.Number, "usr/go"), "")
	if got := exitOf(t, cmd); got != 0 {
		t.Errorf("the first one's transaction: exit %d", got)
	}
	if got := s.daemonPID(); got != first {
		t.Errorf("the daemon is process %d, was %d", got, first)
	}
	if !exists(s.inSnapshot(s.pending(), "usr/first")) {
		t.Error("what it did is lost")
	}
	s.consistent()
}

// TestTheNameOnTheBusIsTaken by some other program: the daemon leaves, and has changed nothing.
func TestTheNameOnTheBusIsTaken(t *testing.T) {
	s := newSystem(t, options{})
	s.run("first")
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	conn, err := dbus.Connect(s.bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if reply, err := conn.RequestName(bus.Name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("%v, %v", reply, err)
	}
	before := s.footprint()
	s.left(s.daemon(s.bus), 6, "another txupd serves this bus")
	if after := s.footprint(); !slices.Equal(after.Entries, before.Entries) || after.Default != before.Default {
		t.Errorf("left is %+v, there was %+v", after, before)
	}
	if _, err := conn.ReleaseName(bus.Name); err != nil {
		t.Fatal(err)
	}
	s.run("second")
}
