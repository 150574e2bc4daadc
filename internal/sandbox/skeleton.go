// What every sandbox has, whatever its snapshot: /proc, /sys, /dev, /run, /tmp
// and empty homes. It is built while the snapshot is still being made.

package sandbox

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// skeleton holds the mounts until the snapshot is there.
type skeleton struct {
	mounts []placed
	run    int
	opened []int
}

// placed is a mount and the directory of the snapshot that it belongs to.
type placed struct {
	fd       int
	dir      string
	optional bool // not every system has the directory
}

// scaffold is where mounts that have others in them stand until they are moved:
// mounts can be attached to attached ones only. Nothing below is needed meanwhile.
const scaffold = "/sys"

// buildSkeleton works in the mount namespace of the sandbox.
func buildSkeleton() (*skeleton, error) {
	k := &skeleton{}
	// Nothing that is mounted from here on may show up in the running system, nor the other way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return k, fmt.Errorf("cannot make the mounts of the sandbox private: %w", err)
	}
	stand, err := newTmpfs("700")
	if err != nil {
		return k, fmt.Errorf("cannot build the sandbox: %w", err)
	}
	k.opened = append(k.opened, stand)
	if err := attachOver(stand, scaffold); err != nil {
		return k, fmt.Errorf("cannot build the sandbox: %w", err)
	}
	for _, step := range []func(int) error{k.buildProc, k.buildSys, k.buildDev, k.buildRun, k.buildTmp, k.buildHomes} {
		if err := step(stand); err != nil {
			return k, err
		}
	}
	return k, nil
}

func (k *skeleton) close() { closeAll(k.opened) }

// keep notes a mount for the snapshot.
func (k *skeleton) keep(fd int, dir string, optional bool) {
	k.opened = append(k.opened, fd)
	k.mounts = append(k.mounts, placed{fd, dir, optional})
}

// erect attaches a mount below stand, so that others can be attached in it.
func erect(stand, mount int, name string) error {
	if err := unix.Mkdirat(stand, name, 0o700); err != nil {
		return err
	}
	return attach(mount, stand, name)
}

func (k *skeleton) buildProc(stand int) error {
	proc, err := newFS("proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	k.keep(proc, "/proc", false)
	if err := erect(stand, proc, "proc"); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	// These act on the running kernel. Not every kernel has all of them.
	for _, name := range []string{"sys", "sysrq-trigger", "irq", "bus", "fs"} {
		fd, err := cloneTree(proc, name, 0)
		if absent(err) {
			continue
		}
		if err == nil {
			k.opened = append(k.opened, fd)
			err = setAttributes(fd, 0, unix.MOUNT_ATTR_RDONLY, 0)
		}
		if err == nil {
			err = attach(fd, proc, name)
		}
		if err != nil {
			return fmt.Errorf("cannot make /proc/%s read-only: %w", name, err)
		}
	}
	for _, name := range []string{"kcore", "keys", "timer_list"} {
		null, err := cloneTree(unix.AT_FDCWD, "/dev/null", 0)
		if err != nil {
			return fmt.Errorf("cannot mask /proc/%s: %w", name, err)
		}
		k.opened = append(k.opened, null)
		if err := attach(null, proc, name); err != nil && !absent(err) {
			return fmt.Errorf("cannot mask /proc/%s: %w", name, err)
		}
	}
	return nil
}

// buildSys shows the devices, and neither control groups nor EFI variables: those are mounts of the running system.
func (k *skeleton) buildSys(int) error {
	fd, err := newFS("sysfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return fmt.Errorf("cannot mount /sys: %w", err)
	}
	k.keep(fd, "/sys", false)
	return nil
}

// buildDev makes a /dev in which nothing but the bound nodes can be opened.
func (k *skeleton) buildDev(stand int) error {
	dev, err := newTmpfs("755")
	if err != nil {
		return fmt.Errorf("cannot mount /dev: %w", err)
	}
	k.keep(dev, "/dev", false)
	if err := erect(stand, dev, "dev"); err != nil {
		return fmt.Errorf("cannot mount /dev: %w", err)
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := k.bindDevice(dev, name); err != nil {
			return fmt.Errorf("cannot make /dev/%s: %w", name, err)
		}
	}
	for _, link := range [][2]string{
		{"/proc/self/fd", "fd"}, {"fd/0", "stdin"}, {"fd/1", "stdout"}, {"fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	} {
		if err := unix.Symlinkat(link[0], dev, link[1]); err != nil {
			return fmt.Errorf("cannot make /dev/%s: %w", link[1], err)
		}
	}
	if err := unix.Mkdirat(dev, "shm", 0o1777); err != nil {
		return fmt.Errorf("cannot make /dev/shm: %w", err)
	}
	if err := unix.Mkdirat(dev, "pts", 0o755); err != nil {
		return fmt.Errorf("cannot make /dev/pts: %w", err)
	}
	pts, err := newFS("devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC,
		option{"ptmxmode", "0666"}, option{"mode", "0620"}, option{"gid", "5"})
	if err != nil {
		return fmt.Errorf("cannot mount /dev/pts: %w", err)
	}
	k.opened = append(k.opened, pts)
	if err := attach(pts, dev, "pts"); err != nil {
		return fmt.Errorf("cannot mount /dev/pts: %w", err)
	}
	return nil
}

// bindDevice binds a node of our own /dev: /dev of the sandbox is mounted so that a node made in it cannot be opened.
func (k *skeleton) bindDevice(dev int, name string) error {
	if err := unix.Mknodat(dev, name, unix.S_IFREG|0o666, 0); err != nil {
		return err
	}
	node, err := cloneTree(unix.AT_FDCWD, path.Join("/dev", name), 0)
	if err != nil {
		return err
	}
	k.opened = append(k.opened, node)
	return attach(node, dev, name)
}

// buildRun fills /run with what declares a container, and the shims.
func (k *skeleton) buildRun(int) error {
	run, err := newTmpfs("755")
	if err != nil {
		return fmt.Errorf("cannot mount /run: %w", err)
	}
	k.run = run
	k.keep(run, "/run", false)
	if err := writeRuntime(run); err != nil {
		return fmt.Errorf("cannot fill /run: %w", err)
	}
	return nil
}

func (k *skeleton) buildTmp(int) error {
	tmp, err := newTmpfs("1777")
	if err != nil {
		return fmt.Errorf("cannot mount /tmp: %w", err)
	}
	k.keep(tmp, "/tmp", false)
	return nil
}

// buildHomes covers what belongs to people and not to the system. rpm reads its macros from HOME.
func (k *skeleton) buildHomes(int) error {
	for _, home := range []struct{ dir, mode string }{{"/home", "755"}, {"/root", "700"}} {
		hidden, err := newTmpfs(home.mode)
		if err != nil {
			return fmt.Errorf("cannot mount %s: %w", home.dir, err)
		}
		k.keep(hidden, home.dir, true)
		if home.dir == "/root" {
			if err := writeFile(hidden, ".rpmmacros", rpmMacros(), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
