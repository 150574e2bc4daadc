// What exists under .snapshots, ours and that of other tools.

package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
)

// Entry is one numbered directory under .snapshots.
type Entry struct {
	Number Number
	// Snapshot is its root; the zero value where there is none.
	Snapshot Subvolume
	// Marker is nil where another tool made it.
	Marker *Marker
	// Damaged says why a marker cannot be read. Such an entry is not touched.
	Damaged error
}

// Numbers lists the numbers that are taken, in order, by whatever. It reads
// one directory and nothing else.
func (s *Store) Numbers() ([]Number, error) {
	if err := s.present(); err != nil {
		return nil, err
	}
	dir, err := os.Open(s.snapshots)
	if err != nil {
		return nil, fmt.Errorf("cannot list snapshots: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("cannot list snapshots: %w", err)
	}
	var numbers []Number
	for _, name := range names {
		if n, ok := parseNumber(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Entries describes all of them, in order, with one list of subvolumes.
func (s *Store) Entries() ([]Entry, error) {
	numbers, err := s.Numbers()
	if err != nil {
		return nil, err
	}
	list, err := s.driver.List(s.snapshots)
	if err != nil {
		return nil, err
	}
	roots := make(map[Number]Subvolume, len(numbers))
	for _, sv := range list {
		if n, ok := s.NumberOf(sv); ok {
			roots[n] = sv
		}
	}
	entries := make([]Entry, 0, len(numbers))
	for _, n := range numbers {
		e := Entry{Number: n, Snapshot: roots[n]}
		if s.mark(&e) {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// Entry describes one. ErrNoSnapshot.
func (s *Store) Entry(n Number) (Entry, error) {
	e := Entry{Number: n}
	var err error
	e.Snapshot, err = s.driver.Info(s.Path(n, RoleSnapshot))
	switch {
	case errors.Is(err, ErrNotSubvolume), errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Entry{}, fmt.Errorf("cannot describe snapshot %d: %w", n, err)
	default:
		// Whatever is mounted there, it has to be the one that lies there.
		if want := path.Join(s.layout.Snapshots.Path, strconv.FormatUint(uint64(n), 10), string(RoleSnapshot)); e.Snapshot.Path != want {
			return Entry{}, fmt.Errorf("cannot describe snapshot %d: %s is at its place", n, e.Snapshot.Path)
		}
	}
	if !s.mark(&e) {
		return Entry{}, fmt.Errorf("snapshot %d: %w", n, ErrNoSnapshot)
	}
	return e, nil
}

// mark reads the marker into e, and reports whether e is there at all.
func (s *Store) mark(e *Entry) bool {
	m, err := s.ReadMarker(e.Number)
	switch {
	case err == nil:
		e.Marker = &m
	case !errors.Is(err, fs.ErrNotExist):
		e.Damaged = err
	default:
		_, err := os.Lstat(s.Dir(e.Number))
		return err == nil
	}
	return true
}
