// Making a snapshot: prepared aside under the transaction's uuid, published
// under a number, flushed when the transaction commits.

package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/failpoint"
)

const (
	newPrefix = "new-" // .snapshots/.txupd/new-UUID: being prepared
	delPrefix = "del-" // .snapshots/.txupd/del-UUID: being removed
)

// PrepareRequest says what to make a snapshot of.
type PrepareRequest struct {
	// UUID of the transaction, in the canonical form.
	UUID string
	// Number under which Publish will probably put it: NextNumber.
	Number Number
	// Parent is the root to fork: the mounted one, or one under .snapshots.
	Parent Identity
	// Live is the image of the running root that the snapshot's /etc is merged
	// against, where that is not its base: the parent's, copied. The zero value is none.
	Live Identity
	// LiveAt says where that is.
	LiveAt Number
	// LiveRole is RoleLive, RoleBase or RoleAfter.
	LiveRole Role
	// Info is for snapper's tools.
	Info Info
	// Record goes into the marker.
	Record json.RawMessage
}

// Prepared is what Prepare made.
type Prepared struct {
	// Dir is .snapshots/.txupd/new-UUID.
	Dir string
	// Subvolumes by role: base, snapshot, and what is nested in them.
	Subvolumes map[Role]Identity
}

// NextNumber is above every number that is taken and above.
func (s *Store) NextNumber(above Number) (Number, error) {
	taken, err := s.Numbers()
	if err != nil {
		return 0, err
	}
	if len(taken) > 0 {
		above = max(above, taken[len(taken)-1])
	}
	if above >= math.MaxUint32 {
		return 0, fmt.Errorf("cannot number a snapshot: %d is taken, and the last one that there is", above)
	}
	return above + 1, nil
}

// Prepare makes .snapshots/.txupd/new-UUID with info.xml, the marker, base and
// a writable snapshot. What it returns is durable. When it fails nothing is
// left; ErrSwapFile, *RefusedError, ErrNoSubvolume; fs.ErrExist where the
// transaction has one already.
func (s *Store) Prepare(ctx context.Context, req PrepareRequest) (Prepared, error) {
	if _, err := transaction(req.UUID); err != nil {
		return Prepared{}, err
	}
	src, parent, err := s.reach(req.Parent)
	if err != nil {
		return Prepared{}, err
	}
	if err := s.refusals(src, parent); err != nil {
		return Prepared{}, err
	}
	if err := ctx.Err(); err != nil {
		return Prepared{}, err
	}
	state, err := s.StateDir()
	if err != nil {
		return Prepared{}, err
	}
	p := Prepared{Dir: filepath.Join(state, newPrefix+req.UUID)}
	if err := failpoint.Around("store/mkdir", func() error { return os.Mkdir(p.Dir, 0o755) }); err != nil {
		return Prepared{}, fmt.Errorf("cannot prepare a snapshot: %w", err)
	}
	if err := s.prepare(ctx, &p, src, parent, req); err != nil {
		err = fmt.Errorf("cannot prepare a snapshot of %s: %w", parent.Path, err)
		return Prepared{}, errors.Join(err, s.Remove(RemoveRequest{UUID: req.UUID}))
	}
	return p, nil
}

func (s *Store) prepare(ctx context.Context, p *Prepared, src string, parent Subvolume, req PrepareRequest) error {
	// The files first: the forks make them durable.
	if err := writeInfo(p.Dir, newInfo(req.Number, req.UUID, s.now(), req.Info)); err != nil {
		return err
	}
	marker := Marker{Number: req.Number, UUID: req.UUID, Record: req.Record}
	if err := writeMarker(p.Dir, marker); err != nil {
		return err
	}
	base := filepath.Join(p.Dir, string(RoleBase))
	made, err := s.image(src, parent, base, RoleBase, true)
	if err != nil {
		return err
	}
	p.Subvolumes = made
	if err := ctx.Err(); err != nil {
		return err
	}
	// A fork of the base, not of the parent, which may have changed since.
	from, err := s.driver.Info(base)
	if err != nil {
		return err
	}
	made, err = s.image(base, from, filepath.Join(p.Dir, string(RoleSnapshot)), RoleSnapshot, false)
	maps.Copy(p.Subvolumes, made)
	if err != nil || req.Live == (Identity{}) {
		return err
	}
	live, err := s.driver.Info(s.Path(req.LiveAt, req.LiveRole))
	if err != nil {
		return err
	}
	if live.Identity() != req.Live {
		return fmt.Errorf("the %s of snapshot %d: %w", req.LiveRole, req.LiveAt, ErrForeign)
	}
	made, err = s.image(s.Path(req.LiveAt, req.LiveRole), live, filepath.Join(p.Dir, string(RoleLive)), RoleLive, true)
	maps.Copy(p.Subvolumes, made)
	return err
}

