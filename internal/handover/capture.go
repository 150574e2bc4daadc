// Reading what overlayfs left in an upper directory.
// Format: Documentation/filesystems/overlayfs.rst and fs/overlayfs of Linux.

package handover

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrFormat: a capture holds something of overlayfs that is not understood, and
// nothing was done.
var ErrFormat = errors.New("it is not understood")

// ours is a directory of what is to be handed over.
type ours interface {
	// look says what a name is to become. For a name that is not listed it is nothing.
	look(name string) (wanted, error)
	// names lists what is to become something else than it was, sorted.
	names() ([]string, error)
	enter(name string) (ours, error)
	// opaque: what was there before and is not listed is to go.
	opaque() bool
	// has reports whether there is something at a relative path.
	has(path string) bool
	close()
}

// concerned lists the names of a directory that are to become something else.
func concerned(o ours, b before) ([]string, error) {
	names, err := o.names()
	if err != nil || !o.opaque() {
		return names, err
	}
	old, err := b.names()
	if err != nil {
		return nil, err
	}
	names = append(names, old...)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// wanted is what a name is to become.
type wanted struct {
	state
	// gone: it is to go.
	gone bool
	// emptied: a directory that goes once what is listed in it went, if that was all.
	emptied bool
	// passing: a directory that is only on the way to something, and stays as it is.
	passing bool
	// copied: overlayfs copied it from below, so something was there before.
	copied bool
	// extended are the attributes that it is to have.
	extended map[string]string
	// Where its content is, and what it is besides its state.
	dir          int
	name         string
	links        uint32
	atime, mtime unix.StatxTimestamp
}

// upper is a directory of a capture.
type upper struct {
	plain
	opacity string // of the directory: "", "x" or "y"
	// alone: it lies in an opaque directory, so that nothing below the capture is
	// merged with it. Overlayfs does not say so again.
	alone bool
}

var _ ours = (*upper)(nil)

// openUpper opens the top of a capture.
func openUpper(ctx context.Context, dir string) (*upper, wanted, error) {
	p, err := openPlain(ctx, dir)
	if err != nil {
		return nil, wanted{}, err
	}
	u := &upper{plain: *p}
	top, err := u.look(".")
	if err != nil {
		u.close()
		return nil, wanted{}, err
	}
	// What is merged at the root of an overlay is always seen.
	return u, top, nil
}

func (u *upper) look(name string) (wanted, error) {
	s, st, extended, err := u.lookAll(name)
	if err != nil || !s.exists() {
		return wanted{}, err
	}
	marks, err := u.marks(name, &s, extended)
	if err != nil {
		return wanted{}, err
	}
	if marks.whiteout {
		return wanted{name: name, gone: true}, nil
	}
	s.seal = marks.seal
	return wanted{
		state: s, extended: ofSandbox(extended), dir: u.fd, name: name,
		links: st.Nlink, atime: st.Atime, mtime: st.Mtime, copied: marks.copied,
	}, nil
}

func (u *upper) enter(name string) (ours, error) {
	_, _, extended, err := u.lookAll(name)
	if err != nil {
		return nil, err
	}
	p, err := u.sub(name)
	if err != nil {
		return nil, err
	}
	return &upper{*p, extended[overlayNamespace+"opaque"], u.opaque()}, nil
}

func (u *upper) opaque() bool { return u.alone || u.opacity == "y" }

func (u *upper) has(name string) bool {
	var st unix.Stat_t
	dir, err := openBeneath(u.fd, path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer unix.Close(dir)
	err = unix.Fstatat(dir, path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && !(st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0)
}

// listed reports whether the name is among those that are to become something.
func (w *wanted) listed() bool { return w.name != "" }

// marks is what overlayfs noted on a file.
type marks struct {
	whiteout, copied bool
	seal             seal
}

// marks reads the notes, and refuses those that our mounts do not make: a file
// with them is something else than it seems to be.
func (u *upper) marks(name string, s *state, extended map[string]string) (marks, error) {
	m := marks{whiteout: s.kind == unix.S_IFCHR && s.device == [2]uint32{}}
	for attribute, value := range extended {
		note, ok := strings.CutPrefix(attribute, overlayNamespace)
		if !ok || strings.HasPrefix(note, "overlay.") { // the latter is an attribute that the sandbox set
			continue
		}
		switch {
		case note == "origin":
			m.copied = true
		case note == "impure" || note == "uuid":
		case note == "opaque" && s.isDir() && (value == "y" || value == "x"):
		case note == "whiteout" && s.kind == unix.S_IFREG && s.size == 0 && u.opacity == "x":
			m.whiteout = true
		case note == "protattr" && strings.Trim(value, "ai") == "":
			m.seal = seal{immutable: strings.Contains(value, "i"), appendOnly: strings.Contains(value, "a")}
		default:
			// redirect and metacopy say that the content is elsewhere; upper and nlink belong to an index.
			return m, fmt.Errorf("cannot read what was captured: %s has the attribute %s=%q: %w", name, attribute, value, ErrFormat)
		}
	}
	return m, nil
}

// ofSandbox are the attributes that the sandbox saw. Those that it set in the
// namespace of overlayfs are kept under an escaped name.
func ofSandbox(extended map[string]string) map[string]string {
	seen := map[string]string{}
	for attribute, value := range extended {
		if note, ok := strings.CutPrefix(attribute, overlayNamespace); ok {
			inner, escaped := strings.CutPrefix(note, "overlay.")
			if !escaped {
				continue
			}
			attribute = overlayNamespace + inner
		}
		seen[attribute] = value
	}
	return seen
}

// check reads all of a capture's notes before anything is changed.
func check(u *upper, at string) error {
	names, err := u.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
		if err := checkOne(u, at, name); err != nil {
			return err
		}
	}
	return nil
}

func checkOne(u *upper, at, name string) error {
	below := path.Join(at, name)
	s, _, extended, err := u.lookAll(name)
	if err != nil {
		return err
	}
	if _, err := u.marks(below, &s, extended); err != nil {
		return err
	}
	if !s.isDir() {
		return nil
	}
	if s.nested {
		return fmt.Errorf("cannot read what was captured: %s is a subvolume: %w", below, ErrFormat)
	}
	child, err := u.enter(name)
	if err != nil {
		return err
	}
	defer child.close()
	return check(child.(*upper), below)
}
