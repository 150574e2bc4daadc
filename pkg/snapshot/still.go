// A root held still for a moment, to be read.

package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Still forks a root as it is now, with the subvolumes that belong to it, aside
// and read-only: it can be compared like an image, whatever is written to the
// root meanwhile. uuid is one that no transaction has; release removes what was
// made, and so does Remove with it after a crash (see Orphans). ErrSwapFile,
// ErrNoSubvolume.
func (s *Store) Still(of Identity, uuid string) (still Tree, release func() error, err error) {
	if _, err := transaction(uuid); err != nil {
		return Tree{}, nil, err
	}
	src, root, err := s.reach(of)
	if err != nil {
		return Tree{}, nil, err
	}
	state, err := s.StateDir()
	if err != nil {
		return Tree{}, nil, err
	}
	dir := filepath.Join(state, newPrefix+uuid)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return Tree{}, nil, fmt.Errorf("cannot hold %s still: %w", root.Path, err)
	}
	release = func() error { return s.Remove(RemoveRequest{UUID: uuid}) }
	still.Dir = filepath.Join(dir, string(RoleBase))
	if _, err = s.image(src, root, still.Dir, RoleBase, true); err == nil {
		still.Subvolume, err = s.driver.Info(still.Dir)
	}
	if err != nil {
		return Tree{}, nil, errors.Join(fmt.Errorf("cannot hold %s still: %w", root.Path, err), release())
	}
	return still, release, nil
}
