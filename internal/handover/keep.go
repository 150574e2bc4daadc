// Where the live side's stays: ours is put beside it.

package handover

import (
	"fmt"
	"maps"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// keep leaves the live side's and puts ours beside it.
func (g *giver) keep(s *spot, reason string) error {
	if s.want.isDir() {
		b, err := inside(s.b, s.name, &s.was)
		if err != nil {
			return err
		}
		defer b.close()
		o, err := s.o.enter(s.name)
		if err != nil {
			return err
		}
		defer o.close()
		return g.keepAll(s.l, s.name, s.at, inner{o, s.want, b, s.was}, reason)
	}
	row := g.say(s.at, Kept, reason)
	if g.undoing || s.l.sealed {
		return nil
	}
	stem := strings.TrimSuffix(s.name, s.suffix)
	for try := 1; try < manyBeside; try++ {
		name := besideName(stem, g.number, try, s.suffix)
		there, err := s.l.look(name)
		if err != nil {
			return err
		}
		if there.exists() {
			if ok, err := same(&there, &s.want.state); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		g.rows[row].Aside = g.seen(path.Join(s.l.at, name))
		if there.exists() {
			return nil
		}
		break
	}
	return g.stageAndPlace(s, beside, row)
}

// inner is a directory of ours with what was before.
type inner struct {
	o    ours
	want wanted
	b    before
	was  state
}

// keepAll leaves the live side's and puts a whole directory beside it, with
// everything that the sandbox saw in it.
func (g *giver) keepAll(l *liveDir, name, at string, in inner, reason string) error {
	row := g.say(at, Kept, reason)
	if g.undoing || l.sealed {
		return nil
	}
	aside := besideName(name, g.number, 1, "")
	g.rows[row].Aside = g.seen(path.Join(l.at, aside))
	there, err := l.look(aside)
	if err != nil {
		return err
	}
	// It gets its name when it is complete, so it is ours, and all of it.
	if there.isDir() {
		return nil
	}
	if err := g.ensure(l); err != nil || g.dry {
		return err
	}
	tmp := g.temporary(name)
	if err := g.stageAll(l.fd, tmp, in); err != nil {
		return err
	}
	return g.place(placement{manner: beside, tmp: tmp, name: name, want: in.want, row: row}, l)
}

// stageAll makes a directory with everything in it under a temporary name.
func (g *giver) stageAll(dir int, tmp string, in inner) error {
	if err := g.newDirectory(dir, tmp, &in.want); err != nil {
		return err
	}
	fd, err := openBeneath(dir, tmp, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", tmp, err)
	}
	defer unix.Close(fd)
	names, err := g.union(in.o, in.b, nil)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := g.stageOne(fd, name, in); err != nil {
			return err
		}
	}
	return g.hand.setTimes(dir, tmp, in.want.atime, in.want.mtime)
}

func (g *giver) stageOne(dir int, name string, in inner) error {
	was, err := in.b.look(name)
	if err != nil {
		return err
	}
	w, err := becomes(in.o, name, &was)
	if err != nil {
		return err
	}
	if !w.listed() || w.passing {
		p, ok := in.b.(*plain)
		if !ok {
			return nil // of what it was only a note is left
		}
		if w, err = p.wanted(name); err != nil {
			return err
		}
	}
	switch {
	case !w.exists(), w.kind == unix.S_IFSOCK, w.mounted:
		return nil
	case !w.isDir():
		w.links = 1
		return g.stage(dir, name, &w)
	}
	next := inner{want: w, was: was, o: in.o}
	if next.b, err = inside(in.b, name, &was); err != nil {
		return err
	}
	defer next.b.close()
	next.o = unchanged{}
	if mine, err := in.o.look(name); err != nil {
		return err
	} else if mine.isDir() {
		if next.o, err = in.o.enter(name); err != nil {
			return err
		}
		defer next.o.close()
	}
	return g.stageAll(dir, name, next)
}

// wanted describes what a plain directory has, to be made elsewhere.
func (p *plain) wanted(name string) (wanted, error) {
	s, st, extended, err := p.lookAll(name)
	if err != nil || !s.exists() {
		return wanted{}, err
	}
	return wanted{
		state: s, extended: maps.Clone(extended), dir: p.fd, name: name, links: st.Nlink, atime: st.Atime, mtime: st.Mtime,
	}, nil
}

// unchanged is a directory of which nothing is to become something else.
type unchanged struct{}

var _ ours = unchanged{}

func (unchanged) look(string) (wanted, error) { return wanted{}, nil }
func (unchanged) names() ([]string, error)    { return nil, nil }
func (unchanged) enter(string) (ours, error)  { return unchanged{}, nil }
func (unchanged) opaque() bool                { return false }
func (unchanged) has(string) bool             { return false }
func (unchanged) close()                      {}
