// What a fork of a root would leave behind, looked for before anything is made.

package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/swapfile"
)

// RefusedError says what keeps a root from being forked.
type RefusedError struct {
	Root string
	// Nested are subvolumes in the root whose content the fork would lack, as paths in the root.
	Nested []string
	// SwapFiles are active swap files in the root, as paths in the root.
	SwapFiles []string
}

func (e *RefusedError) Error() string {
	var parts []string
	if len(e.Nested) > 0 {
		parts = append(parts, "subvolumes inside of it would be left behind: "+strings.Join(e.Nested, ", "))
	}
	if len(e.SwapFiles) > 0 {
		parts = append(parts, "swap files inside of it are in use: "+strings.Join(e.SwapFiles, ", "))
	}
	return fmt.Sprintf("cannot fork %s: %s", e.Root, strings.Join(parts, "; "))
}

// Is makes errors.Is(err, ErrSwapFile) and ErrNested work.
func (e *RefusedError) Is(target error) bool {
	return target == ErrSwapFile && len(e.SwapFiles) > 0 || target == ErrNested && len(e.Nested) > 0
}

// Remedy says the way out, a line for each kind.
func (e *RefusedError) Remedy() string {
	var lines []string
	if len(e.Nested) > 0 {
		lines = append(lines, "move each subvolume out of the root to one that fstab mounts there, or name it as nested in the configuration so that it is forked with the root")
	}
	for _, file := range e.SwapFiles {
		lines = append(lines, "swapoff "+shellWord(file)+", and keep swap on a partition or in a subvolume of its own outside of the root")
	}
	return strings.Join(lines, "\n")
}

// disposable are directories whose content no one keeps: systemd-tmpfiles
// makes subvolumes of them where it finds none.
var disposable = []string{"tmp", "var/tmp"}

// Refusals reports, as a *RefusedError, what a fork of parent would leave
// behind: nested subvolumes that are not named and hold anything, and active
// swap files. It costs what the root contains, not how many snapshots there are.
func (s *Store) Refusals(parent Identity) error {
	dir, sv, err := s.reach(parent)
	if err != nil {
		return err
	}
	return s.refusals(dir, sv)
}

func (s *Store) refusals(dir string, sv Subvolume) error {
	inside, err := s.nestedIn(sv)
	if err != nil {
		return err
	}
	refused := &RefusedError{Root: sv.Path}
	if sv.Path == "" {
		refused.Root = "the top level"
	}
	for _, n := range inside {
		harmless, err := s.isHarmless(dir, n)
		if err != nil {
			return err
		}
		if !harmless {
			refused.Nested = append(refused.Nested, "/"+n.rel)
		}
	}
	refused.SwapFiles, err = s.swapFiles(dir)
	if err != nil {
		return err
	}
	if len(refused.Nested)+len(refused.SwapFiles) > 0 {
		return refused
	}
	return nil
}

// isHarmless reports whether a fork may go without n.
func (s *Store) isHarmless(dir string, n nested) (bool, error) {
	if n.named || n.ID == s.layout.Snapshots.ID || slices.Contains(disposable, n.rel) {
		return true, nil
	}
	if _, err := s.at(dir, n); err != nil {
		return false, nil // what cannot be seen is not known to be empty
	}
	return isEmpty(dir, n.rel)
}

// swapFiles lists the active swap files in the subvolume at dir, as paths in it.
func (s *Store) swapFiles(dir string) ([]string, error) {
	active, err := swapfile.Active(filepath.Join(s.proc, "swaps"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without swap
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look for swap files: %w", err)
	}
	var root unix.Stat_t
	if err := unix.Lstat(dir, &root); err != nil {
		return nil, fmt.Errorf("cannot look for swap files: %w", err)
	}
	var found []string
	for _, name := range active {
		var st unix.Stat_t
		// Every subvolume has a device number of its own.
		if unix.Lstat(name, &st) == nil && st.Dev == root.Dev {
			if rel, ok := strings.CutPrefix(name, s.layout.RootDir+"/"); ok {
				name = "/" + rel
			}
			found = append(found, name)
		}
	}
	return found, nil
}
