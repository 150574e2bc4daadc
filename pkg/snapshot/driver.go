// What the store needs of a btrfs file system. internal/btrfs implements it
// with ioctls, snapshottest has a fake; both pass the same contract suite.

package snapshot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// SubvolumeID is the object id of a subvolume's tree; 5 is the top level.
type SubvolumeID uint64

// TopLevel is the subvolume that holds all others.
const TopLevel SubvolumeID = 5

// Number is the number of a snapshot and of the transaction that made it. 0
// is an adopted root that does not live under .snapshots.
type Number uint64

// UUID is a btrfs subvolume's uuid. The zero value means "none".
type UUID [16]byte

// IsZero reports whether u is "none".
func (u UUID) IsZero() bool { return u == UUID{} }

// String is the canonical form, 8-4-4-4-12 lower-case digits, and "" for none.
func (u UUID) String() string {
	if u.IsZero() {
		return ""
	}
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ParseUUID reads the canonical form; "" is the zero UUID.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if s == "" {
		return u, nil
	}
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return UUID{}, fmt.Errorf("uuid %q is not of the form 8-4-4-4-12", s)
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
		return UUID{}, fmt.Errorf("uuid %q holds something else than hexadecimal digits", s)
	}
	return u, nil
}

// Subvolume is what the file system says of one subvolume.
type Subvolume struct {
	ID     SubvolumeID
	Parent SubvolumeID // the subvolume that contains it, 0 for the top level
	UUID   UUID
	// ParentUUID names the subvolume that this one was forked from.
	ParentUUID UUID
	// ReceivedUUID is set where `btrfs receive` made it: such a one must not be made writable.
	ReceivedUUID UUID
	// Generation is the one of its last change, Origin the one of its creation.
	Generation, Origin uint64
	ReadOnly           bool
	Created            time.Time
	// Path is relative to the top level ("@/.snapshots/1/snapshot"), "" for the top level itself.
	Path string
}

// Usage is the space of a file system in bytes.
type Usage struct {
	// Free is in block groups of the kind, without what metadata keeps in reserve.
	DataFree, DataTotal         uint64
	MetadataFree, MetadataTotal uint64
	// Unallocated is on the devices and in no block group yet, for either kind.
	Unallocated uint64
	// DataCopies and MetadataCopies are how often the profiles write everything:
	// unallocated space is used up as many times as fast. 0 counts as 1.
	DataCopies, MetadataCopies uint64
}

// Data is how many bytes of files could be written.
func (u Usage) Data() uint64 { return u.DataFree + u.Unallocated/max(u.DataCopies, 1) }

// Metadata is how many bytes of metadata could be written.
func (u Usage) Metadata() uint64 { return u.MetadataFree + u.Unallocated/max(u.MetadataCopies, 1) }

// Errors of a Driver. Implementations wrap them.
var (
	// ErrNotSubvolume: the path is not the root directory of a subvolume, or not on btrfs.
	ErrNotSubvolume = errors.New("not a btrfs subvolume")
	// ErrNotBtrfs: the path is not on a btrfs file system.
	ErrNotBtrfs = errors.New("not a btrfs file system")
	// ErrSwapFile: an active swap file keeps the subvolume from being forked (ETXTBSY).
	ErrSwapFile = errors.New("an active swap file keeps it from being forked")
	// ErrDefault: the kernel refuses to delete the default subvolume.
	ErrDefault = errors.New("it is the default subvolume")
	// ErrNested: the subvolume holds others, so deleting it would lose them.
	ErrNested = errors.New("it contains other subvolumes")
	// ErrNoSubvolume: no subvolume with that id.
	ErrNoSubvolume = errors.New("no such subvolume")
)

// Driver works on one btrfs file system. Paths are absolute and clean; where
// a path only names the file system, any path on it will do.
type Driver interface {
	// Info describes the subvolume whose root directory path is. It costs the
	// same however many subvolumes there are. ErrNotBtrfs, ErrNotSubvolume.
	Info(path string) (Subvolume, error)
	// ByID describes a subvolume of path's file system. ErrNoSubvolume.
	ByID(path string, id SubvolumeID) (Subvolume, error)
	// List returns every subvolume of path's file system but the top level, by id.
	List(path string) ([]Subvolume, error)
	// Nested returns the subvolumes that subvolume id contains itself, by id. It
	// costs what they are, not how many others there are. ErrNoSubvolume.
	Nested(path string, id SubvolumeID) ([]Subvolume, error)
	// Create makes an empty subvolume. An existing path is fs.ErrExist.
	Create(path string) error
	// Fork makes dst a snapshot of the subvolume at src, and commits the file
	// system by doing so: what was written to src before is in dst, durably. Of
	// other subvolumes it commits names, but no data that was not written out
	// yet. ErrSwapFile, fs.ErrExist.
	Fork(src, dst string, readOnly bool) error
	// Delete removes the subvolume at path if its id is want, and never
	// descends into another: ErrNested when it contains one, ErrDefault when it
	// boots next, ErrNoSubvolume when another id is found there.
	Delete(path string, want SubvolumeID) error
	// SetReadOnly seals or unseals. Unsealing a received subvolume is refused.
	// It writes no data out: a sealed file can still be lost to a power cut.
	SetReadOnly(path string, readOnly bool) error
	// Default reads which subvolume is mounted when none is named.
	Default(path string) (SubvolumeID, error)
	// SetDefault changes it; not durable before Sync.
	SetDefault(path string, id SubvolumeID) error
	// Sync commits the file system (START_SYNC and WAIT_SYNC): subvolumes, the
	// default, names and whatever was written out are durable. It writes no data
	// of files out; that takes fsync, or a fork of what they are in.
	Sync(path string) error
	// Usage reports free space.
	Usage(path string) (Usage, error)
	// MountTop mounts the top level of path's file system aside, for this process and
	// those that share its mounts, until release is called.
	MountTop(path string) (dir string, release func() error, err error)
}
