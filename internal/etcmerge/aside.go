package etcmerge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Aside is something that a merge kept beside the file that won. As long as it
// is there, nobody has chosen.
type Aside struct {
	Path   string `json:"path"`  // the file, which may be gone
	Aside  string `json:"aside"` // what was kept
	Number uint64 `json:"number"`
}

// Asides lists what merges kept in a tree, sorted by path.
func Asides(ctx context.Context, dir *os.File) ([]Aside, error) {
	v, err := viewOf(dir)
	if err != nil {
		return nil, err
	}
	defer v.close()
	var found []Aside
	for queue := []string{""}; len(queue) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		entries, err := v.readDir(name)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if base, number, ok := asideOf(e.Name()); ok {
				found = append(found, Aside{join(name, base), join(name, e.Name()), number})
			} else if e.IsDir() && (name != "" || !isStage(e.Name())) {
				queue = append(queue, join(name, e.Name()))
			}
		}
	}
	slices.SortFunc(found, func(a, b Aside) int { return compareNames(a.Aside, b.Aside) })
	return found, nil
}

// readDir lists a directory with the types of what is in it.
func (v *view) readDir(name string) ([]fs.DirEntry, error) {
	fd, err := v.openDir(name)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, v.failed("read", name, err)
	}
	return entries, nil
}

// Resolve settles what was kept aside in a tree: Theirs removes it, Ours puts
// it in the place of the file that won, which goes. A file's owner, mode and
// attributes are those that the merge gave it; only its content is chosen. The
// tree is changed at once, or not at all; Recover undoes what was interrupted.
func Resolve(ctx context.Context, dir *os.File, aside string, choice Outcome) error {
	if choice != Ours && choice != Theirs {
		return fmt.Errorf("cannot resolve %s to %q: want %s or %s", aside, choice, Ours, Theirs)
	}
	return resolveAside(ctx, dir, aside, settlement{choice: choice}, nil)
}

// ResolveTo is Resolve with a content that is neither: it gets the place of the
// file that won, with that one's owner, mode and attributes, and what was kept
// aside goes. Where the file that won was removed they are those of what was
// kept. Both have to be regular files.
func ResolveTo(ctx context.Context, dir *os.File, aside string, content []byte) error {
	return resolveAside(ctx, dir, aside, settlement{choice: Merged, content: content}, nil)
}

// settlement is what becomes of a conflict: Ours, Theirs, or Merged, which is the content.
type settlement struct {
	choice  Outcome
	content []byte
}

// resolveAside is Resolve with a hook for tests.
func resolveAside(ctx context.Context, dir *os.File, aside string, to settlement, hook func(string) error) error {
	base, _, ok := asideOf(path.Base(aside))
	if !ok || path.Clean("/"+aside) != "/"+aside {
		return fmt.Errorf("%q is not the name of something that a merge kept aside", aside)
	}
	t, err := targetOf(dir)
	if err != nil {
		return err
	}
	defer t.close()
	kept, err := t.node(aside)
	if err == nil && kept == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("cannot resolve %s: %w", aside, err)
	}
	place := join(parent(aside), base)
	stands, err := t.node(place)
	if err != nil {
		return fmt.Errorf("cannot resolve %s: %w", aside, err)
	}
	if to.choice == Merged && (!kept.isFile() || stands != nil && !stands.isFile()) {
		return fmt.Errorf("cannot resolve %s to a content: not both sides are files", aside)
	}
	w := &work{ctx: ctx, target: t, hook: hook}
	err = w.run(func() ([]op, error) {
		s := &stager{ctx: ctx, target: t}
		if err := s.open(); err != nil {
			return nil, err
		}
		switch to.choice {
		case Theirs:
			return dropped(aside, kept, s.slot()), nil
		case Merged:
			return s.written(aside, place, kept, stands, to.content)
		}
		return chosen(aside, place, kept, stands, s.slot()), nil
	})
	if err != nil {
		return fmt.Errorf("cannot resolve %s: %w", aside, err)
	}
	return nil
}

