// What a transaction's snapshot consists of, as the file system has it.

package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

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
	return made, nil
}

// Locate finds the directory of a root: the mounted one or one under .snapshots.
func (s *Store) Locate(id Identity) (string, error) {
	dir, _, err := s.reach(id)
	return dir, err
}
