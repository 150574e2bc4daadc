// Full disks: whoever fills them and whenever, nothing is half done, what runs is
// untouched, and snapshots can be deleted and gone back to.

package integration

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

// smallDisk is what a full disk is tried on: full soon, and with little metadata.
const smallDisk = 1024

// onSmallDisks runs a test on each way in which a machine boots and a file
// system keeps data and metadata.
func onSmallDisks(t *testing.T, test func(t *testing.T, s *system)) {
	boots := map[string]func(*testing.T, options) *system{
		"default subvolume": newSystem,
		"menu on the root's disk": func(t *testing.T, o options) *system {
			return withGRUB(t, 0, o)
		},
		"menu on a partition": func(t *testing.T, o options) *system {
			return withGRUB(t, 64, o)
		},
	}
	groups := map[string][]string{"apart": {"-m", "dup"}, "mixed": {"--mixed"}}
	for boot, start := range boots {
		for kind, mkfs := range groups {
			t.Run(boot+", "+kind, func(t *testing.T) {
				s := start(t, options{sizeMiB: smallDisk, mkfs: mkfs})
				test(t, s)
				s.consistent()
			})
		}
	}
}

// fills are the ways in which a disk is full.
var fills = map[string]func(*testbed.Filler){
	"data":     func(f *testbed.Filler) { f.Data(0) },
	"metadata": func(f *testbed.Filler) { f.Data(0); f.Metadata(0) },
	"all":      (*testbed.Filler).All,
}

// filler takes space outside of the root that runs.
func (s *system) filler() *testbed.Filler {
	s.t.Helper()
	return testbed.NewFiller(s.t, s.machine.Top)
}

// settled waits until what was deleted is free.
func (s *system) settled() {
	s.t.Helper()
	testbed.Run(s.t, "btrfs", "filesystem", "sync", s.machine.Top)
	testbed.Run(s.t, "btrfs", "subvolume", "sync", s.machine.Top)
	testbed.Run(s.t, "btrfs", "filesystem", "sync", s.machine.Top)
}

// run makes a snapshot with a file and returns its number.
func (s *system) run(file string) uint64 {
	s.t.Helper()
	s.must("run", "-m", file, "--", "touch", "/usr/"+file)
	return s.pending()
}

// answers sees that everything can be asked.
func (s *system) answers() {
	s.t.Helper()
	for _, args := range [][]string{{"status"}, {"list"}, {"log"}, {"show", "booted"}, {"doctor"}, {"verify"}} {
		s.must(args...)
	}
}

// goesBack sees that what boots can be chosen, and a snapshot be deleted.
func (s *system) goesBack(n uint64) {
	s.t.Helper()
	s.must("rollback", "booted")
	s.must("rollback", itoa64(n))
	if got := s.pending(); got != n {
		s.t.Errorf("after the rollback %d boots next, want %d", got, n)
	}
	s.must("rollback", "booted")
	s.must("delete", "-y", itoa64(n))
	if exists(s.inSnapshot(n, "")) || s.show(n).Deleted == nil {
		s.t.Errorf("snapshot %d is still there, or not said to be deleted", n)
	}
}

// runningRoot is what the running root holds of names that tests make.
func (s *system) runningRoot() []string {
	s.t.Helper()
	names, err := os.ReadDir(filepath.Join(s.machine.Root, "usr"))
	if err != nil {
		s.t.Fatal(err)
	}
	var found []string
	for _, n := range names {
		found = append(found, n.Name())
	}
	return found
}

func TestFullBeforeATransaction(t *testing.T) {
	onSmallDisks(t, func(t *testing.T, s *system) {
		before := s.runningRoot()
		for kind, fill := range fills {
			n := s.run("first-" + kind)
			f := s.filler()
			fill(f)
			s.untouched(kind+" is full", func() {
				s.expect(125, "MiB", "run", "--", "touch", "/usr/second")
				s.expect(8, "MiB", "begin")
				s.expect(8, "MiB", "pkg", "add", "anything")
			})
			s.answers()
			s.goesBack(n)
			f.Empty()
			s.settled()
		}
		s.run("last")
		if after := s.runningRoot(); !slices.Equal(after, before) {
			t.Errorf("in the running root are %q, were %q", after, before)
		}
	})
}

