// Builds what a command in the sandbox sees: the snapshot as /, and over it
// fresh /proc, /sys, /dev, /run and /tmp. Runs in pid 1, in its own mount
// namespace, so that every mount ends with it, however it ends.

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/overlay"
)

// tree is the root under construction.
type tree struct {
	root    int    // the snapshot's mount
	scratch int    // what is written here is forgotten; -1 where the snapshot is written
	name    string // for messages
	opened  []int
}

// enterRoot builds the tree that s describes and makes it the root directory of this process.
func enterRoot(s *setup, k *skeleton) error {
	t := &tree{name: s.Root, scratch: -1}
	defer func() { closeAll(t.opened) }()
	host, err := unix.Open(s.Host, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open the running system at %s: %w", s.Host, err)
	}
	t.opened = append(t.opened, host)
	nameservers := hostResolver(host)

	mountRoot := t.mountSnapshot
	if s.ReadOnly {
		mountRoot = t.mountThrowAway
	}
	if err := mountRoot(s.Root); err != nil {
		return fmt.Errorf("cannot mount %s as root of the sandbox: %w", s.Root, err)
	}
	for _, m := range k.mounts {
		if err := t.put(m.fd, m.dir, m.optional); err != nil {
			return err
		}
	}
	if err := t.mountShared(s.Shared); err != nil {
		return err
	}
	if err := t.bindResolver(k.run, nameservers); err != nil {
		return fmt.Errorf("cannot give /etc/resolv.conf to the sandbox: %w", err)
	}
	if err := t.bindCaches(host, s.Caches, s.ReadOnly); err != nil {
		return err
	}
	return t.pivot()
}

// mountSnapshot makes the snapshot a mount of its own. Device nodes in it
// cannot be opened; access times are not kept, because each would be a change
// of the snapshot.
func (t *tree) mountSnapshot(dir string) error {
	fd, err := cloneTree(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, fd)
	err = setAttributes(fd, 0, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOATIME,
		unix.MOUNT_ATTR__ATIME|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	t.root = fd
	return attachOver(fd, dir)
}

// mountThrowAway makes a root that can be written and forgets: an overlay on a tmpfs.
func (t *tree) mountThrowAway(dir string) error {
	lower, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, lower)
	upper, err := newTmpfs("755")
	if err != nil {
		return err
	}
	t.opened = append(t.opened, upper)
	// overlayfs takes layers only from mounts of this namespace.
	if err := attachOver(upper, dir); err != nil {
		return err
	}
	t.scratch = upper
	c, err := t.forgetful("root")
	if err != nil {
		return err
	}
	fd, err := overlay.Mount([]int{lower}, c, unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, fd)
	t.root = fd
	return attachOver(fd, dir)
}

// forgetful makes a capture that goes with the sandbox.
func (t *tree) forgetful(name string) (*overlay.Capture, error) {
	var fds [2]int
	for i, part := range []string{"upper", "work"} {
		dir, err := makeDirectories(t.scratch, "/"+name+"/"+part)
		if err != nil {
			return nil, err
		}
		t.opened = append(t.opened, dir)
		fds[i] = dir
	}
	return &overlay.Capture{Upper: fds[0], Work: fds[1]}, nil
}

// attachOver mounts over dir itself, or over what is mounted there already.
func attachOver(mount int, dir string) error {
	return unix.MoveMount(mount, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// put attaches a mount, with what is mounted in it, at a directory of the
// snapshot. That has to exist, unless the mount is optional.
func (t *tree) put(mount int, dir string, optional bool) error {
	target, err := resolve(t.root, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if absent(err) && optional {
		return nil
	}
	if absent(err) {
		return fmt.Errorf("cannot mount %s: there is no such directory in %s", dir, t.name)
	}
	if err != nil {
		return fmt.Errorf("cannot mount %s in %s: %w", dir, t.name, err)
	}
	t.opened = append(t.opened, target)
	if err := attach(mount, target, ""); err != nil {
		return fmt.Errorf("cannot mount %s in %s: %w", dir, t.name, err)
	}
	return nil
}

// bindCaches shows directories of the running system. One that it lacks is skipped.
func (t *tree) bindCaches(host int, caches []string, readOnly bool) error {
	attributes := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if readOnly {
		attributes |= unix.MOUNT_ATTR_RDONLY
	}
	for _, dir := range caches {
		if err := t.bindCache(host, dir, attributes); err != nil && !absent(err) {
			return fmt.Errorf("cannot bind the package cache %s: %w", dir, err)
		}
	}
	return nil
}

func (t *tree) bindCache(host int, dir string, attributes uint64) error {
	source, err := resolve(host, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, source)
	target, err := makeDirectories(t.root, dir)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, target)
	mount, err := cloneTree(source, "", unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, mount)
	if err := setAttributes(mount, unix.AT_RECURSIVE, attributes, 0); err != nil {
		return err
	}
	return attach(mount, target, "")
}

// makeDirectories opens dir below root and makes what is missing of it: where a
// cache lies on a shared tree the snapshot has nothing of it.
func makeDirectories(root int, dir string) (int, error) {
	fd, err := resolve(root, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if !errors.Is(err, unix.ENOENT) || path.Dir(dir) == dir {
		return fd, err
	}
	parent, err := makeDirectories(root, path.Dir(dir))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if err := unix.Mkdirat(parent, path.Base(dir), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return resolve(root, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// pivot makes the tree / and lets go of the running system's mounts.
func (t *tree) pivot() error {
	if err := unix.Fchdir(t.root); err != nil {
		return fmt.Errorf("cannot enter %s: %w", t.name, err)
	}
	// With both names the same, the old root ends up over the new one, and detaching it uncovers the new one.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("cannot make %s the root: %w", t.name, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot let go of the running system's mounts: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("cannot enter the root: %w", err)
	}
	return nil
}
