// Suites on real things: a real Debian root on a loop btrfs, the real daemon on
// a real bus, the real command.
package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// patience bounds every wait: reaching it is a failure, never a pass.
const patience = 2 * time.Minute

// programs are built once for all tests, the daemon with the race detector;
// those for the matrix of faults with failpoints besides.
var (
	programs = sync.OnceValues(func() (testbed.Programs, error) {
		return testbed.BuildPrograms(context.Background(), programsDir, testbed.WithRace)
	})
	faultyPrograms = sync.OnceValues(func() (testbed.Programs, error) {
		return testbed.BuildPrograms(context.Background(), filepath.Join(programsDir, "faulty"), testbed.WithFaults)
	})
)

var programsDir string

func TestMain(m *testing.M) {
	// A daemon in this process starts it again as the first one of a sandbox.
	if sandbox.IsInit() {
		os.Exit(sandbox.Init())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "txupd-programs-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		programsDir = dir
		return m.Run()
	}())
}

// system is one machine with its bus.
type system struct {
	t        *testing.T
	machine  *testbed.Machine
	bus      *testbed.Bus
	programs testbed.Programs
	log      *logBuffer
}

// logBuffer keeps what the daemon says, for the report of a failed test.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// size is how much memory the log takes.
func (l *logBuffer) size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(l.buf.Cap())
}

// options of a system.
type options struct {
	layout   string // "opensuse" if empty
	zypper   bool
	sizeMiB  int      // of the disk, 4096 if 0
	mkfs     []string // further arguments of mkfs.btrfs
	prepare  func(root string) error
	daemon   []string                         // further arguments
	programs func() (testbed.Programs, error) // those of this checkout if nil
	// faults is the file that arms failpoints; "" for a daemon that has none.
	faults string
}

func newSystem(t *testing.T, o options) *system {
	t.Helper()
	testbed.NeedRoot(t)
	build, daemon := programs, []string{}
	if o.programs != nil {
		build = o.programs
	}
	if o.faults != "" {
		build, daemon = faultyPrograms, []string{"/usr/bin/env", failpoint.Variable + "=" + o.faults}
	}
	built, err := build()
	if err != nil {
		t.Fatal(err)
	}
	if o.layout == "" {
		o.layout = "opensuse"
	}
	tarball := testbed.DebianRoot
	if o.zypper {
		tarball = testbed.ZypperRoot
	}
	s := &system{t: t, programs: built, log: &logBuffer{}}
	s.machine = testbed.RealRoot(t, tarball(t), o.layout, testbed.MachineOptions{SizeMiB: o.sizeMiB, Mkfs: o.mkfs, Prepare: o.prepare})
	s.bus = testbed.PrivateBus(t, testbed.BusOptions{
		Daemon: slices.Concat(daemon, []string{built.Txupd, "--root", s.machine.Root}, o.daemon), Log: s.log,
	})
	t.Cleanup(func() {
		if strings.Contains(s.log.String(), "DATA RACE") {
			t.Errorf("the race detector has found something")
		}
		if t.Failed() {
			t.Logf("the daemon said:\n%s", s.log)
		}
	})
	return s
}

// client is a connection of its own, as another program has it.
func (s *system) client() *client.Client {
	s.t.Helper()
	s.t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", s.bus.Address)
	c, err := client.Connect(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// result is what a command printed and returned.
type result struct {
	stdout, stderr string
	exit           int
}

// command makes a txctl that is not started yet.
func (s *system) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.programs.Txctl, args...)
	cmd.Env = append(s.bus.Env(), "NO_COLOR=1", "TERM=xterm")
	return cmd
}

// txctl runs the command to its end.
func (s *system) txctl(args ...string) result {
	s.t.Helper()
	return s.finish(s.command(args...))
}

func (s *system) finish(cmd *exec.Cmd) result {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Start()
	if err == nil {
		late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		err = cmd.Wait()
		if !late.Stop() {
			s.t.Fatalf("txctl %q: not within %v", cmd.Args[1:], patience)
		}
	}
	r := result{out.String(), errs.String(), 0}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.exit = exit.ExitCode()
	case err != nil:
		s.t.Fatal(err)
	}
	return r
}

// must runs the command and expects it to succeed.
func (s *system) must(args ...string) result {
	s.t.Helper()
	r := s.txctl(args...)
	if r.exit != 0 {
		s.t.Fatalf("txctl %s: exit %d\n%s%s", strings.Join(args, " "), r.exit, r.stdout, r.stderr)
	}
	return r
}

