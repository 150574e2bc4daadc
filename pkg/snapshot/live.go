// The image of the running root that a snapshot's /etc was merged with last: the
// ancestor of the next merge.

package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// NextLive forks a root that is or was the running one, as it is now, to
// N/live.new, in the place of what an interrupted merge left there. AdoptLive
// makes it N/live once it is merged. ErrSwapFile, ErrNoSubvolume.
func (s *Store) NextLive(n Number, running Identity) (live Tree, err error) {
	if err := s.DropNextLive(n); err != nil {
		return Tree{}, err
	}
	src, root, release, err := s.Reach(running)
	if err != nil {
		return Tree{}, err
	}
	defer func() { err = errors.Join(err, release()) }()
	next := s.Path(n, RoleLiveNext)
	if _, err := s.image(src, root, next, RoleLiveNext, true); err != nil {
		return Tree{}, fmt.Errorf("cannot hold %s still: %w", root.Path, err)
	}
	sv, err := s.driver.Info(next)
	return Tree{Dir: next, Subvolume: sv}, err
}

// AdoptLive puts N/live.new in the place of N/live. It may be asked again.
func (s *Store) AdoptLive(n Number) error {
	if _, err := os.Lstat(s.Path(n, RoleLiveNext)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := s.dropIfThere(n, RoleLive); err != nil {
		return err
	}
	if err := os.Rename(s.Path(n, RoleLiveNext), s.Path(n, RoleLive)); err != nil {
		return fmt.Errorf("cannot keep what snapshot %d was merged with: %w", n, err)
	}
	return nil
}

// DropNextLive removes N/live.new, where there is one.
func (s *Store) DropNextLive(n Number) error { return s.dropIfThere(n, RoleLiveNext) }

func (s *Store) dropIfThere(n Number, role Role) error {
	if _, err := os.Lstat(s.Path(n, role)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := s.dropImage(n, role); err != nil {
		return fmt.Errorf("cannot remove the %s of snapshot %d: %w", role, n, err)
	}
	return nil
}
