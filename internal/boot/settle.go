// Durability for a loader that replays no log: what it reads has to be where it
// looks for it, not in a journal that the next mount would replay.

package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/inroot"
)

// replace writes a file aside, hands it to check, and renames it. It is durable
// for GRUB after settle only. Parent directories are made if need be.
func (s *site) replace(name string, content io.Reader, mode fs.FileMode, check func(aside string) error) error {
	dir, base := path.Split(name)
	d, err := s.directory(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	aside := asideName(base)
	if err := failpoint.Around("boot/write", func() error { return writeAt(d, aside, content, mode) }); err != nil {
		return errors.Join(fmt.Errorf("cannot write %s: %w", s.seen(s.abs(name)), err), remove(d, aside))
	}
	if check != nil {
		if err := check(filepath.Join(s.host.Root, dir, aside)); err != nil {
			return errors.Join(err, remove(d, aside))
		}
	}
	if err := failpoint.Around("boot/rename", func() error { return inroot.Rename(d, aside, base) }); err != nil {
		return errors.Join(fmt.Errorf("cannot replace %s: %w", s.seen(s.abs(name)), err), remove(d, aside))
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("cannot replace %s: %w", s.seen(s.abs(name)), err)
	}
	return nil
}

// asideName is what a file is called until it is complete. It is always the
// same, so that a crash leaves at most one of it, which the next write uses.
func asideName(base string) string { return "." + base + asideSuffix }

const asideSuffix = ".txupd-new"

// sweepAsides removes the files beside menu, entries and counter that a crash
// kept from being renamed.
func (s *site) sweepAsides() error {
	var dirs []string
	switch {
	case s.usesSystemdBoot():
		dirs = []string{path.Dir(s.systemd.config), s.systemd.entries}
	case s.usesGRUB():
		dirs = []string{s.grub.dir}
		if counter, m, _ := s.counterAt(); m != nil {
			dirs = append(dirs, path.Dir(counter))
		}
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		names, err := s.tree.names(dir)
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool {
			return !strings.HasPrefix(name, ".") || !strings.HasSuffix(name, asideSuffix)
		})
		if len(names) == 0 {
			continue
		}
		d, err := s.directory(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			err = errors.Join(err, remove(d, name))
		}
		if err = errors.Join(err, d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// directory opens a directory below the root and makes what is missing of it.
func (s *site) directory(dir string) (*os.File, error) {
	d, err := s.tree.MkdirAll(dir, 0o755, (*os.File).Sync)
	if err != nil {
		return nil, fmt.Errorf("cannot open the directory %s: %w", s.seen(s.abs(path.Clean(dir))), err)
	}
	return d, nil
}

func writeAt(d *os.File, name string, content io.Reader, mode fs.FileMode) error {
	f, err := inroot.Rewrite(d, name, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		// FAT has no modes, and refuses.
		if err = f.Chmod(mode); errors.Is(err, unix.EPERM) {
			err = nil
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func remove(d *os.File, name string) error {
	return failpoint.Around("boot/remove", func() error { return inroot.Remove(d, name) })
}

// settler makes a file system durable for the loader.
type settler struct {
	dir  *os.File
	thaw *thawer // nil where the file system need not be frozen
}

// settler prepares for a directory below the root whatever can fail, so that it
// fails before anything is written. Close it.
func (s *site) settler(dir string) (*settler, error) {
	d, err := s.directory(dir)
	if err != nil {
		return nil, err
	}
	w := &settler{dir: d}
	frozen, err := s.mustFreeze(d)
	if err == nil && frozen {
		w.thaw, err = startThawer(s.host.Self, d)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return w, nil
}

// mustFreeze reports whether a directory is on a file system whose journal can
// be emptied by freezing it alone. One that holds a root is never frozen: we
// could not run to thaw it.
func (s *site) mustFreeze(d *os.File) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &st); err != nil {
		return false, fmt.Errorf("cannot examine %s: %w", d.Name(), err)
	}
	if st.Type != unix.EXT4_SUPER_MAGIC && st.Type != unix.XFS_SUPER_MAGIC {
		return false, nil
	}
	here, err := device(d.Name())
	if err != nil {
		return false, err
	}
	for _, root := range []string{"/", s.host.Root} {
		if at, err := device(root); err != nil || at == here {
			return false, err
		}
	}
	// The mounts that we were given have to agree.
	real, err := s.tree.place(d)
	if err != nil {
		return false, err
	}
	m := s.mounts.over(s.abs(real))
	return m != nil && unix.Mkdev(uint32(m.Major), uint32(m.Minor)) == here, nil
}

func device(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("cannot examine %s: %w", path, err)
	}
	return st.Dev, nil
}

// settle returns when the loader would read what was written so far.
func (w *settler) settle() error { return failpoint.Around("boot/settle", w.flush) }

func (w *settler) flush() error {
	if err := unix.Syncfs(int(w.dir.Fd())); err != nil {
		return fmt.Errorf("cannot flush the file system of %s: %w", w.dir.Name(), err)
	}
	if w.thaw == nil {
		return nil
	}
	return w.thaw.freeze()
}

func (w *settler) Close() {
	if w.thaw != nil {
		w.thaw.end()
	}
	w.dir.Close()
}

// put replaces a file, settles it, and reads it back.
func (s *site) put(name string, content []byte, mode fs.FileMode, check func(aside string) error) error {
	w, err := s.settler(path.Dir(name))
	if err != nil {
		return err
	}
	defer w.Close()
	if err := s.rewrite(name, content, mode, check); err != nil {
		return err
	}
	if err := w.settle(); err != nil {
		return err
	}
	found, err := s.tree.read(name)
	if err != nil {
		return fmt.Errorf("cannot read back: %w", err)
	}
	if !bytes.Equal(found, content) {
		return fmt.Errorf("%s is not what was written", s.seen(s.abs(name)))
	}
	return nil
}
