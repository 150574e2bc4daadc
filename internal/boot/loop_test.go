// On real file systems: what GRUB would read after a power cut.

package boot_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/grubcfg"
)

const hangArgument = "freeze-and-hang"

// image is a file system in a file, mounted.
type image struct{ file, point string }

// ext4 mounts a new one of so many MiB at point, until the test ends.
func ext4(t *testing.T, point string, mib int) image {
	t.Helper()
	testbed.NeedTools(t, "mkfs.ext4", "grub-fstest")
	return image{testbed.Ext4(t, point, mib), point}
}

// afterCut is what GRUB reads in a copy of the image as it is on the disk now.
func afterCut(t *testing.T, file, path string) string {
	t.Helper()
	cut := filepath.Join(t.TempDir(), "cut.img")
	testbed.Run(t, "cp", "--sparse=always", file, cut)
	out, err := exec.Command("grub-fstest", cut, "cat", path).Output()
	if err != nil {
		t.Fatalf("GRUB cannot read %s: %v", path, err)
	}
	ok(t, os.Remove(cut))
	return string(out)
}

// real is a machine on a btrfs loop device, with its root in a subvolume.
func real(t *testing.T) (root string, h boot.Host, btrfs string) {
	t.Helper()
	testbed.NeedTools(t, "btrfs", "blkid", "grub-fstest")
	top := testbed.Loop(t, 256)
	device := testbed.Device(t, top)
	testbed.Run(t, "btrfs", "-q", "subvolume", "create", filepath.Join(top, "@rootfs"))
	root = filepath.Join(filepath.Dir(top), "root")
	testbed.Mount(t, device, root, "subvol=@rootfs")
	backing := must[[]byte](t)(os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/backing_file"))
	return root, boot.Host{Root: root}, strings.TrimSpace(string(backing))
}

func put(t *testing.T, name, text string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(name), 0o755))
	ok(t, os.WriteFile(name, []byte(text), 0o644))
}

func TestGRUBReadsTheNewMenuAfterACutOnBtrfs(t *testing.T) {
	root, host, disk := real(t)
	testbed.Run(t, "btrfs", "-q", "subvolume", "create", filepath.Join(filepath.Dir(root), "top/@txupd-grub"))
	testbed.Mount(t, testbed.Device(t, root), filepath.Join(root, "boot/grub"), "subvol=@txupd-grub")
	put(t, filepath.Join(root, "boot/grub/grub.cfg"), hooked)
	put(t, filepath.Join(root, "etc/fstab"), "LABEL=system / btrfs noatime 0 0\nLABEL=system /boot/grub btrfs subvol=@txupd-grub 0 0\n")
	b := boot.New(host)
	for _, m := range []grubcfg.Menu{menu(5), menu(7, 5), menu(5, 7)} {
		ok(t, b.Switch(t.Context(), m))
		if afterCut(t, disk, "/@txupd-grub/txupd.cfg") != string(must[[]byte](t)(m.Render())) {
			t.Errorf("GRUB reads another menu than that of %d", m.Default)
		}
	}
	if f := must[boot.Facts](t)(b.Probe(t.Context())); f.Mode != boot.FollowsMenu || f.InRoot || f.Err() != nil || len(f.RootUUID) != 36 {
		t.Errorf("probed %+v", f)
	}
}

func TestGRUBReadsMenuCounterAndKernelAfterACutOnExt4(t *testing.T) {
	root, host, _ := real(t)
	disk := ext4(t, filepath.Join(root, "boot"), 64)
	put(t, filepath.Join(root, "boot/grub/grub.cfg"), hooked)
	snapshot := t.TempDir()
	kernel(t, snapshot, "6.12.1")
	b := boot.New(host)
	k := stage(t, b, snapshot)
	if got := afterCut(t, disk.file, k.Kernel) + afterCut(t, disk.file, k.Initrd[0]); got != "kernel 6.12.1initrd 6.12.1" {
		t.Errorf("GRUB reads %q as kernel and ramdisk", got)
	}
	counter := must[boot.Facts](t)(b.Probe(t.Context())).Counter
	for tries := range 3 {
		ok(t, b.Arm(7, tries+1))
		env := must[*grubcfg.Env](t)(grubcfg.ParseEnv([]byte(afterCut(t, disk.file, counter.Path))))
		if got, _ := env.Get("txupd_tries_7"); got != string(rune('1'+tries)) {
			t.Errorf("GRUB reads %s tries instead of %d", got, tries+1)
		}
	}
	for _, m := range []grubcfg.Menu{menu(5), trial(*counter, 3, 7, 5), menu(5, 7)} {
		ok(t, b.Switch(t.Context(), m))
		if afterCut(t, disk.file, "/grub/txupd.cfg") != string(must[[]byte](t)(m.Render())) {
			t.Errorf("GRUB reads another menu than that of %d", m.Default)
		}
	}
	// Nothing is frozen any more.
	put(t, filepath.Join(root, "boot/written"), "x")
}

