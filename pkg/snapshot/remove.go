// Removing snapshots, and only those: what is checked is checked before the
// first change, and what was begun can be finished later.

package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/failpoint"
)

// RemoveRequest says whose snapshot is to go.
type RemoveRequest struct {
	// UUID of the transaction that made it.
	UUID string
	// Number that it was, or may have been, published under; 0 for none.
	Number Number
	// Subvolumes as recorded. What is at a role's place has to be the recorded one.
	Subvolumes map[Role]Identity
	// Protect are further subvolumes that must stay; the mounted root and the default always do.
	Protect []SubvolumeID
}

// Remove deletes everything that a transaction made here, prepared, published
// or half removed. Nothing there is no error. Before anything is changed it
// refuses what must stay (ErrProtected), what another one made (ErrForeign,
// after removing what this one has elsewhere: an undo may take it for done),
// and what contains subvolumes with content that no transaction made
// (ErrNested). It is durable with the next commit of the file system.
func (s *Store) Remove(req RemoveRequest) error {
	if _, err := transaction(req.UUID); err != nil {
		return err
	}
	if err := s.present(); err != nil {
		return err // nothing there would be taken for nothing left
	}
	dying := filepath.Join(s.state, delPrefix+req.UUID)
	for _, dir := range []string{dying, filepath.Join(s.state, newPrefix+req.UUID)} {
		if err := s.removeDir(dir, "", req); err != nil {
			return fmt.Errorf("cannot remove what transaction %s left: %w", req.UUID, err)
		}
	}
	if req.Number == 0 {
		return nil
	}
	dir := s.Dir(req.Number)
	marker, err := readMarker(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("cannot remove snapshot %d: %w: it has no marker", req.Number, ErrForeign)
	}
	if err != nil {
		return fmt.Errorf("cannot remove snapshot %d: %w", req.Number, err)
	}
	if marker.UUID != req.UUID {
		return fmt.Errorf("cannot remove snapshot %d: %w: transaction %s did", req.Number, ErrForeign, marker.UUID)
	}
	if err := s.removeDir(dir, dying, req); err != nil {
		return fmt.Errorf("cannot remove snapshot %d: %w", req.Number, err)
	}
	return nil
}

// Orphan is a directory under .snapshots/.txupd that a transaction did not
// bring to its end.
type Orphan struct {
	UUID string // of the transaction
	Dir  string
	// Deleting: its removal was begun; else it was never published.
	Deleting bool
}

// Orphans lists them; Remove with their UUID ends them.
func (s *Store) Orphans() ([]Orphan, error) {
	if err := s.present(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look for leftovers: %w", err)
	}
	var orphans []Orphan
	for _, e := range entries {
		uuid, fresh := strings.CutPrefix(e.Name(), newPrefix)
		deleting := false
		if !fresh {
			uuid, deleting = strings.CutPrefix(e.Name(), delPrefix)
		}
		if _, err := transaction(uuid); err != nil || !fresh && !deleting {
			continue
		}
		orphans = append(orphans, Orphan{UUID: uuid, Dir: filepath.Join(s.state, e.Name()), Deleting: deleting})
	}
	return orphans, nil
}

// doomed is a subvolume that is to be deleted, with what is to go before it.
type doomed struct {
	Subvolume
	path   string
	inside []doomed
	// empty: not ours, but nothing is in it. It goes as a directory, which the
	// kernel refuses if that is no longer true.
	empty bool
}

// removeDir deletes a directory of ours with everything in it. Where aside is
// given it takes that name first, so that its number is gone at once.
func (s *Store) removeDir(dir, aside string, req RemoveRequest) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	plan, err := s.plan(dir, req)
	if err != nil {
		return err
	}
	if aside != "" {
		err := failpoint.Around("store/aside", func() error {
			return unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, aside, unix.RENAME_NOREPLACE)
		})
		switch {
		case errors.Is(err, unix.ENOSPC):
			// Deleting needs no space, renaming a lot of it: what is there goes where it is.
		case err != nil:
			return err
		default:
			for i := range plan {
				plan[i].moved(dir, aside)
			}
			dir = aside
		}
	}
	for _, d := range plan {
		if err := s.destroy(d); err != nil {
			return err
		}
	}
	return s.removePlain(dir)
}

func (d *doomed) moved(from, to string) {
	d.path = to + strings.TrimPrefix(d.path, from)
	for i := range d.inside {
		d.inside[i].moved(from, to)
	}
}

// plan finds the subvolumes in a directory of ours, and refuses what has to stay.
func (s *Store) plan(dir string, req RemoveRequest) ([]doomed, error) {
	keep := slices.Clone(req.Protect)
	booted, err := s.Booted()
	if err != nil {
		return nil, err
	}
	next, err := s.driver.Default(s.snapshots)
	if err != nil {
		return nil, err
	}
	p := planner{s: s, dir: dir, recorded: req.Subvolumes, keep: append(keep, booted.ID, next)}
	plan, err := p.directory("")
	if err != nil {
		return nil, err
	}
	if len(p.foreign) > 0 {
		return nil, fmt.Errorf("%w that no transaction made: %s", ErrNested, strings.Join(p.foreign, ", "))
	}
	return plan, nil
}

