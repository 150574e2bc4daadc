// Taking back what was handed over.

package handover

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// UndoRequest says what to take back.
type UndoRequest struct {
	// Number is that of the transaction that is undone; names of temporary files carry it.
	Number uint64
	// Tree is where the system has the tree.
	Tree string
	// Live is the directory at which it is mounted.
	Live string
	// Before is a read-only fork of the live tree from before the hand-over, After one from right after it. Where
	// the hand-over was not finished, After is a fork of the live tree as it is, and Rows come from a dry run.
	Before, After string
	// Rows are what Give returned, of all captures that were handed over between the forks.
	Rows []Row
	// Proc and Sys are where procfs and sysfs are mounted; /proc and /sys where empty.
	Proc, Sys string
}

// Undo gives the live tree back what the hand-over changed, path by path, and
// takes away what was put beside, where the live side left it as it was handed
// over. Everything else stays, with a row that says why. It may be interrupted
// and done again, as Give.
func Undo(ctx context.Context, r UndoRequest) ([]Row, error) { return undo(ctx, r, nil) }

func undo(ctx context.Context, r UndoRequest, step func() error) ([]Row, error) {
	rows, err := undoAll(ctx, r, step)
	if err != nil {
		return rows, fmt.Errorf("cannot take back what was handed over to %s: %w", r.Tree, err)
	}
	return rows, nil
}

func undoAll(ctx context.Context, r UndoRequest, step func() error) ([]Row, error) {
	given := &given{}
	for _, row := range r.Rows {
		if err := given.row(r.Tree, row); err != nil {
			return nil, err
		}
	}
	from, err := openPlain(ctx, r.Before)
	if err != nil {
		return nil, err
	}
	after, err := openPlain(ctx, r.After)
	if err != nil {
		from.close()
		return nil, err
	}
	defer after.close()
	o := &restored{from: from, after: after, given: given}
	defer from.close()
	top, err := from.wanted(".")
	if err != nil {
		return nil, err
	}
	top.passing = !given.itself
	g, err := newGiver(ctx, r.Number, r.Tree, r.Live, r.Proc, r.Sys)
	if err != nil {
		return nil, err
	}
	defer g.end()
	g.undoing, g.hand.step = true, step
	if err := g.sweep(given, g.live.plain); err != nil {
		return nil, err
	}
	return g.all(o, top, after)
}

// sweep removes what interrupted runs left in the directories of given paths.
func (g *giver) sweep(n *given, dir *plain) error {
	names, err := list(dir.fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		// A note of our own says that the attributes there are nobody's.
		if !isTemporary(name) || strings.HasPrefix(name, g.notes()) {
			continue
		}
		if err := g.clear(dir.fd, name); err != nil {
			return err
		}
	}
	for name, below := range n.inside {
		s, err := dir.look(name)
		if err != nil {
			return err
		}
		if !s.isDir() || s.mounted {
			continue
		}
		inside, err := dir.sub(name)
		if err != nil {
			return err
		}
		err = g.sweep(below, inside)
		inside.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// given is one path that was handed over, or one on the way to such.
type given struct {
	itself bool
	// refill: what the directory held went as a whole once, and no row names it. It may have become a directory
	// again by a later capture.
	refill bool
	inside map[string]*given
}

func (n *given) row(tree string, row Row) error {
	var paths []string
	switch row.Decision {
	case Created, Replaced, Removed:
		paths = []string{row.Path}
	case Kept:
		if row.Aside != "" {
			paths = []string{row.Aside}
		}
	}
	for _, p := range paths {
		rel, ok := strings.CutPrefix(path.Clean(p), strings.TrimSuffix(tree, "/"))
		if !ok || rel != "" && rel[0] != '/' {
			return fmt.Errorf("%s does not lie in it", p)
		}
		n.add(rel, row.Decision == Removed)
	}
	return nil
}

func (n *given) add(rel string, removed bool) {
	for name := range strings.SplitSeq(rel, "/") {
		if name == "" {
			continue
		}
		if n.inside == nil {
			n.inside = map[string]*given{}
		}
		if n.inside[name] == nil {
			n.inside[name] = &given{}
		}
		n = n.inside[name]
	}
	n.refill = n.refill || removed || n.itself // a second row: it may have been something else between
	n.itself = true
}

// restored is a directory of what is given back.
type restored struct {
	from  *plain // nil where there was no directory before the hand-over
	after *plain // nil where there was none after it
	given *given // nil where all of the directory is given back
	// refill: what is in from and not in after is given back too.
	refill bool
}

var _ ours = (*restored)(nil)

func (r *restored) names() ([]string, error) {
	if r.given == nil {
		return r.from.names()
	}
	names := slices.Collect(maps.Keys(r.given.inside))
	if r.refill && r.from != nil {
		old, err := r.from.names()
		if err != nil {
			return nil, err
		}
		names = append(names, old...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (r *restored) look(name string) (wanted, error) {
	var was wanted
	var is state
	var err error
	if r.from != nil {
		if was, err = r.from.wanted(name); err != nil {
			return was, err
		}
	}
	if r.after != nil {
		if is, err = r.after.look(name); err != nil {
			return wanted{}, err
		}
	}
	if r.given == nil {
		return was, nil
	}
	n := r.given.inside[name]
	switch {
	case n == nil && (!r.refill || !was.exists() || is.exists() && !(is.isDir() && was.isDir())):
		return wanted{}, nil
	case was.exists():
		was.passing = (n == nil || !n.itself) && was.isDir() && is.exists()
		return was, nil
	case len(n.inside) > 0 && is.isDir():
		// What the live side put into it since is not ours to remove.
		return wanted{name: name, emptied: true}, nil
	}
	return wanted{name: name, gone: true}, nil
}

func (r *restored) enter(name string) (ours, error) {
	child := &restored{}
	var err error
	if r.from != nil {
		if child.from, err = subDirectory(r.from, name); err != nil {
			return nil, err
		}
	}
	if r.after != nil {
		if child.after, err = subDirectory(r.after, name); err != nil {
			child.close()
			return nil, err
		}
	}
	if r.given != nil && (child.after != nil || child.from == nil) {
		if child.given = r.given.inside[name]; child.given == nil {
			child.given = &given{}
		}
		child.refill = r.refill || child.given.refill
	}
	return child, nil
}

// subDirectory opens a directory where there is one.
func subDirectory(p *plain, name string) (*plain, error) {
	s, err := p.look(name)
	if err != nil || !s.isDir() {
		return nil, err
	}
	return p.sub(name)
}

func (r *restored) opaque() bool { return false }

func (r *restored) has(path string) bool { return r.from != nil && r.from.has(path) }

func (r *restored) close() {
	for _, p := range []*plain{r.from, r.after} {
		if p != nil {
			unix.Close(p.fd)
		}
	}
}
