// Forking a root together with the nested subvolumes that belong to it: btrfs
// snapshots are not recursive.

package snapshot

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
)

// image forks the root sv at src to dst. Nested subvolumes that are named are
// forked with it, others become plain empty directories. It returns what it
// made by role: role and, for the nested ones, role/path.
func (s *Store) image(src string, sv Subvolume, dst string, role Role, readOnly bool) (map[Role]Identity, error) {
	inside, err := s.nestedIn(sv)
	if err != nil {
		return nil, err
	}
	// Nothing can be made in what is sealed: it is sealed last.
	if err := s.driver.Fork(src, dst, readOnly && len(inside) == 0); err != nil {
		return nil, err
	}
	made := []string{""}
	for _, n := range inside {
		if !n.named {
			st, err := statDir(src, n.rel)
			if err != nil {
				return nil, err
			}
			if err := removeStub(dst, n, st); err != nil {
				return nil, err
			}
			continue
		}
		from, err := s.at(src, n)
		if err != nil {
			return nil, err
		}
		if err := removeStub(dst, n, nil); err != nil {
			return nil, err
		}
		if err := s.driver.Fork(from, filepath.Join(dst, n.rel), false); err != nil {
			return nil, err
		}
		made = append(made, n.rel)
	}
	if readOnly && len(inside) > 0 {
		for _, rel := range slices.Backward(made) {
			if err := s.driver.SetReadOnly(filepath.Join(dst, rel), true); err != nil {
				return nil, err
			}
		}
	}
	roles := make(map[Role]Identity, len(made))
	for _, rel := range made {
		found, err := s.driver.Info(filepath.Join(dst, rel))
		if err != nil {
			return nil, err
		}
		roles[Role(filepath.Join(string(role), rel))] = found.Identity()
	}
	return roles, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
