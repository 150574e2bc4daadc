// Between the rooms: identities of subvolumes as records, the store and
// callers have them, and which kind of failure an error of a lower room is.

package update

import (
	"errors"
	"fmt"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

func recorded(made map[snapshot.Role]snapshot.Identity) map[string]record.Subvolume {
	m := make(map[string]record.Subvolume, len(made))
	for role, id := range made {
		m[string(role)] = record.Subvolume{ID: uint64(id.ID), UUID: id.UUID.String()}
	}
	return m
}

func identities(rec map[string]record.Subvolume) (map[snapshot.Role]snapshot.Identity, error) {
	m := make(map[snapshot.Role]snapshot.Identity, len(rec))
	for role, s := range rec {
		uuid, err := snapshot.ParseUUID(s.UUID)
		if err != nil {
			return nil, fmt.Errorf("the record of subvolume %d (%s): %w", s.ID, role, err)
		}
		m[snapshot.Role(role)] = snapshot.Identity{ID: snapshot.SubvolumeID(s.ID), UUID: uuid}
	}
	return m, nil
}

// rootOfRecord is the identity of the snapshot's root, the zero one where the record has none.
func rootOfRecord(rec record.Record) snapshot.Identity {
	all, err := identities(rec.Subvolumes)
	if err != nil {
		return snapshot.Identity{}
	}
	return all[snapshot.RoleSnapshot]
}

// classify gives an error of a lower room its kind; one that has a kind keeps it.
func classify(err error) error {
	var refused *snapshot.RefusedError
	switch {
	case err == nil || fault.Name(err) != fault.Name(fault.ErrFailed):
		return err
	case errors.As(err, &refused):
		return fmt.Errorf("%w: %w; %s", fault.ErrNotSupported, err, refused.Remedy())
	case errors.Is(err, snapshot.ErrSwapFile):
		return fmt.Errorf("%w: %w", fault.ErrNotSupported, err)
	case errors.Is(err, snapshot.ErrProtected):
		return fmt.Errorf("%w: %w", fault.ErrProtected, err)
	}
	return err
}
