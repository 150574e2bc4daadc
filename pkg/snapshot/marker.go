// The marker, N/record.json: it says which transaction made the snapshot, and
// carries the transaction's record for a journal that has to be rebuilt.

package snapshot

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	markerName    = "record.json"
	markerVersion = 1
	// maxMarker is far above any record; a larger file is not one of ours.
	maxMarker = 64 << 20
)

// Identity tells a subvolume from every other, also from a later one at the
// same path: both must match.
type Identity struct {
	ID   SubvolumeID `json:"id"`
	UUID UUID        `json:"uuid"`
}

// Identity of the subvolume.
func (sv Subvolume) Identity() Identity { return Identity{sv.ID, sv.UUID} }

// Marker is the content of N/record.json. Fields are only ever added.
type Marker struct {
	Version int `json:"version"`
	// Number is the one that it was published under.
	Number Number `json:"number"`
	// UUID is the transaction's.
	UUID string `json:"uuid"`
	// Subvolumes by role, as far as they were known when it was written.
	Subvolumes map[Role]Identity `json:"subvolumes,omitempty"`
	// Record is the journal's record of the transaction.
	Record json.RawMessage `json:"record,omitempty"`
}

// MarshalText writes the canonical form, so that JSON has it.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads the canonical form.
func (u *UUID) UnmarshalText(text []byte) error {
	parsed, err := ParseUUID(string(text))
	if err == nil {
		*u = parsed
	}
	return err
}

// ReadMarker reads the marker of snapshot n; fs.ErrNotExist where there is none.
func (s *Store) ReadMarker(n Number) (Marker, error) { return readMarker(s.Dir(n)) }

// WriteMarker replaces the marker of snapshot n, which has to be of the same
// transaction (else ErrForeign). Readers and power cuts find the old one or
// the new one; the new one is durable with the next commit of the file system:
// Fork, Flush, SetDefault or Sync.
func (s *Store) WriteMarker(n Number, m Marker) error {
	old, err := s.ReadMarker(n)
	if err != nil {
		return err
	}
	if old.UUID != m.UUID {
		return fmt.Errorf("cannot write the marker of snapshot %d: %w: transaction %s did", n, ErrForeign, old.UUID)
	}
	m.Number = n
	return writeMarker(s.Dir(n), m)
}

func readMarker(dir string) (Marker, error) {
	path := filepath.Join(dir, markerName)
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Marker{}, fmt.Errorf("cannot read the marker: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxMarker+1))
	if err != nil {
		return Marker{}, fmt.Errorf("cannot read the marker: %w", err)
	}
	var m Marker
	if len(data) > maxMarker {
		return Marker{}, fmt.Errorf("cannot read the marker %s: it is larger than %d bytes", path, maxMarker)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return Marker{}, fmt.Errorf("cannot read the marker %s: %w", path, err)
	}
	if m.Version < 1 || m.UUID == "" {
		return Marker{}, fmt.Errorf("cannot read the marker %s: it has no version or no transaction", path)
	}
	return m, nil
}

func writeMarker(dir string, m Marker) error {
	m.Version = markerVersion
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("cannot write the marker of transaction %s: %w", m.UUID, err)
	}
	return replaceFile(filepath.Join(dir, markerName), append(data, '\n'), 0o600)
}