func TestAFrozenFileSystemIsThawedWhenWeDie(t *testing.T) {
	disk := ext4(t, filepath.Join(t.TempDir(), "boot"), 16)
	d := must[*os.File](t)(os.Open(disk.point))
	defer d.Close()
	hanging := exec.Command("/proc/self/exe", hangArgument, disk.point)
	hanging.Stderr = os.Stderr
	out := must[io.ReadCloser](t)(hanging.StdoutPipe())
	ok(t, hanging.Start())
	var thawer int
	_, err := fmt.Fscanf(out, "frozen %d\n", &thawer)
	frozen := boot.Freeze(d)
	ended := ending(t, thawer)
	ok(t, hanging.Process.Kill())
	_ = hanging.Wait()
	if err != nil || !errors.Is(frozen, unix.EBUSY) {
		t.Errorf("it was not frozen: %v %v", err, frozen)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(filepath.Join(disk.point, "x"), []byte("x"), 0o644) }()
	select {
	case err := <-written:
		ok(t, err)
	case <-time.After(30 * time.Second):
		ok(t, boot.ThawNow(d))
		<-written
		t.Error("it stayed frozen")
	}
	ended()
}

// ending waits for a process that is not a child to end.
func ending(t *testing.T, pid int) func() {
	t.Helper()
	fd := must[int](t)(unix.PidfdOpen(pid, 0))
	return func() {
		defer unix.Close(fd)
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(polled, 30_000)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n != 1 || err != nil {
				t.Errorf("process %d did not end: %v", pid, err)
			}
			return
		}
	}
}

func TestWhereNobodyCouldThawNothingIsWritten(t *testing.T) {
	root, host, _ := real(t)
	ext4(t, filepath.Join(root, "boot"), 16)
	put(t, filepath.Join(root, "boot/grub/grub.cfg"), hooked)
	host.Self = "/bin/false"
	if err := boot.New(host).Switch(t.Context(), menu(5)); err == nil {
		t.Error("it froze a file system without anybody to thaw it")
	}
	if _, err := os.Stat(filepath.Join(root, "boot/grub/txupd.cfg")); err == nil {
		t.Error("the menu was replaced all the same")
	}
}

func TestTheFileSystemOfTheRootIsNeverFrozen(t *testing.T) {
	disk := ext4(t, filepath.Join(t.TempDir(), "root"), 16)
	put(t, filepath.Join(disk.point, "boot/grub/grub.cfg"), hooked)
	// Freezing would need this program, and fail.
	b := boot.New(boot.Host{Root: disk.point, Self: "/bin/false"})
	ok(t, b.Switch(t.Context(), menu(5)))
	if st := must[boot.State](t)(b.State(t.Context())); st.Default != 5 {
		t.Errorf("%+v", st)
	}
}

func TestABootPartitionThatIsTooSmall(t *testing.T) {
	root, host, _ := real(t)
	ext4(t, filepath.Join(root, "boot"), 16)
	put(t, filepath.Join(root, "boot/grub/grub.cfg"), hooked)
	b := boot.New(host)
	snapshot := t.TempDir()
	kernel(t, snapshot, "6.12.1")
	ok(t, b.Room(t.Context(), snapshot))
	first := stage(t, b, snapshot)

	put(t, filepath.Join(snapshot, "boot/initrd.img-6.12.1"), strings.Repeat("a large ramdisk ", 1<<20))
	err := b.Room(t.Context(), snapshot)
	if !errors.Is(err, fault.ErrNoSpace) || !strings.Contains(err.Error(), "/boot (/dev/loop") || !strings.Contains(err.Error(), "needs 20 MiB") {
		t.Errorf("room: %v", err)
	}
	_, err = b.Stage(t.Context(), snapshot, must[boot.Kernel](t)(boot.Find(snapshot)))
	if !errors.Is(err, fault.ErrNoSpace) {
		t.Errorf("stage: %v", err)
	}
	// A rollback needs no room.
	put(t, filepath.Join(snapshot, "boot/initrd.img-6.12.1"), "initrd 6.12.1")
	full := make([]byte, 1<<20)
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(root, "boot", "fill"+string(rune('a'+i))), full, 0o644); err != nil {
			break
		}
	}
	if again := stage(t, b, snapshot); again.Kernel != first.Kernel {
		t.Errorf("staged %+v", again)
	}
	names := must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(root, "boot/txupd")))
	if len(names) != 2 {
		t.Errorf("there are %v", names)
	}
}
