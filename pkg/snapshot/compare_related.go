// Which subvolumes have a common ancestor, and since when they differ.

package snapshot

import (
	"fmt"
	"math"
)

// Related reports whether a and b go back to a common ancestor, and the first
// generation in which one of them may differ from the other: every tree block
// that they do not share is at least that new. all are the subvolumes of the
// file system. An ancestor that is missing there still relates two that were
// forked from it, because both carry its uuid; what that one was forked from is
// lost. For one and the same subvolume the generation is math.MaxUint64.
//
// A fork made in transaction T holds what its source was when T ended, so
// differences come later. T itself is counted still: another fork of the same
// transaction may have put its entry into the source's directory after ours.
func Related(a, b Subvolume, all []Subvolume) (generation uint64, ok bool) {
	if a.ID == b.ID && a.UUID == b.UUID {
		return math.MaxUint64, true
	}
	byUUID := make(map[UUID]Subvolume, len(all))
	for _, s := range all {
		byUUID[s.UUID] = s
	}
	left := branches(a, byUUID)
	right := branches(b, byUUID)
	// The nearest common ancestor gives the latest generation.
	for uuid, ours := range left {
		if theirs, shared := right[uuid]; shared {
			generation, ok = max(generation, min(ours, theirs)), true
		}
	}
	return generation, ok
}

// branches gives, for s and each of its ancestors, the generation in which the
// line that leads to s left it; s itself it has not left.
func branches(s Subvolume, byUUID map[UUID]Subvolume) map[UUID]uint64 {
	left := map[UUID]uint64{}
	leaving := uint64(math.MaxUint64)
	for uuid := s.UUID; !uuid.IsZero(); {
		if _, seen := left[uuid]; seen {
			break
		}
		left[uuid] = leaving
		if uuid != s.UUID {
			ancestor, known := byUUID[uuid]
			if !known {
				break
			}
			s = ancestor
		}
		leaving, uuid = s.Origin, s.ParentUUID
	}
	return left
}

// nestedAt is where a nested subvolume lies: a directory of the outer tree and a name in it.
type nestedAt struct {
	directory uint64
	name      string
}

// roots is what the root tree says of all subvolumes.
type roots struct {
	all    []Subvolume // with those that are deleted and not cleaned up yet, but without paths
	byID   map[SubvolumeID]Subvolume
	nested map[SubvolumeID]map[nestedAt]SubvolumeID
}

// readRoots reads the root tree of the file system that dir is on.
func readRoots(s Searcher, dir int) (*roots, error) {
	r := &roots{byID: map[SubvolumeID]Subvolume{}, nested: map[SubvolumeID]map[nestedAt]SubvolumeID{}}
	key := SearchKey{
		Tree:      rootTree,
		MinObject: uint64(TopLevel), MaxObject: lastFreeObject,
		MinType: rootItemKey, MaxType: rootRefKey,
		MaxOffset: math.MaxUint64,
	}
	err := s.Search(dir, key, func(item SearchItem) error {
		if item.Object != uint64(TopLevel) && item.Object < firstFreeObject {
			return nil
		}
		switch item.Type {
		case rootItemKey:
			found, err := ParseRoot(item)
			if err != nil {
				return err
			}
			r.all = append(r.all, found)
			r.byID[found.ID] = found
		case rootRefKey:
			directory, name, err := ParseRootRef(item)
			if err != nil {
				return err
			}
			outer := SubvolumeID(item.Object)
			if r.nested[outer] == nil {
				r.nested[outer] = map[nestedAt]SubvolumeID{}
			}
			r.nested[outer][nestedAt{directory, name}] = SubvolumeID(item.Offset)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the subvolumes: %w", err)
	}
	return r, nil
}

// find returns what the root tree says of s, which has to be the same subvolume still.
func (r *roots) find(s Subvolume) (Subvolume, error) {
	found, ok := r.byID[s.ID]
	if !ok {
		return Subvolume{}, fmt.Errorf("cannot compare subvolume %d: %w", s.ID, ErrNoSubvolume)
	}
	if found.UUID != s.UUID {
		return Subvolume{}, fmt.Errorf("cannot compare subvolume %d: its uuid is %q now, not %q: %w", s.ID, found.UUID, s.UUID, ErrNoSubvolume)
	}
	return found, nil
}