// Publish gives what Prepare made for a transaction a number above every taken
// one and above. The marker and info.xml carry it. The rename is durable with
// the next commit of the file system.
func (s *Store) Publish(uuid string, above Number) (Number, error) {
	if _, err := transaction(uuid); err != nil {
		return 0, err
	}
	dir := filepath.Join(s.state, newPrefix+uuid)
	marker, err := readMarker(dir)
	if err != nil {
		return 0, fmt.Errorf("cannot publish transaction %s: %w", uuid, err)
	}
	for {
		n, err := s.NextNumber(above)
		if err != nil {
			return 0, err
		}
		if marker.Number != n {
			if err := renumber(dir, &marker, n); err != nil {
				return 0, fmt.Errorf("cannot publish transaction %s as %d: %w", uuid, n, err)
			}
		}
		err = failpoint.Around("store/publish", func() error {
			return unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, s.Dir(n), unix.RENAME_NOREPLACE)
		})
		if errors.Is(err, fs.ErrExist) {
			above = n // another tool took it just now
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("cannot publish transaction %s as %d: %w", uuid, n, err)
		}
		return n, nil
	}
}

// Flush makes the snapshot of a transaction durable, with everything that was
// written to it: it forks N/after (anew, if there is one), and seals the
// snapshot where roots are read-only; what is nested in it stays writable. No
// process may have it open for writing. want is the snapshot as Prepare
// returned it; another one is ErrForeign.
func (s *Store) Flush(n Number, want Identity, seal bool) (map[Role]Identity, error) {
	src := s.Path(n, RoleSnapshot)
	sv, err := s.driver.Info(src)
	if err != nil {
		return nil, fmt.Errorf("cannot flush snapshot %d: %w", n, err)
	}
	if sv.Identity() != want {
		return nil, fmt.Errorf("cannot flush snapshot %d: %w: it is subvolume %d, not %d", n, ErrForeign, sv.ID, want.ID)
	}
	after := s.Path(n, RoleAfter)
	if _, err := os.Lstat(after); err == nil {
		if err := s.dropImage(n, RoleAfter); err != nil {
			return nil, fmt.Errorf("cannot flush snapshot %d: %w", n, err)
		}
	}
	// The fork writes out the snapshot's data; sealing alone would not.
	made, err := s.image(src, sv, after, RoleAfter, true)
	if err != nil {
		return nil, fmt.Errorf("cannot flush snapshot %d: %w", n, err)
	}
	if seal {
		if err := s.driver.SetReadOnly(src, true); err != nil {
			return nil, fmt.Errorf("cannot flush snapshot %d: %w", n, err)
		}
	}
	return made, nil
}

// renumber writes another number into what is not published yet.
func renumber(dir string, m *Marker, n Number) error {
	if err := renumberInfo(dir, n); err != nil {
		return err
	}
	m.Number = n
	return writeMarker(dir, *m)
}

// transaction checks a transaction's uuid, which becomes part of a path.
func transaction(uuid string) (UUID, error) {
	u, err := ParseUUID(uuid)
	if err == nil && u.String() != uuid || u.IsZero() {
		err = fmt.Errorf("transaction uuid %q is not of the canonical form", uuid)
	}
	return u, err
}
