// Reaching into roots. What they contain is not to be trusted: no symbolic
// link in them is followed, and no mount on top of them is taken for them.

package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// nested is a subvolume inside another one.
type nested struct {
	Subvolume
	rel   string // its path in the outermost one
	named bool   // it belongs to the root by configuration
}

var errOutOfReach = errors.New("cannot reach")

// reach finds the directory of a root: the mounted one or one under
// .snapshots, or the image of what was committed. sv is what it is now.
func (s *Store) reach(id Identity) (dir string, sv Subvolume, err error) {
	sv, err = s.driver.ByID(s.snapshots, id.ID)
	if err != nil {
		return "", sv, err
	}
	if sv.UUID != id.UUID {
		return "", sv, fmt.Errorf("subvolume %d: %w: it has the uuid %s, not %s", id.ID, ErrNoSubvolume, sv.UUID, id.UUID)
	}
	dir = s.layout.RootDir
	if n, ok := s.NumberOf(sv); ok {
		dir = s.Path(n, RoleSnapshot)
	} else if n, ok := numberIn(sv.Path, s.layout.Snapshots.Path, RoleAfter); ok {
		dir = s.Path(n, RoleAfter)
	}
	at, err := s.driver.Info(dir)
	if err != nil {
		return "", sv, err
	}
	if at.ID != sv.ID {
		return "", sv, fmt.Errorf("%w subvolume %d (%s): it is neither mounted at %s nor under %s",
			errOutOfReach, sv.ID, sv.Path, s.layout.RootDir, s.snapshots)
	}
	return dir, sv, nil
}

// Reach is reach for a root that may lie anywhere on the file system: the top
// level is mounted aside for one that is not to be found otherwise. release ends that.
func (s *Store) Reach(id Identity) (dir string, sv Subvolume, release func() error, err error) {
	dir, sv, err = s.reach(id)
	if !errors.Is(err, errOutOfReach) {
		return dir, sv, func() error { return nil }, err
	}
	top, release, err := s.driver.MountTop(s.snapshots)
	if err != nil {
		return "", sv, nil, err
	}
	dir = filepath.Join(top, sv.Path)
	at, err := s.driver.Info(dir)
	if err == nil && at.Identity() != id {
		err = fmt.Errorf("subvolume %d: %w: another one took its place", id.ID, ErrNoSubvolume)
	}
	if err != nil {
		return "", sv, nil, errors.Join(err, release())
	}
	return dir, sv, release, nil
}

// nestedIn lists what is nested in a root, outer ones first, and below the
// named ones what is nested in them.
func (s *Store) nestedIn(root Subvolume) ([]nested, error) {
	var all []nested
	var visit func(sv Subvolume) error
	visit = func(sv Subvolume) error {
		inside, err := s.driver.Nested(s.snapshots, sv.ID)
		if err != nil {
			return err
		}
		for _, child := range inside {
			rel, ok := below(child.Path, root.Path)
			if !ok {
				return fmt.Errorf("internal error: subvolume %q does not lie in %q", child.Path, root.Path)
			}
			n := nested{Subvolume: child, rel: rel, named: s.isNamed(rel)}
			all = append(all, n)
			if n.named {
				if err := visit(child); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := visit(root)
	return all, err
}

func (s *Store) isNamed(rel string) bool {
	for _, name := range s.nested {
		if rel == name {
			return true
		}
	}
	return false
}

// at is the path of a nested subvolume whose root is at dir, if it is really
// the one that is seen there.
func (s *Store) at(dir string, n nested) (string, error) {
	path := filepath.Join(dir, n.rel)
	found, err := s.driver.Info(path)
	if err == nil && found.ID != n.ID || errors.Is(err, ErrNotSubvolume) || errors.Is(err, ErrNotBtrfs) {
		return "", fmt.Errorf("cannot reach subvolume %s: something is mounted over %s", n.Path, path)
	}
	return path, err
}

// isEmpty reports whether the directory at rel in root has no entries.
func isEmpty(root, rel string) (bool, error) {
	dir, err := openDir(root, rel)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(1)
	return len(names) == 0, ignoreEOF(err)
}

// openDir opens the directory at rel in root without following a link.
func openDir(root, rel string) (*os.File, error) {
	full := filepath.Join(root, rel)
	fd, err := openAt(unix.AT_FDCWD, full, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: full, Err: err}
	}
	return os.NewFile(uintptr(fd), full), nil
}

// removeStub removes the empty directory that a fork shows in the place of a
// subvolume that was nested in the original. plain puts a directory with the
// same owner and mode there instead: nothing can be made in a stub.
func removeStub(root string, n nested, plain *unix.Stat_t) error {
	parent, err := openDir(root, path.Dir(n.rel))
	if err != nil {
		return err
	}
	defer parent.Close()
	name, at := path.Base(n.rel), int(parent.Fd())
	if err := unix.Unlinkat(at, name, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("cannot remove the stub of %s: %w", n.rel, err)
	}
	if plain == nil {
		return nil
	}
	err = unix.Mkdirat(at, name, 0o700)
	if err == nil {
		err = dress(filepath.Join(root, n.rel), plain)
	}
	if err != nil {
		return fmt.Errorf("cannot put a directory in the place of subvolume %s: %w", n.rel, err)
	}
	return nil
}

// dress gives the directory at path an owner and a mode.
func dress(path string, as *unix.Stat_t) error {
	dir, err := openDir(path, ".")
	if err != nil {
		return err
	}
	defer dir.Close()
	// The owner first: changing it clears set-id bits.
	if err := dir.Chown(int(as.Uid), int(as.Gid)); err != nil {
		return err
	}
	return unix.Fchmod(int(dir.Fd()), as.Mode&0o7777)
}

// statDir is the stat of the directory at rel in root.
func statDir(root, rel string) (*unix.Stat_t, error) {
	dir, err := openDir(root, rel)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: dir.Name(), Err: err}
	}
	return &st, nil
}
