// Package btrfs talks to the kernel's btrfs: containerd/btrfs where that
// serves, and the ioctls that it lacks. It is the only package with cgo.
package btrfs

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/containerd/btrfs/v2"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

// Driver works on the file system that a path leads to. It follows no symbolic
// link in any path: what snapshots contain is not to be trusted. It needs
// CAP_SYS_ADMIN. The zero value is ready.
type Driver struct{}

var _ snapshot.Driver = Driver{}

// Info implements snapshot.Driver with a handful of O(1) ioctls.
func (Driver) Info(path string) (snapshot.Subvolume, error) {
	dir, err := openSubvolume(path)
	if err != nil {
		return snapshot.Subvolume{}, fmt.Errorf("cannot describe %s: %w", path, err)
	}
	defer dir.close()
	sv, err := dir.info()
	if err != nil {
		return snapshot.Subvolume{}, fmt.Errorf("cannot describe %s: %w", path, err)
	}
	return sv, nil
}

// ByID implements snapshot.Driver.
func (Driver) ByID(path string, id snapshot.SubvolumeID) (snapshot.Subvolume, error) {
	dir, err := openAny(path)
	if err != nil {
		return snapshot.Subvolume{}, fmt.Errorf("cannot look for subvolume %d: %w", id, err)
	}
	defer dir.close()
	sv, err := dir.byID(id)
	if err != nil {
		return snapshot.Subvolume{}, fmt.Errorf("cannot describe subvolume %d: %w", id, err)
	}
	return sv, nil
}

// List implements snapshot.Driver with one search of the root tree.
func (Driver) List(path string) ([]snapshot.Subvolume, error) {
	dir, err := openAny(path)
	if err != nil {
		return nil, fmt.Errorf("cannot list subvolumes: %w", err)
	}
	defer dir.close()
	list, err := dir.list()
	if err != nil {
		return nil, fmt.Errorf("cannot list the subvolumes of %s: %w", path, err)
	}
	return list, nil
}

// Nested implements snapshot.Driver with one search of the root tree.
func (Driver) Nested(path string, id snapshot.SubvolumeID) ([]snapshot.Subvolume, error) {
	dir, err := openAny(path)
	if err != nil {
		return nil, fmt.Errorf("cannot list subvolumes: %w", err)
	}
	defer dir.close()
	list, err := dir.nested(id)
	if err != nil {
		return nil, fmt.Errorf("cannot list what subvolume %d contains: %w", id, err)
	}
	return list, nil
}

// Create implements snapshot.Driver.
func (Driver) Create(path string) error {
	at, err := openParent(path)
	if err != nil {
		return fmt.Errorf("cannot create subvolume %s: %w", path, err)
	}
	defer at.close()
	if err := btrfs.SubvolCreate(at.target()); err != nil {
		return fmt.Errorf("cannot create subvolume %s: %w", path, named(err))
	}
	return nil
}

// Fork implements snapshot.Driver.
func (Driver) Fork(src, dst string, readOnly bool) error {
	from, err := openSubvolume(src)
	if err != nil {
		return fmt.Errorf("cannot fork %s: %w", src, err)
	}
	defer from.close()
	at, err := openParent(dst)
	if err != nil {
		return fmt.Errorf("cannot fork %s to %s: %w", src, dst, err)
	}
	defer at.close()
	if err := btrfs.SubvolSnapshot(at.target(), from.link(), readOnly); err != nil {
		return fmt.Errorf("cannot fork %s to %s: %w", src, dst, named(err))
	}
	return nil
}

