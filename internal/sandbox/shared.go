// Shared trees: each is an overlay that captures what is written to it, so
// that package scripts see the real state and the running system sees nothing.

package sandbox

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/overlay"
)

// Shared is one shared tree. It is either an overlay of Lower, or what is seen
// at Bind. Mounts inside the layers are not seen.
type Shared struct {
	// Path is the absolute directory at which commands see it.
	Path string
	// Lower are the layers below, absolute directories of the running system, the one on top first.
	Lower []string
	// Upper takes what is written, Work belongs to the kernel, and what it holds is removed. They are on
	// one file system, and in no other sandbox. Where both are empty the tree is read-only.
	Upper, Work string
	// Bind is an absolute path in the sandbox instead of layers.
	Bind string
	// ReadOnly makes a Bind so.
	ReadOnly bool
}

// builtIn are the directories that every sandbox has for itself.
var builtIn = []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/home", "/root"}

func checkShared(list []Shared) error {
	seen := map[string]bool{}
	for _, s := range list {
		paths := append([]string{s.Path}, s.Lower...)
		for _, p := range []string{s.Upper, s.Work, s.Bind} {
			if p != "" {
				paths = append(paths, p)
			}
		}
		for _, p := range paths {
			if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
				return fmt.Errorf("shared tree %q: %q is not a clean absolute path", s.Path, p)
			}
		}
		switch {
		case s.Path == "/":
			return fmt.Errorf("shared tree %q: the root cannot be one", s.Path)
		case slices.ContainsFunc(builtIn, func(dir string) bool { return within(s.Path, dir) }):
			return fmt.Errorf("shared tree %q: the sandbox has its own", s.Path)
		case seen[s.Path]:
			return fmt.Errorf("shared tree %q: it is given twice", s.Path)
		case (len(s.Lower) == 0) == (s.Bind == ""):
			return fmt.Errorf("shared tree %q: it needs either layers or a path to bind", s.Path)
		case (s.Upper == "") != (s.Work == ""):
			return fmt.Errorf("shared tree %q: it needs both an upper and a work directory, or neither", s.Path)
		case s.Bind != "" && (s.Upper != "" || within(s.Path, s.Bind) || within(s.Bind, s.Path)):
			return fmt.Errorf("shared tree %q: it cannot show %q", s.Path, s.Bind)
		}
		seen[s.Path] = true
	}
	return nil
}

// within reports whether an absolute path is dir or lies in it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// inOrder has outer trees before inner ones, and what is shown twice before its second place.
func inOrder(list []Shared) []Shared {
	rest := slices.SortedFunc(slices.Values(list), func(a, b Shared) int { return strings.Compare(a.Path, b.Path) })
	var sorted []Shared
	for len(rest) > 0 {
		next := max(0, slices.IndexFunc(rest, func(s Shared) bool {
			return !slices.ContainsFunc(rest, func(other Shared) bool {
				return other.Path != s.Path && (within(s.Path, other.Path) || s.Bind != "" && within(s.Bind, other.Path))
			})
		}))
		sorted = append(sorted, rest[next])
		rest = slices.Delete(rest, next, next+1)
	}
	return sorted
}

// mountShared mounts them in the tree, in that order.
func (t *tree) mountShared(list []Shared) error {
	for _, s := range list {
		if err := t.mountOne(s); err != nil {
			return fmt.Errorf("cannot show the shared tree %s: %w", s.Path, err)
		}
	}
	return nil
}

func (t *tree) mountOne(s Shared) error {
	mounted := t.captured
	if s.Bind != "" {
		mounted = t.shownTwice
	}
	mount, err := mounted(s)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, mount)
	// A tree that is new since the snapshot's parent was made needs the directory at the next boot too.
	target, err := makeDirectories(t.root, s.Path)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, target)
	return attach(mount, target, "")
}

// captured makes the overlay.
func (t *tree) captured(s Shared) (int, error) {
	const attributes = unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOATIME
	paths := s.Lower
	if s.Upper != "" && t.scratch >= 0 {
		paths = append([]string{s.Upper}, paths...)
	}
	var lower []int
	for _, p := range paths {
		dir, err := t.layer(p)
		if err != nil {
			return -1, err
		}
		lower = append(lower, dir)
	}
	switch {
	case s.Upper == "":
		return overlay.Mount(lower, nil, attributes)
	case t.scratch >= 0:
		c, err := t.forgetful(fmt.Sprintf("shared-%d", len(t.opened)))
		if err != nil {
			return -1, err
		}
		// The root of an overlay looks like that of its upper directory.
		if err := likeness(c.Upper, lower[0]); err != nil {
			return -1, err
		}
		return overlay.Mount(lower, c, attributes)
	}
	upper, err := t.layer(s.Upper)
	if err != nil {
		return -1, err
	}
	work, err := t.workDirectory(s.Work)
	if err != nil {
		return -1, err
	}
	return overlay.Mount(lower, &overlay.Capture{Upper: upper, Work: work}, attributes)
}

// layer opens a directory of the running system.
func (t *tree) layer(name string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := retry(func() (int, error) { return unix.Openat2(unix.AT_FDCWD, name, &how) })
	if err != nil {
		return -1, fmt.Errorf("cannot open %s: %w", name, err)
	}
	t.opened = append(t.opened, fd)
	return fd, nil
}

// workDirectory empties it first: the kernel refuses one in which it did not
// flush. What was not flushed is in the upper directory, which is ours to judge.
func (t *tree) workDirectory(name string) (int, error) {
	dir, err := t.layer(name)
	if err != nil {
		return -1, err
	}
	at := fmt.Sprintf("/proc/self/fd/%d", dir)
	entries, err := os.ReadDir(at)
	if err != nil {
		return -1, fmt.Errorf("cannot empty %s: %w", name, err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(at, e.Name())); err != nil {
			return -1, fmt.Errorf("cannot empty %s: %w", name, err)
		}
	}
	return dir, nil
}

// shownTwice makes a second mount of what is seen elsewhere in the tree.
func (t *tree) shownTwice(s Shared) (int, error) {
	source, err := resolve(t.root, s.Bind, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open %s: %w", s.Bind, err)
	}
	t.opened = append(t.opened, source)
	mount, err := cloneTree(source, "", 0)
	if err != nil || !s.ReadOnly {
		return mount, err
	}
	if err := setAttributes(mount, 0, unix.MOUNT_ATTR_RDONLY, 0); err != nil {
		closeAll([]int{mount})
		return -1, err
	}
	return mount, nil
}

// likeness gives one directory the owner and mode of another.
func likeness(dir, of int) error {
	var st unix.Stat_t
	if err := unix.Fstat(of, &st); err != nil {
		return err
	}
	at := fmt.Sprintf("/proc/self/fd/%d", dir)
	if err := unix.Chown(at, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return unix.Chmod(at, st.Mode&0o7777)
}
