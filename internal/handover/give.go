// The decision about each name.

package handover

import (
	"context"
	"path"

	"golang.org/x/sys/unix"
)

// spot is one name on all sides.
type spot struct {
	o    ours
	b    before
	l    *liveDir
	name string
	at   string // in the tree
	want wanted
	was  state
	is   state
	// reason, where it is set, keeps the live side's.
	reason string
	// suffix is that of a database's file which is put beside with the others of it.
	suffix string
}

// directory gives what is in a directory. whole: it belongs to a database that
// may be given, so nothing in it is asked again.
func (g *giver) directory(o ours, b before, l *liveDir, whole bool) error {
	names, err := concerned(o, b)
	if err != nil {
		return err
	}
	held := map[string]hold{}
	if !whole {
		if held, err = g.heldDatabases(names, o, b, l); err != nil {
			return err
		}
	}
	for _, name := range names {
		if g.ctx.Err() != nil {
			return context.Cause(g.ctx)
		}
		s := spot{o: o, b: b, l: l, name: name, at: path.Join(l.at, name), reason: held[name].reason, suffix: held[name].suffix}
		if err := g.entry(&s, whole); err != nil {
			return g.failed(s.at, err)
		}
	}
	return nil
}

// entry gives one name.
func (g *giver) entry(s *spot, whole bool) error {
	if s.l.plain != nil && !g.dry {
		// What an earlier run left.
		if err := g.clear(s.l.fd, g.temporary(s.name)); err != nil {
			return err
		}
	}
	var err error
	if s.want, err = s.o.look(s.name); err != nil {
		return err
	}
	if s.was, err = s.b.look(s.name); err != nil {
		return err
	}
	if s.is, err = s.l.look(s.name); err != nil {
		return err
	}
	if !s.want.listed() {
		if !s.o.opaque() {
			return nil
		}
		s.want.gone = true
	}
	if s.l.sealed && !s.is.isDir() {
		s.reason = isSealed
	}
	switch {
	case s.is.mounted:
		return g.covered(s)
	case s.want.gone:
		return g.remove(s)
	case s.want.emptied:
		return g.empty(s, whole)
	case s.want.isDir():
		return g.merge(s, whole)
	default:
		return g.file(s)
	}
}

// covered: what was written lies below something that is mounted on the live side.
func (g *giver) covered(s *spot) error {
	if differs, err := g.differs(s); err != nil || !differs {
		return err
	}
	g.say(s.at, Skipped, isMountPoint)
	return nil
}

// differs reports whether the sandbox changed anything at a name or below it;
// overlayfs copies files of which somebody thought of a change, too.
func (g *giver) differs(s *spot) (bool, error) {
	if s.want.gone || !s.want.isDir() || !s.was.isDir() {
		unchanged, err := alike(&s.want.state, &s.was)
		return !unchanged && !(s.want.gone && !s.was.exists()), err
	}
	if unchanged, err := alike(&s.want.state, &s.was); !unchanged || err != nil {
		return true, err
	}
	b, err := s.b.enter(s.name)
	if err != nil {
		return false, err
	}
	defer b.close()
	o, err := s.o.enter(s.name)
	if err != nil {
		return false, err
	}
	defer o.close()
	changes, _, err := g.survey(o, b, nil)
	return changes, err
}

// enterAll opens a directory on all sides. On the live side it may not be there.
func (g *giver) enterAll(s *spot) (b before, l *liveDir, o ours, err error) {
	if o, err = s.o.enter(s.name); err != nil {
		return nil, nil, nil, err
	}
	if b, err = inside(s.b, s.name, &s.was); err != nil {
		o.close()
		return nil, nil, nil, err
	}
	l = &liveDir{parent: s.l, name: s.name, at: s.at, made: s.want}
	if s.is.isDir() {
		l.sealed = s.is.seal != (seal{}) && s.want.seal != (seal{})
		if l.plain, err = s.l.sub(s.name); err != nil {
			o.close()
			b.close()
			return nil, nil, nil, err
		}
	}
	return b, l, o, nil
}