// Delete implements snapshot.Driver. The kernel is told the id, so that what
// was checked is what goes, and it refuses by itself what contains others or
// boots next.
func (Driver) Delete(path string, want snapshot.SubvolumeID) error {
	dir, err := openSubvolume(path)
	if err != nil {
		return fmt.Errorf("cannot delete subvolume %s: %w", path, err)
	}
	defer dir.close()
	raw, err := dir.raw()
	if err != nil {
		return fmt.Errorf("cannot delete subvolume %s: %w", path, err)
	}
	if found := snapshot.SubvolumeID(raw.ID); found != want {
		return fmt.Errorf("cannot delete subvolume %d: %w: %s is %d", want, snapshot.ErrNoSubvolume, path, found)
	}
	args := volArgsV2{Flags: subvolSpecByID, ID: raw.ID}
	err = dir.ioctl(iocSnapDestroyV2, unsafe.Pointer(&args))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOTEMPTY):
		err = fmt.Errorf("%w (%w)", snapshot.ErrNested, err)
	case errors.Is(err, unix.EPERM):
		if id, e := dir.defaultID(); e == nil && id == want {
			err = fmt.Errorf("%w (%w)", snapshot.ErrDefault, err)
		}
	}
	return fmt.Errorf("cannot delete subvolume %s: %w", path, err)
}

// SetReadOnly implements snapshot.Driver.
func (Driver) SetReadOnly(path string, readOnly bool) error {
	verb := "seal"
	if !readOnly {
		verb = "unseal"
	}
	dir, err := openSubvolume(path)
	if err != nil {
		return fmt.Errorf("cannot %s %s: %w", verb, path, err)
	}
	defer dir.close()
	var flags uint64
	if err := dir.ioctl(iocSubvolGetFlags, unsafe.Pointer(&flags)); err != nil {
		return fmt.Errorf("cannot read the flags of %s: %w", path, err)
	}
	if flags&subvolReadOnly != 0 == readOnly {
		return nil
	}
	if !readOnly {
		raw, err := dir.raw()
		if err != nil {
			return fmt.Errorf("cannot unseal %s: %w", path, err)
		}
		if !snapshot.UUID(raw.ReceivedUUID).IsZero() {
			return fmt.Errorf("cannot unseal %s: it was received, and what is received on top of it later would be damaged", path)
		}
	}
	flags ^= subvolReadOnly
	if err := dir.ioctl(iocSubvolSetFlags, unsafe.Pointer(&flags)); err != nil {
		return fmt.Errorf("cannot %s %s: %w", verb, path, err)
	}
	return nil
}

// Default implements snapshot.Driver.
func (Driver) Default(path string) (snapshot.SubvolumeID, error) {
	dir, err := openAny(path)
	if err != nil {
		return 0, fmt.Errorf("cannot read the default subvolume: %w", err)
	}
	defer dir.close()
	id, err := dir.defaultID()
	if err != nil {
		return 0, fmt.Errorf("cannot read the default subvolume of %s: %w", path, err)
	}
	return id, nil
}

// SetDefault implements snapshot.Driver.
func (Driver) SetDefault(path string, id snapshot.SubvolumeID) error {
	dir, err := openAny(path)
	if err != nil {
		return fmt.Errorf("cannot set the default subvolume: %w", err)
	}
	defer dir.close()
	// The kernel takes 0 for "the one that path is in".
	if id == 0 {
		return fmt.Errorf("cannot make subvolume 0 the default: %w", snapshot.ErrNoSubvolume)
	}
	arg := uint64(id)
	err = dir.ioctl(iocDefaultSubvol, unsafe.Pointer(&arg))
	if errors.Is(err, unix.ENOENT) {
		err = snapshot.ErrNoSubvolume
	}
	if err != nil {
		return fmt.Errorf("cannot make subvolume %d the default: %w", id, err)
	}
	return nil
}

// Sync implements snapshot.Driver.
func (Driver) Sync(path string) error {
	dir, err := openAny(path)
	if err != nil {
		return fmt.Errorf("cannot commit the file system: %w", err)
	}
	defer dir.close()
	if err := dir.sync(); err != nil {
		return fmt.Errorf("cannot commit the file system of %s: %w", path, err)
	}
	return nil
}
