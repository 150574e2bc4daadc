// What a transaction captured, without looking at the live tree.

package handover

import (
	"context"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// Captured lists, in order, what the sandbox left otherwise than it found it:
// what would be handed over to a live tree that stays as it is. ErrFormat.
func Captured(ctx context.Context, c Capture) ([]Row, error) {
	rows, err := captured(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("cannot list what transaction %d captured of %s: %w", c.Number, c.Tree, err)
	}
	return rows, nil
}

func captured(ctx context.Context, c Capture) ([]Row, error) {
	o, top, err := openUpper(ctx, c.Upper)
	if err != nil {
		return nil, err
	}
	defer o.close()
	if err := check(o, "/"); err != nil {
		return nil, err
	}
	b, err := c.before(ctx)
	if err != nil {
		return nil, err
	}
	defer b.close()
	was, err := b.look(".")
	if err != nil {
		return nil, err
	}
	l := lister{ctx: ctx, tree: c.Tree}
	if err := l.note("/", &top, &was); err != nil {
		return nil, err
	}
	return l.rows, l.directory("/", o, b)
}

type lister struct {
	ctx  context.Context
	tree string
	rows []Row
}

// note adds a row where what is wanted differs from what was.
func (l *lister) note(at string, w *wanted, was *state) error {
	row := Row{Tree: l.tree, Path: path.Join(l.tree, at)}
	switch {
	case w.gone && !was.exists():
		return nil
	case w.gone:
		row.Decision = Removed
	case !was.exists():
		row.Decision = Created
	default:
		row.Decision = Replaced
		if unchanged, err := alike(&w.state, was); unchanged || err != nil {
			return err
		}
	}
	if w.kind == unix.S_IFSOCK && !w.gone {
		row.Decision, row.Reason = Skipped, isSocket
	}
	l.rows = append(l.rows, row)
	return nil
}

func (l *lister) directory(at string, o ours, b before) error {
	names, err := concerned(o, b)
	if err != nil {
		return err
	}
	for _, name := range names {
		if l.ctx.Err() != nil {
			return context.Cause(l.ctx)
		}
		if err := l.entry(path.Join(at, name), name, o, b); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) entry(at, name string, o ours, b before) error {
	w, err := o.look(name)
	if err != nil {
		return err
	}
	w.gone = w.gone || !w.listed()
	was, err := b.look(name)
	if err != nil {
		return err
	}
	if err := l.note(at, &w, &was); err != nil || w.gone || !w.isDir() {
		return err
	}
	inO, err := o.enter(name)
	if err != nil {
		return err
	}
	defer inO.close()
	inB, err := inside(b, name, &was)
	if err != nil {
		return err
	}
	defer inB.close()
	return l.directory(at, inO, inB)
}
