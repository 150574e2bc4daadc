// What is kept of a hand-over, until nobody wants to take it back:
//
//	N/shared/<name>%before   a read-only fork of the live tree from before it
//	N/shared/<name>%after    one from right after it

package sharedtree

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/txupd/txupd/pkg/snapshot"
)

// No Name ends like these: what is escaped there is in capital letters.
const (
	flushing = "%flush"
	before   = "%before"
	after    = "%after"
)

// Kept are the forks of one tree around its hand-over at a boot of the snapshot
// whose directory is Dir.
type Kept struct{ Dir, Tree string }

// Before is where the fork from before the hand-over is.
func (k Kept) Before() string { return filepath.Join(k.Dir, forks, Name(k.Tree)+before) }

// After is where the fork from after the hand-over is.
func (k Kept) After() string { return filepath.Join(k.Dir, forks, Name(k.Tree)+after) }

// ForkBefore forks the tree, unless that was done: an interrupted hand-over that
// goes on has changed it since. It reports whether there is a fork, which a tree
// that is no subvolume, or has an active swap file, cannot have.
func (k Kept) ForkBefore(d Driver, t Tree) (bool, error) {
	if !t.Subvolume {
		return false, nil
	}
	if _, err := d.Info(k.Before()); err == nil {
		return true, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return k.fork(d, t, k.Before())
}

// ForkAfter forks the tree as it is now.
func (k Kept) ForkAfter(d Driver, t Tree) error {
	if err := destroy(d, k.After()); err != nil {
		return err
	}
	_, err := k.fork(d, t, k.After())
	return err
}

func (k Kept) fork(d Driver, t Tree, to string) (bool, error) {
	if err := os.Mkdir(filepath.Dir(to), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, fmt.Errorf("cannot fork the shared tree %s: %w", t.Path, err)
	}
	err := d.Fork(t.Dir, to, true)
	if errors.Is(err, snapshot.ErrSwapFile) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot fork the shared tree %s: %w", t.Path, err)
	}
	return true, nil
}

// Remove deletes both forks. What is not there is no error.
func (k Kept) Remove(d Driver) error {
	for _, path := range []string{k.Before(), k.After()} {
		if err := destroy(d, path); err != nil {
			return fmt.Errorf("cannot remove the forks of the shared tree %s: %w", k.Tree, err)
		}
	}
	return nil
}

// RemoveKept deletes the forks of all trees around hand-overs at boots of the
// snapshot whose directory is dir.
func RemoveKept(d Driver, dir string) error {
	return each(filepath.Join(dir, forks), func(path string) error {
		if strings.HasSuffix(path, before) || strings.HasSuffix(path, after) {
			return destroy(d, path)
		}
		return nil
	})
}

// Tidy removes from dir, the directory of a snapshot, what a crash left of
// preparing and flushing captures.
func Tidy(d Driver, dir string) error {
	whole := map[string]bool{}
	err := each(filepath.Join(dir, captures), func(path string) error {
		made, err := isWhole(path)
		switch {
		case err != nil:
			return err
		case made && !strings.HasSuffix(path, flushing):
			whole[filepath.Base(path)] = true
			return nil
		}
		return destroy(d, path)
	})
	if err != nil {
		return fmt.Errorf("cannot tidy what was captured: %w", err)
	}
	err = each(filepath.Join(dir, forks), func(path string) error {
		name := filepath.Base(path)
		if whole[name] || strings.HasSuffix(name, before) || strings.HasSuffix(name, after) {
			return nil
		}
		return destroy(d, path)
	})
	if err != nil {
		return fmt.Errorf("cannot tidy what was captured: %w", err)
	}
	return nil
}

// isWhole reports whether a capture was prepared to its end. What it is about is
// not durable by itself, but with the first flush of what was written to it.
func isWhole(path string) (bool, error) {
	raw, err := os.ReadFile(filepath.Join(path, about))
	if err == nil && json.Valid(raw) {
		return true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	written, err := os.ReadDir(filepath.Join(path, "upper"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return len(written) > 0, nil
}

// RemoveDirectories removes the directories of captures and forks, where they are empty.
func RemoveDirectories(dir string) {
	for _, name := range []string{captures, forks} {
		_ = os.Remove(filepath.Join(dir, name)) // one that holds something stays
	}
}

// Any reports whether dir, the directory of a snapshot, holds captures or forks.
func Any(dir string) bool {
	for _, name := range []string{captures, forks} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// each calls fn with the paths of what is in a directory; one that is missing holds nothing.
func each(dir string, fn func(path string) error) error {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range found {
		err = errors.Join(err, fn(filepath.Join(dir, e.Name())))
	}
	return err
}