// merge gives a directory.
func (g *giver) merge(s *spot, whole bool) error {
	if s.is.exists() && !s.is.isDir() {
		return g.overFile(s, whole)
	}
	if !s.is.exists() && s.was.exists() && !s.was.isDir() {
		return g.keep(s, gone)
	}
	b, l, o, err := g.enterAll(s)
	if err != nil {
		return err
	}
	defer func() { b.close(); l.close(); o.close() }()
	if s.reason != "" {
		return g.keepAll(s.l, s.name, s.at, inner{o, s.want, b, s.was}, s.reason)
	}
	if !whole && (s.was.exists() || s.is.exists()) {
		unit, err := g.database(o, b, l.plain)
		if err != nil {
			return err
		}
		if unit.settled {
			if !s.is.exists() {
				return nil
			}
			return g.attributes(s.l, s.name, s.at, &s.want, &s.was, &s.is)
		}
		if unit.reason != "" {
			return g.keepAll(s.l, s.name, s.at, inner{o, s.want, b, s.was}, unit.reason)
		}
		whole = unit.kind != ""
	}
	switch {
	case s.is.exists():
		if err := g.attributes(s.l, s.name, s.at, &s.want, &s.was, &s.is); err != nil {
			return err
		}
	case !s.was.exists():
		g.say(s.at, Created, "")
		if err := g.ensure(l); err != nil {
			return err
		}
	default:
		// The live side removed it. It comes back if something is put into it.
		unchanged, err := alike(&s.want.state, &s.was)
		if err != nil {
			return err
		}
		l.differs = !unchanged && !s.want.passing
	}
	if err := g.directory(o, b, l, whole); err != nil {
		return err
	}
	if l.differs && l.plain == nil && !l.planned {
		g.say(s.at, Kept, gone)
	}
	return nil
}

// overFile gives a directory where the live side has something else.
func (g *giver) overFile(s *spot, whole bool) error {
	if differs, err := g.differs(s); err != nil || !differs {
		return err
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
		return g.keep(s, s.reason)
	}
	g.say(s.at, Replaced, "")
	if !g.dry {
		tmp := g.temporary(s.name)
		if err := g.newDirectory(s.l.fd, tmp, &s.want); err != nil {
			return err
		}
		if s.is.seal != (seal{}) {
			if err := g.hand.seal(s.l.fd, s.name, seal{}); err != nil {
				return err
			}
		}
		if err := g.hand.rename(s.l.fd, tmp, s.l.fd, s.name, unix.RENAME_EXCHANGE); err != nil {
			return err
		}
		if err := g.clear(s.l.fd, tmp); err != nil {
			return err
		}
		g.last = append(g.last, last{s.at, s.want, true})
		var err error
		if s.is, err = s.l.look(s.name); err != nil {
			return err
		}
	} else {
		s.is = state{}
	}
	b, l, o, err := g.enterAll(s)
	if err != nil {
		return err
	}
	defer func() { b.close(); l.close(); o.close() }()
	return g.directory(o, b, l, whole)
}

// file gives what is no directory.
func (g *giver) file(s *spot) error {
	unchanged, err := same(&s.want.state, &s.was)
	if err != nil {
		return err
	}
	if unchanged {
		return g.reseal(s)
	}
	if s.want.kind == unix.S_IFSOCK {
		g.say(s.at, Skipped, isSocket)
		return nil
	}
	decision := Replaced
	if !s.was.exists() {
		decision = Created
	}
	if done, err := same(&s.is, &s.want.state); err != nil {
		return err
	} else if done {
		g.say(s.at, decision, "")
		if s.want.links > 1 {
			g.linked[s.want.id] = &link{at: s.at}
		}
		if g.dry || s.is.seal == s.want.seal {
			return nil
		}
		return g.hand.seal(s.l.fd, s.name, s.want.seal)
	}
	how, err := g.manner(s)
	if err != nil {
		return err
	}
	if s.reason != "" {
		return g.keep(s, s.reason)
	}
	return g.stageAndPlace(s, how, g.say(s.at, decision, ""))
}

// manner decides how ours gets its place; s.reason is set where it does not.
func (g *giver) manner(s *spot) (manner, error) {
	if s.reason != "" {
		return beside, nil
	}
	if !s.is.exists() {
		if s.was.exists() {
			s.reason = gone
		}
		return fresh, nil
	}
	if s.reason = untouchable(&s.is, g.usage); s.reason != "" {
		return beside, nil
	}
	var err error
	s.reason, err = g.moved(s)
	if s.is.isDir() {
		return swap, err
	}
	return over, err
}

func (g *giver) stageAndPlace(s *spot, how manner, row int) error {
	if err := g.ensure(s.l); err != nil || g.dry {
		return err
	}
	tmp := g.temporary(s.name)
	if err := g.stage(s.l.fd, tmp, &s.want); err != nil {
		return err
	}
	err := g.place(placement{manner: how, tmp: tmp, name: s.name, suffix: s.suffix, was: s.is, want: s.want, row: row}, s.l)
	if err != nil || how != swap {
		return err
	}
	return g.flush() // so that little time passes in which the directory could change
}

// reseal hands over that a file, which is the same otherwise, may be changed or
// may not (chattr +i, +a).
func (g *giver) reseal(s *spot) error {
	if s.want.seal == s.was.seal {
		return nil
	}
	if untouched, err := same(&s.is, &s.was); err != nil {
		return err
	} else if !untouched || s.is.seal != s.was.seal && s.is.seal != s.want.seal {
		g.say(s.at, Kept, changed)
		return nil
	}
	g.say(s.at, Replaced, "")
	if g.dry || s.is.seal == s.want.seal {
		return nil
	}
	return g.hand.seal(s.l.fd, s.name, s.want.seal)
}
