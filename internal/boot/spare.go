// Space held back beside the menu: going back to another snapshot, and deleting
// those that fill the partition with kernels, write a menu, and a menu is
// written beside the old one.

package boot

import (
	"bytes"
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// spareSize is more than the menu of a thousand snapshots, in bytes.
const spareSize = 512 << 10

// spareName is the file, beside the menu.
const spareName = "txupd.spare"

// spare is its path relative to the root, "" where there is none: on btrfs,
// whose space is the root's, more is held back elsewhere.
func (s *site) spare() string {
	dir := ""
	switch {
	case s.usesSystemdBoot():
		dir = path.Dir(s.systemd.config)
	case s.usesGRUB():
		dir = s.grub.dir
	default:
		return ""
	}
	if m := s.at(dir); m == nil || m.FSType == "btrfs" {
		return ""
	}
	return path.Join(dir, spareName)
}

// keepSpare makes the file where it is missing. Without space for it there is
// none; it is tried again with the next menu.
func (s *site) keepSpare() {
	name := s.spare()
	if name == "" || s.tree.isFile(name) {
		return
	}
	d, err := s.directory(path.Dir(name))
	if err == nil {
		// Whole blocks: a file with holes holds nothing.
		err = writeAt(d, spareName, bytes.NewReader(make([]byte, spareSize)), 0o600)
		if err != nil {
			err = errors.Join(err, remove(d, spareName))
		}
		d.Close()
	}
	if err != nil {
		s.host.Log.Warn("no space is held back beside the boot menu", "error", err)
	}
}

// dropSpare gives the space to whoever asks next, and reports whether there was any.
func (s *site) dropSpare() bool {
	name := s.spare()
	if name == "" || !s.tree.isFile(name) {
		return false
	}
	d, err := s.directory(path.Dir(name))
	if err != nil {
		return false
	}
	defer d.Close()
	if err := remove(d, spareName); err != nil {
		s.host.Log.Warn("cannot let go of the space beside the boot menu", "error", err)
		return false
	}
	// The blocks of a removed file are free when the file system's journal has it.
	return unix.Syncfs(int(d.Fd())) == nil
}

// rewrite is replace for what is small and matters: where there is no space, with
// what was held back.
func (s *site) rewrite(name string, content []byte, mode fs.FileMode, check func(aside string) error) error {
	err := s.replace(name, bytes.NewReader(content), mode, check)
	if errors.Is(err, unix.ENOSPC) && s.dropSpare() {
		err = s.replace(name, bytes.NewReader(content), mode, check)
	}
	return err
}
