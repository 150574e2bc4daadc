// Package overlay mounts overlayfs from open directories. Every option that
// decides what the upper directory will hold is set, whatever the kernel's
// defaults are: who reads an upper directory later relies on it.
package overlay

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Capture is where writes go: two directories of one file system. Work has to be
// empty, and belongs to the mount from then on.
type Capture struct{ Upper, Work int }

// Mount makes a mount of the directories lower, the first of them on top. It is
// mounted nowhere yet: the descriptor can be attached, or opened below, and the
// mount goes with the last use. Without a capture it is read-only. The
// directories have to be on mounts of the caller's mount namespace; what is
// mounted inside of them is not seen. attributes are MOUNT_ATTR_*.
//
// A capture is not flushed, not even by fsync: whoever wants to keep what was
// written flushes the file system that it is on.
func Mount(lower []int, c *Capture, attributes int) (int, error) {
	if len(lower) == 0 {
		return -1, errors.New("internal error: an overlay of nothing")
	}
	if c == nil && len(lower) == 1 {
		return single(lower[0], attributes) // overlayfs refuses it
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot open the file system overlay: %w", err)
	}
	defer unix.Close(fs)
	if err := configure(fs, lower, c); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("cannot create the overlay: %w", explained(fs, err))
	}
	if c == nil {
		attributes |= unix.MOUNT_ATTR_RDONLY
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return -1, fmt.Errorf("cannot make a mount of the overlay: %w", err)
	}
	return mount, nil
}

func single(dir, attributes int) (int, error) {
	mount, err := unix.OpenTree(dir, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot make a second mount: %w", err)
	}
	// Of the times of access one has to be cleared before another is set.
	attr := unix.MountAttr{Attr_set: uint64(attributes) | unix.MOUNT_ATTR_RDONLY}
	if attributes&unix.MOUNT_ATTR__ATIME != 0 {
		attr.Attr_clr = unix.MOUNT_ATTR__ATIME
	}
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(mount)
		return -1, fmt.Errorf("cannot make a mount read-only: %w", err)
	}
	return mount, nil
}

func configure(fs int, lower []int, c *Capture) error {
	options := [][2]string{{"source", "overlay"}}
	// A value is at most 255 bytes long. One layer at a time is known since Linux 6.8.
	if all := strings.Join(layers(lower), ":"); len(all) < 256 {
		options = append(options, [2]string{"lowerdir", all})
	} else {
		for _, l := range layers(lower) {
			options = append(options, [2]string{"lowerdir+", l})
		}
	}
	if c != nil {
		options = append(options, [2]string{"upperdir", layer(c.Upper)}, [2]string{"workdir", layer(c.Work)})
	}
	options = append(options,
		[2]string{"metacopy", "off"}, [2]string{"redirect_dir", "off"}, [2]string{"index", "off"}, [2]string{"xino", "off"})
	for _, o := range options {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return fmt.Errorf("cannot set %s=%s of the overlay: %w", o[0], o[1], explained(fs, err))
		}
	}
	if c == nil {
		return nil
	}
	// Without it every copy to the upper directory is flushed.
	if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
		return fmt.Errorf("cannot set volatile of the overlay: %w", explained(fs, err))
	}
	return nil
}

// layer is a path to an open directory in which no character has a meaning.
func layer(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func layers(fds []int) []string {
	paths := make([]string, len(fds))
	for i, fd := range fds {
		paths[i] = layer(fd)
	}
	return paths
}

// explained adds what the kernel says of a file system that it did not make.
func explained(fs int, err error) error {
	said := make([]byte, 4096)
	n, readErr := unix.Read(fs, said)
	if readErr != nil || n <= 0 {
		return err
	}
	// "e " begins an error, "w " and "i " a warning or a note.
	_, text, _ := strings.Cut(strings.TrimSpace(string(said[:n])), " ")
	return fmt.Errorf("%w (%s)", err, text)
}
