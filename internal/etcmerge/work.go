package etcmerge

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// work is a merge that is being applied.
type work struct {
	ctx        context.Context
	target     *target
	disposable bool
	hook       func(moment string) error // for tests: called before everything that writes
}

// errInterrupted is for tests: stop as a power cut would, without undoing.
var errInterrupted = errors.New("interrupted")

func (w *work) at(moment string) error {
	if w.hook != nil {
		if err := w.hook(moment); err != nil {
			return err
		}
	}
	return w.ctx.Err()
}

// run prepares, performs and cleans up; after an error, all is undone. What
// prepare returns is in order.
func (w *work) run(prepare func() ([]op, error)) error {
	err := w.steps(prepare)
	if errors.Is(err, errInterrupted) || errors.Is(err, ErrUnfinished) {
		return err
	}
	if err == nil {
		// Done: that it could not be cleaned up is the next Recover's business.
		if err := w.at("clear"); err != nil {
			return onlyInterrupted(err)
		}
		return onlyInterrupted(w.clear(stageDone))
	}
	if undone := w.undo(); undone != nil {
		return errors.Join(err, undone)
	}
	if cleared := w.clear(stageDir); cleared != nil {
		return errors.Join(err, cleared)
	}
	return err
}

func onlyInterrupted(err error) error {
	if errors.Is(err, errInterrupted) {
		return err
	}
	return nil
}

func (w *work) steps(prepare func() ([]op, error)) error {
	if err := w.at("prepare"); err != nil {
		return err
	}
	ops, err := prepare()
	if err != nil {
		return err
	}
	if err := w.at("journal"); err != nil {
		return err
	}
	if err := writeJournal(w.target, ops); err != nil {
		return err
	}
	// The content of what is moved into place, and the way back, before the first step.
	if err := w.sync(); err != nil {
		return err
	}
	for i, o := range ops {
		if err := w.at("step " + strconv.Itoa(i)); err != nil {
			return err
		}
		if err := o.do(w.target); err != nil {
			return err
		}
	}
	if err := w.at("done"); err != nil {
		return err
	}
	if err := w.target.rename(stageDir, stageDone, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return errors.Join(err, w.target.rename(stageDone, stageDir, unix.RENAME_NOREPLACE))
	}
	return nil
}

func (w *work) sync() error {
	if w.disposable {
		return nil
	}
	return w.target.sync()
}

// undo brings the target back to what it was, and removes the way back when it has been gone.
func (w *work) undo() error {
	ops, err := readJournal(w.target)
	if err != nil {
		return err
	}
	for _, o := range slices.Backward(ops) {
		if err := o.undo(w.target); err != nil {
			return err
		}
	}
	if err := allBack(w.target, ops); err != nil {
		return err
	}
	if err := w.sync(); err != nil || ops == nil {
		return err
	}
	return w.target.with("remove", journal, func(dir int, base string) error { return unix.Unlinkat(dir, base, 0) })
}

// clear removes the directory of a merge and all that is in it. Directories
// inside are first moved to its top, so that no depth is too deep.
func (w *work) clear(stage string) error {
	t := w.target
	switch err := t.removeFile(stage); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case !errors.Is(err, unix.EISDIR):
		return err
	}
	for count := 0; ; {
		inside, err := t.names(stage)
		if err != nil {
			return err
		}
		for _, name := range inside {
			at := stage + "/" + name
			err := t.removeFile(at)
			if !errors.Is(err, unix.EISDIR) {
				if err != nil {
					return err
				}
				continue
			}
			if err := w.flatten(stage, at, &count); err != nil {
				return err
			}
		}
		if len(inside) == 0 {
			return t.with("remove", stage, func(dir int, base string) error { return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) })
		}
	}
}

// flatten removes a directory: its files at once, its directories are moved up for the next round.
func (w *work) flatten(stage, at string, count *int) error {
	t := w.target
	if err := t.unprotect(at); err != nil {
		return err
	}
	inside, err := t.names(at)
	if err != nil {
		return err
	}
	for _, name := range inside {
		err := t.removeFile(at + "/" + name)
		if errors.Is(err, unix.EISDIR) {
			if err = t.unprotect(at + "/" + name); err == nil {
				err = w.moveUp(stage, at+"/"+name, count)
			}
		}
		if err != nil {
			return err
		}
	}
	return t.with("remove", at, func(dir int, base string) error { return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) })
}

func (w *work) moveUp(stage, from string, count *int) error {
	for {
		*count++
		err := w.target.rename(from, stage+"/up"+strconv.Itoa(*count), unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
}

// removeFile removes what is not a directory; of one it says EISDIR.
func (t *target) removeFile(name string) error {
	err := t.with("remove", name, func(dir int, base string) error { return unix.Unlinkat(dir, base, 0) })
	if errors.Is(err, unix.EPERM) {
		if err := t.unprotect(name); err != nil {
			return err
		}
		err = t.with("remove", name, func(dir int, base string) error { return unix.Unlinkat(dir, base, 0) })
	}
	return err
}

// unprotect clears the flags that keep a file or directory from being removed.
func (t *target) unprotect(name string) error {
	return t.with("unprotect", name, func(dir int, base string) error {
		v := &view{name: t.name}
		n, err := v.examine(dir, base)
		if err != nil || n == nil || n.flags == 0 {
			return err
		}
		return setFlags(dir, base, n.kind, 0)
	})
}

// names lists a directory of the target.
func (t *target) names(name string) ([]string, error) {
	fd, err := openDirAt(t.fd, name)
	if err != nil {
		return nil, t.failed("read", name, err)
	}
	defer unix.Close(fd)
	inside, err := list(fd)
	if err != nil {
		return nil, t.failed("read", name, err)
	}
	return inside, nil
}