type planner struct {
	s        *Store
	dir      string
	recorded map[Role]Identity
	keep     []SubvolumeID
	foreign  []string
}

// directory looks through plain directories of ours.
func (p *planner) directory(rel string) ([]doomed, error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, rel))
	if err != nil {
		return nil, err
	}
	var plan []doomed
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		role := path.Join(rel, e.Name())
		at := filepath.Join(p.dir, role)
		sv, err := p.s.driver.Info(at)
		if errors.Is(err, ErrNotSubvolume) {
			below, err := p.directory(role)
			if err != nil {
				return nil, err
			}
			plan = append(plan, below...)
			continue
		}
		if err != nil {
			return nil, err
		}
		if !p.isOurs(Role(role), sv) {
			p.foreign = append(p.foreign, at)
			continue
		}
		d, err := p.subvolume(role, at, sv)
		if err != nil {
			return nil, err
		}
		plan = append(plan, d)
	}
	return plan, nil
}

// isOurs reports whether a subvolume in our directories lies at a place that we use.
func (p *planner) isOurs(role Role, sv Subvolume) bool {
	switch role {
	case RoleSnapshot, RoleBase, RoleAfter, RoleLive, RoleLiveNext:
		return true
	}
	top, _, _ := strings.Cut(string(role), "/")
	return slices.Contains(asideDirs, top) || p.recorded[role] == sv.Identity()
}

// subvolume plans the end of one of ours.
func (p *planner) subvolume(role, at string, sv Subvolume) (doomed, error) {
	d := doomed{Subvolume: sv, path: at}
	if slices.Contains(p.keep, sv.ID) {
		return d, fmt.Errorf("%w: %s (subvolume %d) is running, boots next or is kept", ErrProtected, at, sv.ID)
	}
	if want, ok := p.recorded[Role(role)]; ok && want != sv.Identity() {
		return d, fmt.Errorf("%w: %s is subvolume %d (%s), not %d (%s)", ErrForeign, at, sv.ID, sv.UUID, want.ID, want.UUID)
	}
	inside, err := p.s.driver.Nested(p.s.snapshots, sv.ID)
	if err != nil {
		return d, err
	}
	for _, child := range inside {
		rel, _ := below(child.Path, sv.Path)
		n := nested{Subvolume: child, rel: rel}
		seen, err := p.s.at(at, n)
		if err != nil {
			return d, err
		}
		childRole := path.Join(role, rel)
		_, inRoot, _ := strings.Cut(childRole, "/")
		if p.s.isNamed(inRoot) || p.recorded[Role(childRole)] == child.Identity() {
			below, err := p.subvolume(childRole, seen, child)
			if err != nil {
				return d, err
			}
			d.inside = append(d.inside, below)
			continue
		}
		empty, err := isEmpty(at, rel)
		if err != nil {
			return d, err
		}
		if !empty {
			p.foreign = append(p.foreign, seen)
			continue
		}
		d.inside = append(d.inside, doomed{Subvolume: child, path: seen, empty: true})
	}
	return d, nil
}

// destroy deletes from the inside out, after unsealing from the outside in.
func (s *Store) destroy(d doomed) error {
	if d.empty {
		parent, err := openDir(filepath.Dir(d.path), ".")
		if err != nil {
			return err
		}
		defer parent.Close()
		if err := unix.Unlinkat(int(parent.Fd()), filepath.Base(d.path), unix.AT_REMOVEDIR); err != nil {
			return fmt.Errorf("cannot remove the empty subvolume %s: %w", d.path, err)
		}
		return nil
	}
	if d.ReadOnly && len(d.inside) > 0 {
		if err := s.driver.SetReadOnly(d.path, false); err != nil {
			return err
		}
	}
	for _, inside := range d.inside {
		if err := s.destroy(inside); err != nil {
			return err
		}
	}
	return s.driver.Delete(d.path, d.ID)
}

// removePlain removes a directory that holds no subvolume any more. The marker
// goes last: with it a removal that was interrupted can go on.
func (s *Store) removePlain(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int {
		return cmp.Compare(markerLast(a), markerLast(b))
	})
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		if !e.IsDir() {
			if err := os.Remove(at); err != nil {
				return err
			}
			continue
		}
		if _, err := s.driver.Info(at); err == nil {
			return fmt.Errorf("%w: %s appeared meanwhile", ErrNested, at)
		}
		if err := s.removePlain(at); err != nil {
			return err
		}
	}
	return failpoint.Around("store/rmdir", func() error { return os.Remove(dir) })
}

func markerLast(e fs.DirEntry) int {
	if e.Name() == markerName {
		return 1
	}
	return 0
}

// dropImage deletes one image of snapshot n.
func (s *Store) dropImage(n Number, role Role) error {
	p := planner{s: s, dir: s.Dir(n)}
	at := s.Path(n, role)
	sv, err := s.driver.Info(at)
	if err != nil {
		return err
	}
	d, err := p.subvolume(string(role), at, sv)
	if err != nil {
		return err
	}
	if len(p.foreign) > 0 {
		return fmt.Errorf("%w that no transaction made: %s", ErrNested, strings.Join(p.foreign, ", "))
	}
	return s.destroy(d)
}