// fillers are shell commands that fill the disk from inside a transaction, and
// end with a status of their own.
var fillers = map[string]string{
	"data": `n=0; for size in 64M 1M 4k; do while fallocate -l $size /usr/fill$n; do n=$((n+1)); done; done; exit 3`,
	"metadata": `n=0; for size in 64M 1M; do while fallocate -l $size /usr/fill$n; do n=$((n+1)); done; done
		text=$(printf '%02000d' 0); mkdir /usr/many; n=0; while echo $text >/usr/many/$n; do n=$((n+1)); done; exit 3`,
}

func TestFullInTheMiddleByTheCommand(t *testing.T) {
	onSmallDisks(t, func(t *testing.T, s *system) {
		n := s.run("first")
		before := s.runningRoot()
		for kind, script := range fillers {
			s.untouched("a command that fills the disk with "+kind+" and fails", func() {
				s.expect(3, "status 3", "run", "--", "sh", "-c", script+" 2>/dev/null")
			})
			s.settled()
			// One that does not mind is committed whole or not at all.
			entries := s.footprint()
			r := s.txctl("run", "--", "sh", "-c", strings.ReplaceAll(script, "exit 3", "exit 0"))
			s.answers()
			switch r.exit {
			case 0:
				made := s.pending()
				if made == n || s.show(made).Phase != record.Committed {
					t.Errorf("%s: done, but %d boots next", kind, made)
				}
				s.must("rollback", itoa64(n))
				s.must("delete", "-y", itoa64(made))
			case 125:
				if !strings.Contains(r.stderr, "no space left") && !strings.Contains(r.stderr, "not enough space") {
					t.Errorf("%s: %s", kind, r.stderr)
				}
				if got := s.footprint(); !slices.Equal(got.Subvolumes, entries.Subvolumes) || got.Default != entries.Default {
					t.Errorf("%s: left is %+v, there was %+v", kind, got, entries)
				}
			default:
				t.Errorf("%s: exit %d\n%s", kind, r.exit, r.stderr)
			}
			t.Logf("a command that does not mind a disk full of %s: exit %d", kind, r.exit)
			s.settled()
		}
		s.goesBack(n)
		if after := s.runningRoot(); !slices.Equal(after, before) {
			t.Errorf("in the running root are %q, were %q", after, before)
		}
	})
}

func TestFullInTheMiddleByOthers(t *testing.T) {
	onSmallDisks(t, func(t *testing.T, s *system) {
		n := s.run("first")
		for kind, fill := range fills {
			f := s.filler()
			s.untouched(kind+" is full before the commit", func() {
				s.must("begin")
				s.must("exec", "--", "touch", "/usr/second")
				fill(f)
				s.answers()
				r := s.txctl("commit")
				if r.exit == 0 && kind == "data" { // a small commit needs none
					s.must("rollback", itoa64(n))
					s.must("delete", "-y", itoa64(n+1))
					return
				}
				if r.exit != 8 || !strings.Contains(r.stderr, "no space left") {
					t.Errorf("%s: commit: exit %d\n%s", kind, r.exit, r.stderr)
				}
			})
			s.goesBack(n)
			f.Empty()
			s.settled()
			n = s.run("after-" + kind)
		}
	})
}

// TestTheDaemonDiesOnAFullDisk, and what it left is undone on the full disk.
func TestTheDaemonDiesOnAFullDisk(t *testing.T) {
	onSmallDisks(t, func(t *testing.T, s *system) {
		n := s.run("first")
		f := s.filler()
		s.untouched("a command under way", func() {
			cmd, _ := s.startWaiting("run", "--", "sh", "-c", "echo going; exec sleep 4711")
			f.All()
			kill(t, s.daemonPID(), syscall.SIGKILL)
			if got := exitOf(t, cmd); got != 125 {
				t.Errorf("its daemon died: exit %d", got)
			}
			s.answers()
		})
		s.consistent()
		f.Empty()
		s.settled()
		s.untouched("an open transaction", func() {
			s.must("begin")
			s.must("exec", "--", "touch", "/usr/second")
			f.All()
			kill(t, s.daemonPID(), syscall.SIGKILL)
			s.answers()
			if s.status().Transaction == nil {
				t.Error("the open transaction is gone")
			}
			s.must("discard")
		})
		s.goesBack(n)
	})
}

