package etcmerge

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Apply makes the target what the plan says. If it fails, the target is as it
// was; if it is interrupted, Recover makes it so. While it works every file is
// either the old or the new one, except that what is added or removed appears
// or vanishes at some moment. A plan is applied once; doing it again does nothing.
func (p *Plan) Apply(ctx context.Context) error {
	if p.applied || len(p.actions) == 0 {
		return nil
	}
	t, err := targetOf(p.trees.Ours)
	if err != nil {
		return err
	}
	defer t.close()
	if err := p.unchanged(t); err != nil {
		return err
	}
	w := &work{ctx: ctx, target: t, disposable: p.opts.Disposable, hook: p.hook}
	if err := w.run(func() ([]op, error) { return p.stage(ctx, t) }); err != nil {
		return fmt.Errorf("cannot merge into %s: %w", t.name, err)
	}
	p.applied = true
	return nil
}

// unchanged makes sure that what will be replaced is still what was planned for.
func (p *Plan) unchanged(t *target) error {
	v := &view{name: t.name}
	for _, a := range p.actions {
		planned := a.entry.sides[ours]
		err := t.with("examine", a.path, func(dir int, base string) error {
			now, err := v.examine(dir, base)
			switch {
			case err != nil:
				return err
			case now == nil && planned == nil:
				return nil
			case now == nil || planned == nil || now.ino != planned.ino || now.ctime != planned.ctime:
				return ErrChanged
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stage prepares what is new, and returns what is left to be done.
func (p *Plan) stage(ctx context.Context, t *target) ([]op, error) {
	s := &stager{ctx: ctx, target: t, where: map[*entry]string{}, paths: map[*entry]string{}, copies: map[*entry]string{}}
	for i, dir := range p.trees.all() {
		v, err := viewOf(dir)
		if err != nil {
			return nil, err
		}
		defer v.close()
		s.views[i] = v
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	for _, a := range p.actions {
		if err := s.prepare(a); err != nil {
			return nil, err
		}
	}
	if err := s.complete(); err != nil {
		return nil, err
	}
	var ops []op
	for _, a := range p.actions {
		more, err := s.ops(a)
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	for _, e := range s.protected {
		ino, err := t.inode(s.where[e])
		if err != nil {
			return nil, err
		}
		bare := e.result.attrs
		bare.flags = 0
		ops = append(ops, adjustOp(s.paths[e], e.source().kind, ino, bare, e.result.attrs))
	}
	return ops, nil
}

// ops are the steps of one action.
func (s *stager) ops(a action) ([]op, error) {
	var ops []op
	o := a.entry.sides[ours]
	switch a.verb {
	case adjust:
		return []op{adjustOp(a.path, o.kind, o.ino, o.onDisk(), a.entry.wanted())}, nil
	case create:
		ino, err := s.target.inode(s.where[a.entry])
		return []op{moveOp(s.where[a.entry], a.path, ino)}, err
	}
	disk := o.onDisk()
	if disk.flags != 0 { // it cannot be moved while it has them
		bare := disk
		bare.flags = 0
		ops = append(ops, adjustOp(a.path, o.kind, o.ino, disk, bare))
		disk = bare
	}
	if a.aside != "" {
		ops = append(ops, reownedBeneath(a.entry, a.path)...)
	}
	at := a.path
	if a.verb == replace {
		at = s.where[a.entry]
		ino, err := s.target.inode(at)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op{Do: doExchange, From: []byte(at), To: []byte(a.path), Ino: ino})
	}
	beside := a.aside
	if copied, ok := s.copies[a.entry]; ok {
		ino, err := s.target.inode(copied)
		if err != nil {
			return nil, err
		}
		ops = append(ops, moveOp(copied, beside, ino))
		beside = ""
	}
	switch {
	case beside != "":
		if kept := asAside(o.kind, o.bare()); attrFacets(&kept, &disk) != 0 {
			ops = append(ops, adjustOp(at, o.kind, o.ino, disk, kept))
		}
		ops = append(ops, moveOp(at, beside, o.ino))
	case a.verb == discard:
		ops = append(ops, moveOp(at, s.slot(), o.ino))
	}
	return ops, nil
}

// bare are the attributes without flags, with which nothing can be moved.
func (n *node) bare() attrs {
	a := n.attrs
	a.flags = 0
	return a
}

// reownedBeneath are the steps that give what is in a directory, which is to be
// kept as it is, the new ids of its owners.
func reownedBeneath(e *entry, path string) []op {
	var ops []op
	for _, c := range e.children {
		name := join(path, c.name)
		if o := c.sides[ours]; o != nil && o.disk != nil {
			ops = append(ops, adjustOp(name, o.kind, o.ino, o.onDisk(), o.attrs))
		}
		ops = append(ops, reownedBeneath(c, name)...)
	}
	return ops
}

// asAside are the attributes of what is kept beside a file. It is there to be
// read: what runs all files of a directory must not run it.
func asAside(kind uint32, a attrs) attrs {
	const runs = unix.S_ISUID | unix.S_ISGID | 0o111
	if kind != unix.S_IFREG || a.mode&runs == 0 {
		return a
	}
	kept := a
	kept.mode &^= runs
	kept.xattrs = map[string]string{modeNote: fmt.Sprintf("%04o", a.mode)}
	for name, value := range a.xattrs {
		kept.xattrs[name] = value
	}
	return kept
}

// Recover undoes an interrupted merge, or removes what a finished one left
// behind, and reports whether there was any. The directory is as it was before
// the merge, or as it was after it.
func Recover(ctx context.Context, dir *os.File) (bool, error) {
	name, state, err := findStage(dir)
	if err != nil || state == stageNone {
		return false, err
	}
	t, err := targetOf(dir)
	if err != nil {
		return false, err
	}
	defer t.close()
	w := &work{ctx: ctx, target: t}
	if state == stageOpen {
		err = w.undo()
	}
	if err == nil {
		err = w.clear(name)
	}
	if err != nil {
		return true, fmt.Errorf("cannot recover %s from an interrupted merge: %w", dir.Name(), err)
	}
	return true, nil
}

// Merge recovers the target, plans and applies.
func Merge(ctx context.Context, trees Trees, opts Options) (*Plan, error) {
	if trees.Ours != nil {
		if _, err := Recover(ctx, trees.Ours); err != nil {
			return nil, err
		}
	}
	p, err := New(ctx, trees, opts)
	if err != nil {
		return nil, err
	}
	return p, p.Apply(ctx)
}
