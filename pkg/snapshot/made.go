// What a transaction's snapshot consists of, as the file system has it.

package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// asideDirs are plain directories of a snapshot that hold further subvolumes:
// what was captured of shared trees, and forks of those.
var asideDirs = []string{"capture", "shared"}

// Made lists the subvolumes of snapshot n by role, the nested ones with them.
func (s *Store) Made(n Number) (map[Role]Identity, error) {
	made := map[Role]Identity{}
	for _, role := range []Role{RoleSnapshot, RoleBase, RoleAfter, RoleLive, RoleLiveNext} {
		dir := s.Path(n, role)
		root, err := s.driver.Info(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot tell what snapshot %d is made of: %w", n, err)
		}
		made[role] = root.Identity()
		inside, err := s.nestedIn(root)
		if err != nil {
			return nil, err
		}
		for _, in := range inside {
			if !in.named {
				continue
			}
			sub, err := s.driver.Info(filepath.Join(dir, in.rel))
			if err != nil {
				return nil, fmt.Errorf("cannot tell what snapshot %d is made of: %w", n, err)
			}
			made[Role(filepath.Join(string(role), in.rel))] = sub.Identity()
		}
	}
	for _, dir := range asideDirs {
		if err := s.madeAside(n, dir, made); err != nil {
			return nil, fmt.Errorf("cannot tell what snapshot %d is made of: %w", n, err)
		}
	}
	return made, nil
}

// madeAside adds the subvolumes in a plain directory of snapshot n, if there is one.
func (s *Store) madeAside(n Number, dir string, made map[Role]Identity) error {
	entries, err := os.ReadDir(filepath.Join(s.Dir(n), dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		role := Role(path.Join(dir, e.Name()))
		sv, err := s.driver.Info(s.Path(n, role))
		if errors.Is(err, ErrNotSubvolume) {
			continue
		}
		if err != nil {
			return err
		}
		made[role] = sv.Identity()
	}
	return nil
}

// Locate finds the directory of a root: the mounted one or one under .snapshots.
func (s *Store) Locate(id Identity) (string, error) {
	dir, _, err := s.reach(id)
	return dir, err
}