// TestTheFirstStartOnAFullDisk has words, and is no more than that.
func TestTheFirstStartOnAFullDisk(t *testing.T) {
	s := newSystem(t, options{sizeMiB: smallDisk})
	f := s.filler()
	f.All()
	s.expect(8, "no space left", "status")
	s.expect(8, "no space left", "begin")
	f.Empty()
	s.settled()
	s.eventually("the daemon looks again", func() bool { return s.txctl("status").exit == 0 })
	s.run("first")
}

// leave fills the disk but for so many MiB of data.
func (s *system) leave(mib uint64) *testbed.Filler {
	s.t.Helper()
	usage, err := (btrfs.Driver{}).Usage(s.machine.Top)
	if err != nil {
		s.t.Fatal(err)
	}
	f := s.filler()
	f.Data(int64(usage.Data() - mib<<20))
	return f
}

// incompressible is as much text that no package makes smaller.
func incompressible(size int) string {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, size)
	for i := range text {
		text[i] = byte(random.Uint32())
	}
	return string(text)
}

func TestPackagesThatDoNotFitAreRefusedBefore(t *testing.T) {
	t.Run("apt", func(t *testing.T) {
		s := newSystem(t, options{sizeMiB: smallDisk, prepare: func(root string) error {
			return testbed.UseDebRepo(t.Context(), root,
				testbed.Deb{Name: "large", Fields: map[string]string{"Installed-Size": "2000000"}},
				testbed.Deb{Name: "liar", Fields: map[string]string{"Installed-Size": "1"}, Files: map[string]string{"/usr/share/liar": incompressible(80 << 20)}},
				testbed.Deb{Name: "small"})
		}})
		s.untouched("a package that does not fit", func() {
			s.expect(8, "the packages need 1954 MiB", "pkg", "add", "large")
		})
		f := s.leave(60)
		s.untouched("a package that is larger than it says", func() { s.expect(8, "out of space", "pkg", "add", "liar") })
		s.settled()
		s.must("pkg", "add", "small")
		f.Empty()
	})
	t.Run("zypper", func(t *testing.T) {
		large := testbed.Rpm{Name: "large", Files: map[string]string{"/usr/share/large": strings.Repeat("x", 200<<20)}}
		random := testbed.Rpm{Name: "random", Files: map[string]string{"/usr/share/random": incompressible(6 << 20)}}
		s := newSystem(t, options{zypper: true, sizeMiB: smallDisk, prepare: func(root string) error {
			return testbed.UseRpmRepo(t.Context(), root, large, random)
		}})
		f := s.leave(150)
		s.untouched("a package that does not fit", func() {
			s.expect(8, "the packages need 201 MiB", "pkg", "add", "large")
		})
		f.Empty()
		// Where the cache is elsewhere, what is fetched has to fit there.
		cache := filepath.Join(s.machine.Root, "var/cache/zypp")
		testbed.Ext4(t, cache, 4)
		s.untouched("a download that does not fit", func() {
			s.expect(8, "are to be downloaded", "pkg", "add", "random")
		})
		if err := unix.Unmount(cache, 0); err != nil {
			t.Fatal(err)
		}
		s.must("pkg", "add", "random")
	})
}

// fillBoot takes everything that is free on the boot partition.
func (s *system) fillBoot() *testbed.Filler {
	s.t.Helper()
	f := testbed.NewFiller(s.t, filepath.Join(s.machine.Root, "boot"))
	f.Data(0)
	return f
}

