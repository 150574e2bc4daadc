// Deletions: what the sandbox removed, and what an undo takes away.

package handover

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// remove lets a name go that the sandbox removed.
func (g *giver) remove(s *spot) error {
	if !s.is.exists() {
		if s.was.exists() {
			g.say(s.at, Removed, "")
		}
		return nil
	}
	if s.reason == "" {
		s.reason = untouchable(&s.is, g.usage)
	}
	if s.reason == "" {
		var err error
		if s.reason, err = g.moved(s); err != nil {
			return err
		}
	}
	if s.reason != "" {
		g.say(s.at, Kept, s.reason)
		return nil
	}
	g.say(s.at, Removed, "")
	if g.dry {
		return nil
	}
	// Both are one call for the name, however much is below it.
	if s.is.seal != (seal{}) {
		if err := g.hand.seal(s.l.fd, s.name, seal{}); err != nil {
			return err
		}
	}
	if !s.is.isDir() {
		return g.hand.unlink(s.l.fd, s.name)
	}
	tmp := g.temporary(s.name)
	if err := g.hand.rename(s.l.fd, s.name, s.l.fd, tmp, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	return g.clear(s.l.fd, tmp)
}

// moved says why the live side is not as it was before, with all that is below it.
func (g *giver) moved(s *spot) (reason string, err error) {
	if !s.was.exists() {
		return appeared, nil
	}
	if ok, err := same(&s.is, &s.was); !ok || err != nil {
		return changed, err
	}
	if !s.is.isDir() {
		return "", nil
	}
	b, err := s.b.enter(s.name)
	if err != nil {
		return "", err
	}
	defer b.close()
	l, err := s.l.sub(s.name)
	if err != nil {
		return "", err
	}
	defer l.close()
	return sameTree(b, l, g.usage)
}

// empty lets a directory go once what is listed in it went: for an undo.
func (g *giver) empty(s *spot, whole bool) error {
	switch {
	case !s.is.exists():
		g.say(s.at, Removed, "")
		return nil
	case !s.is.isDir():
		g.say(s.at, Kept, changed)
		return nil
	}
	b, l, o, err := g.enterAll(s)
	if err != nil {
		return err
	}
	defer func() { b.close(); l.close(); o.close() }()
	unit, err := g.database(o, b, l.plain)
	if err != nil {
		return err
	}
	if unit.reason != "" {
		g.say(s.at, Kept, unit.reason)
		return nil
	}
	if err := g.directory(o, b, l, whole || unit.kind != ""); err != nil {
		return err
	}
	if untouched, err := alike(&s.is, &s.was); err != nil {
		return err
	} else if !untouched {
		g.say(s.at, Kept, changedAttributes)
		return nil
	}
	err = g.hand.rmdir(s.l.fd, s.name)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) {
		g.say(s.at, Kept, "the live side has something in it")
		return nil
	}
	if err == nil {
		g.say(s.at, Removed, "")
	}
	return err
}

// clear removes whatever is under a name of ours.
func (g *giver) clear(dir int, name string) error {
	var st unix.Statx_t
	err := again(func() error {
		return unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot examine %s: %w", name, err)
	}
	if st.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0 {
		if err := g.hand.seal(dir, name, seal{}); err != nil {
			return err
		}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return g.hand.unlink(dir, name)
	}
	fd, err := openBeneath(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NOATIME)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", name, err)
	}
	defer unix.Close(fd)
	names, err := list(fd)
	if err != nil {
		return err
	}
	for _, inside := range names {
		if err := g.clear(fd, inside); err != nil {
			return err
		}
	}
	return g.hand.rmdir(dir, name)
}
