package etcmerge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// A merge prepares all that is new in a directory of its own inside the target,
// on the target's file system, and then swaps and moves. What was in the target
// before is in that directory until the end.

const (
	stageDir  = ".txupd-merge"
	stageDone = ".txupd-merge.done" // the merge is done, and only this is to be removed
	journal   = stageDir + "/journal"
)

func isStage(name string) bool { return name == stageDir || name == stageDone }

type stageState int

const (
	stageNone stageState = iota
	stageOpen
	stageFinished
)

// findStage looks for what an interrupted merge left.
func findStage(dir *os.File) (name string, state stageState, err error) {
	for name, state := range map[string]stageState{stageDir: stageOpen, stageDone: stageFinished} {
		var st unix.Stat_t
		switch err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); {
		case err == nil:
			return name, state, nil
		case !errors.Is(err, unix.ENOENT):
			return "", stageNone, failed(dir.Name(), "examine", name, err)
		}
	}
	return "", stageNone, nil
}

// stager prepares the objects of a plan.
type stager struct {
	ctx    context.Context
	target *target
	views  [3]*view
	count  int
	// where entries are, relative to the target.
	where map[*entry]string
	paths map[*entry]string // in the trees
	// links and directories are completed when all is there.
	links []*entry
	dirs  []*entry
	// copies are what is kept aside of a file that has other names: those stay
	// what they are, whatever becomes of the copy.
	copies map[*entry]string
	// protected files get their flags at their place: with them they cannot be moved there.
	protected []*entry
}

// open makes the directory.
func (s *stager) open() error {
	return s.target.with("make", stageDir, func(dir int, base string) error {
		err := unix.Mkdirat(dir, base, 0o700)
		if errors.Is(err, unix.EEXIST) {
			return ErrUnfinished
		}
		if err != nil {
			return err
		}
		// What is made in it must not inherit an access control list.
		proc := fmt.Sprintf("/proc/self/fd/%d/%s", dir, base)
		for _, acl := range []string{aclDefault, aclAccess} {
			if err := unix.Lremovexattr(proc, acl); err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
				return err
			}
		}
		return nil
	})
}

// slot is an unused place in the directory.
func (s *stager) slot() string {
	s.count++
	return stageDir + "/" + strconv.Itoa(s.count)
}

// prepare makes what is new in an action.
func (s *stager) prepare(a action) error {
	if err := s.copyAside(a); err != nil || a.verb != create && a.verb != replace {
		return err
	}
	return s.make(a.entry, a.path, s.slot())
}

// make makes an entry's object, and all beneath it, at a place.
func (s *stager) make(e *entry, name, at string) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	s.where[e], s.paths[e] = at, name
	if e.result.link != nil {
		s.links = append(s.links, e)
		return nil
	}
	if e.result.attrs.flags != 0 {
		s.protected = append(s.protected, e)
	}
	err := s.target.with("make", at, func(dir int, base string) error {
		switch n := e.source(); n.kind {
		case unix.S_IFDIR:
			return unix.Mkdirat(dir, base, 0o700)
		case unix.S_IFREG:
			return s.file(e, name, dir, base)
		case unix.S_IFLNK:
			return unix.Symlinkat(n.target, dir, base)
		default:
			return unix.Mknodat(dir, base, n.kind|0o600, int(n.rdev))
		}
	})
	if err != nil {
		return err
	}
	if !e.source().isDir() {
		return s.finish(e)
	}
	s.dirs = append(s.dirs, e)
	for _, c := range e.children {
		if c.result.change && !c.result.absent {
			if err := s.make(c, join(name, c.name), join(at, c.name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// file makes a regular file with its content.
func (s *stager) file(e *entry, name string, dir int, base string) error {
	return newFile(dir, base, func(f *os.File) error {
		switch {
		case e.result.made:
			_, err := f.Write(e.result.text)
			return err
		case e.result.from == theirs:
			return copyContent(f, s.views[theirs], name, e.source())
		}
		return copyContent(f, s.views[ours], name, e.source())
	})
}

func newFile(dir int, base string, fill func(*os.File) error) error {
	fd, err := openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, beneath)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	return errors.Join(fill(f), f.Close())
}

// copyAside copies what will be kept aside, where it cannot be moved there.
func (s *stager) copyAside(a action) error {
	o := a.entry.sides[ours]
	if a.aside == "" || !o.isFile() || o.links < 2 {
		return nil
	}
	at := s.slot()
	s.copies[a.entry] = at
	return s.target.with("make", at, func(dir int, base string) error {
		err := newFile(dir, base, func(f *os.File) error { return copyContent(f, s.views[ours], a.path, o) })
		if err != nil {
			return err
		}
		return finished(dir, base, o, asAside(o.kind, o.bare()))
	})
}

// cloneFrom is from which size on sharing extents is better than copying (bytes).
const cloneFrom = 64 << 10

// copyContent copies a file of a tree that has not changed since it was examined.
func copyContent(to *os.File, v *view, name string, n *node) error {
	dir, err := v.openDir(parent(name))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	from, err := openFile(dir, path.Base(name), n)
	if err != nil {
		return v.failed("read", name, err)
	}
	defer from.Close()
	fd := int(from.Fd())
	if n.size < cloneFrom || unix.IoctlFileClone(int(to.Fd()), fd) != nil {
		if _, err := io.Copy(to, from); err != nil {
			return v.failed("copy", name, err)
		}
	}
	now, err := v.examine(fd, "")
	if err == nil && (now.size != n.size || now.mtime != n.mtime || now.ctime != n.ctime) {
		err = ErrChanged
	}
	if err != nil {
		return v.failed("copy", name, err)
	}
	return nil
}

// complete makes the links and gives directories, the innermost first, what would have kept us out of them.
func (s *stager) complete() error {
	for _, e := range s.links {
		first := e.result.link
		from, ok := s.where[first.entry]
		if !ok {
			from = first.path
		}
		err := s.target.with("link", from, func(fromDir int, fromBase string) error {
			dir, base, err := s.target.in(s.where[e])
			if err != nil {
				return err
			}
			defer unix.Close(dir)
			return unix.Linkat(fromDir, fromBase, dir, base, 0)
		})
		if err != nil {
			return err
		}
	}
	for _, e := range slices.Backward(s.dirs) {
		if err := s.finish(e); err != nil {
			return err
		}
	}
	return nil
}

// finish gives a new object its attributes and its time; flags come later.
func (s *stager) finish(e *entry) error {
	n, want := e.source(), e.wanted()
	want.flags = 0
	if e.result.made {
		want.xattrs = withoutDigests(want.xattrs)
	}
	return s.target.with("give attributes to", s.where[e], func(dir int, base string) error {
		if e.result.made {
			return dress(dir, base, n.kind, undressed(), want) // new text is of now
		}
		return finished(dir, base, n, want)
	})
}

// undressed are the attributes of what we have just made.
func undressed() attrs {
	return attrs{mode: 0o600, uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
}

// finished gives what we have just made attributes, and the time of what it is a copy of.
func finished(dir int, base string, n *node, want attrs) error {
	if err := dress(dir, base, n.kind, undressed(), want); err != nil {
		return err
	}
	when := unix.Timespec{Sec: n.mtime.Sec, Nsec: int64(n.mtime.Nsec)}
	return unix.UtimesNanoAt(dir, base, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
}

// withoutDigests leaves out attributes that sign a content which is no more.
func withoutDigests(xattrs map[string]string) map[string]string {
	kept := map[string]string{}
	for name, value := range xattrs {
		if name != "security.ima" && name != "security.evm" {
			kept[name] = value
		}
	}
	return kept
}