// bootFiles is the boot partition but for what fills it.
func (s *system) bootFiles() []string {
	s.t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(s.machine.Root, "boot"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.Contains(path, "filler-") && e.Name() != "txupd.spare" {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// newKernel is a command that brings another kernel.
const newKernel = "mkdir -p /usr/lib/modules/6.2.0 && cp /boot/initrd.img-" + kernelVersion + " /boot/initrd.img-6.2.0 && head -c 3000000 /dev/urandom > /boot/vmlinuz-6.2.0"

func TestAFullBootPartition(t *testing.T) {
	s := withGRUB(t, 64, options{})
	first := s.run("first")
	s.must("run", "--", "sh", "-c", newKernel)
	second := s.pending()
	before := s.bootFiles()

	s.untouched("a kernel for which there is no room any more", func() {
		s.must("begin")
		s.must("exec", "--", "sh", "-c", strings.ReplaceAll(newKernel, "6.2.0", "6.3.0"))
		f := s.fillBoot()
		s.expect(8, "MiB", "commit")
		s.answers()
		f.Empty()
	})
	if after := s.bootFiles(); !slices.Equal(after, before) {
		t.Errorf("on the boot partition are %q, were %q", after, before)
	}
	if m, _ := s.menu(); m.Default != second {
		t.Errorf("the menu boots %d", m.Default)
	}

	// To the last block. What was held back beside the menu is enough to go back, and to make room.
	f := s.fillBoot()
	s.must("rollback", itoa64(first))
	s.must("rollback", "booted")
	if m, _ := s.menu(); m.Default != 0 {
		t.Errorf("the menu boots %d", m.Default)
	}
	s.must("rollback", itoa64(first))
	s.must("delete", "-y", itoa64(second))
	if got := s.staged(); len(got) != 2 {
		t.Errorf("the kernel of a deleted snapshot is left: %q", got)
	}
	f.Empty()
	third := s.run("third")
	if m, _ := s.menu(); m.Default != third {
		t.Errorf("the menu boots %d", m.Default)
	}
}

// TestTheBootPartitionIsFullAndNothingIsHeldBack: then nothing is said to be done.
func TestTheBootPartitionIsFullAndNothingIsHeldBack(t *testing.T) {
	s := withGRUB(t, 64, options{})
	first := s.run("first")
	second := s.run("second")
	if err := os.Remove(s.bootPath("grub/txupd.spare")); err != nil {
		t.Fatal(err)
	}
	f := s.fillBoot()
	s.expect(8, "no space left", "rollback", "booted")
	s.expect(8, "no space left", "rollback", itoa64(first))
	if m, _ := s.menu(); m.Default != second || s.pending() != second {
		t.Errorf("the menu boots %d", m.Default)
	}
	s.answers()
	f.Empty()
	s.goesBack(second)
	if !exists(s.bootPath("grub/txupd.spare")) {
		t.Error("nothing is held back again")
	}
}

// TestWhatBeginsCanBeCommitted: as space goes away a little at a time, a small
// transaction is refused before it begins and not in its middle, and what was
// made can be deleted at any time.
func TestWhatBeginsCanBeCommitted(t *testing.T) {
	for kind, mkfs := range map[string][]string{"apart": {"-m", "dup"}, "mixed": {"--mixed"}} {
		t.Run(kind, func(t *testing.T) {
			s := newSystem(t, options{sizeMiB: smallDisk, mkfs: mkfs})
			n := s.run("first")
			f := s.leave(44)
			if kind == "apart" { // where metadata does not go with data
				usage, err := (btrfs.Driver{}).Usage(s.machine.Top)
				if err != nil {
					t.Fatal(err)
				}
				f.Metadata(int(usage.Metadata()) - 24<<20)
			}
			refused := 0
			for refused < 3 {
				usage, err := (btrfs.Driver{}).Usage(s.machine.Top)
				if err != nil {
					t.Fatal(err)
				}
				r := s.txctl("run", "--from", "booted", "--", "touch", "/usr/second")
				t.Logf("free are %d MiB for data and %d KiB for metadata: exit %d %.120s", usage.Data()>>20, usage.Metadata()>>10, r.exit, r.stderr)
				switch {
				case r.exit == 0:
					s.must("rollback", itoa64(n))
					s.must("delete", "-y", itoa64(s.newest()))
					s.settled()
				case r.exit == 125 && strings.Contains(r.stderr, "at least"):
					refused++
				default:
					t.Fatalf("exit %d\n%s", r.exit, r.stderr)
				}
				f.Metadata(2 << 20)
			}
			f.All()
			s.goesBack(n)
		})
	}
}

// newest is the number of the newest snapshot.
func (s *system) newest() uint64 {
	s.t.Helper()
	list := document[bus.List](s, "list").Snapshots
	return list[len(list)-1].Number
}