// expect runs the command and expects an exit code and words on its standard error.
func (s *system) expect(exit int, words string, args ...string) result {
	s.t.Helper()
	r := s.txctl(args...)
	if r.exit != exit || !strings.Contains(r.stderr, words) {
		s.t.Errorf("txctl %.100s: exit %d, want %d and %q\n%s%s", strings.Join(args, " "), r.exit, exit, words, r.stdout, r.stderr)
	}
	return r
}

// document runs the command with --json and reads what it prints.
func document[T any](s *system, args ...string) T {
	s.t.Helper()
	r := s.must(append(args, "--json")...)
	var doc T
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		s.t.Fatalf("txctl %s --json: %v\n%s", strings.Join(args, " "), err, r.stdout)
	}
	return doc
}

func (s *system) status() bus.Status { s.t.Helper(); return document[bus.Status](s, "status") }

func (s *system) show(n uint64) record.Record {
	s.t.Helper()
	return document[record.Record](s, "show", strconv.FormatUint(n, 10))
}

// pending is the number of what boots next.
func (s *system) pending() uint64 {
	s.t.Helper()
	st := s.status()
	if st.Pending == nil {
		s.t.Fatal("nothing is pending")
	}
	return st.Pending.Number
}

// inSnapshot is a path in a snapshot's root.
func (s *system) inSnapshot(n uint64, path string) string {
	return filepath.Join(s.machine.Root, ".snapshots", fmt.Sprint(n), "snapshot", path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// footprint is everything that a transaction may leave behind, seen without the daemon.
type footprint struct {
	Default    snapshot.SubvolumeID
	Subvolumes []string
	Entries    []string
	Mounts     int
	Processes  int
}

// footprint looks at the file system, the mounts and the daemon's children.
func (s *system) footprint() footprint {
	s.t.Helper()
	d := btrfs.Driver{}
	var f footprint
	var err error
	if f.Default, err = d.Default(s.machine.Root); err != nil {
		s.t.Fatal(err)
	}
	all, err := d.List(s.machine.Root)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, one := range all {
		f.Subvolumes = append(f.Subvolumes, one.Path)
	}
	slices.Sort(f.Subvolumes)
	for _, dir := range []string{".snapshots", ".snapshots/.txupd"} {
		names, err := os.ReadDir(filepath.Join(s.machine.Root, dir))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, n := range names {
			f.Entries = append(f.Entries, filepath.Join(dir, n.Name()))
		}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(s.machine.Root))
	if err != nil {
		s.t.Fatal(err)
	}
	f.Mounts = len(mounts)
	f.Processes = s.sandboxed()
	return f
}

// sandboxed counts processes whose root is a snapshot of this machine.
func (s *system) sandboxed() int {
	device := "/dev/" + filepath.Base(s.machine.Device)
	count := 0
	files, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			continue // it has ended
		}
		mounts, err := mountinfo.GetMountsFromReader(f, mountinfo.SingleEntryFilter("/"))
		f.Close()
		if err == nil && slices.ContainsFunc(mounts, func(m *mountinfo.Info) bool { return m.Source == device }) {
			count++
		}
	}
	return count
}

// eventually waits for a condition that nothing signals, such as the death of a process that is not our child.
func (s *system) eventually(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// untouched runs work and expects that nothing is left of it.
func (s *system) untouched(what string, work func()) {
	s.t.Helper()
	s.status() // the first call makes the journal
	before := s.footprint()
	work()
	s.eventually(what+": the transaction ends", func() bool { return s.status().Transaction == nil })
	s.eventually(what+": its processes end", func() bool { return s.sandboxed() <= before.Processes })
	after := s.footprint()
	before.Entries = slices.DeleteFunc(before.Entries, stays)
	after.Entries = slices.DeleteFunc(after.Entries, stays)
	if b, a := fmt.Sprintf("%+v", before), fmt.Sprintf("%+v", after); b != a {
		s.t.Errorf("%s left something:\nbefore %s\nafter  %s", what, b, a)
	}
}

// stays: logs are kept, also of what failed, and the reserve comes and goes.
func stays(path string) bool {
	return path == ".snapshots/.txupd/log" || path == ".snapshots/.txupd/reserve"
}

// kill ends a process that this test started, or the daemon of its bus.
func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("no process to kill: %d", pid)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

func (s *system) daemonPID() int {
	s.t.Helper()
	pid, err := s.bus.DaemonPID()
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}