// dropped are the steps that take something away.
func dropped(name string, n *node, slot string) []op {
	return append(bared(name, n), moveOp(name, slot, n.ino))
}

// bared clears what keeps something from being moved.
func bared(name string, n *node) []op {
	if n.flags == 0 {
		return nil
	}
	return []op{adjustOp(name, n.kind, n.ino, n.attrs, n.bare())}
}

// chosen are the steps that put what was kept in the place of what stands there.
func chosen(aside, place string, kept, stands *node, slot string) []op {
	steps := bared(aside, kept)
	bare := kept.bare()
	want, flags := asOriginal(bare), uint64(0)
	if kept.isFile() && stands.isFile() {
		want, flags = stands.bare(), stands.flags
	}
	if attrFacets(&bare, &want) != 0 {
		steps = append(steps, adjustOp(aside, kept.kind, kept.ino, bare, want))
	}
	if stands == nil {
		return append(steps, moveOp(aside, place, kept.ino))
	}
	steps = append(steps, bared(place, stands)...)
	steps = append(steps,
		op{Do: doExchange, From: []byte(aside), To: []byte(place), Ino: kept.ino},
		moveOp(aside, slot, stands.ino))
	if flags != 0 {
		protected := want
		protected.flags = flags
		steps = append(steps, adjustOp(place, kept.kind, kept.ino, want, protected))
	}
	return steps
}

// written are the steps that put a new content in the place of what stands
// there, and take away what was kept.
func (s *stager) written(aside, place string, kept, stands *node, content []byte) ([]op, error) {
	like := stands
	if like == nil {
		original := *kept
		original.attrs = asOriginal(kept.attrs)
		like = &original
	}
	want := like.bare()
	want.xattrs = withoutDigests(want.xattrs)
	at := s.slot()
	err := s.target.with("write", at, func(dir int, base string) error {
		err := newFile(dir, base, func(f *os.File) error {
			_, err := f.Write(content)
			return err
		})
		if err != nil {
			return err
		}
		return dress(dir, base, unix.S_IFREG, undressed(), want)
	})
	if err != nil {
		return nil, err
	}
	ino, err := s.target.inode(at)
	if err != nil {
		return nil, err
	}
	var steps []op
	if stands == nil {
		steps = append(steps, moveOp(at, place, ino))
	} else {
		steps = append(bared(place, stands), op{Do: doExchange, From: []byte(at), To: []byte(place), Ino: ino})
	}
	steps = append(steps, dropped(aside, kept, s.slot())...)
	if like.flags != 0 {
		protected := want
		protected.flags = like.flags
		steps = append(steps, adjustOp(place, unix.S_IFREG, ino, want, protected))
	}
	return steps, nil
}

// asOriginal gives back the mode that asAside took.
func asOriginal(a attrs) attrs {
	mode, err := strconv.ParseUint(a.xattrs[modeNote], 8, 12)
	if err != nil {
		return a
	}
	a.mode = uint32(mode)
	rest := map[string]string{}
	for name, value := range a.xattrs {
		if name != modeNote {
			rest[name] = value
		}
	}
	a.xattrs = rest
	return a
}

// node is what is at a path of the target, nil for nothing.
func (t *target) node(name string) (*node, error) {
	var n *node
	err := t.with("examine", name, func(dir int, base string) error {
		v := &view{name: t.name}
		var err error
		if n, err = v.examine(dir, base); err != nil || n == nil {
			return err
		}
		n.xattrs, err = xattrsAt(dir, base).read(make([]byte, 512))
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return n, err
}

// Original returns the path of the file beside which path was kept, and the
// number of the snapshot whose version it is; ok is false for other names.
func Original(aside string) (original string, number uint64, ok bool) {
	base, number, ok := asideOf(path.Base(aside))
	return path.Join(path.Dir(aside), base), number, ok
}
