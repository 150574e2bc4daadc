// Package snapshottest has what tests of snapshots need: a driver on plain
// directories, and the contract suites that it and a real file system pass.
package snapshottest

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

// Fake is a Driver on plain directories that behaves as btrfs does: forks are
// not recursive and leave empty directories for nested subvolumes, ids are
// never used again, nothing can be forked into or deleted from a sealed
// subvolume, the default one cannot be deleted. It cannot keep anybody from
// writing files into a sealed one. Subvolumes are known by their inode, so that
// they may be renamed.
type Fake struct {
	// Top is the directory of the top level.
	Top string
	// SwapFile, if not empty, is a path below which forking fails as it does
	// with an active swap file.
	SwapFile string

	mu         sync.Mutex
	next       snapshot.SubvolumeID
	generation uint64
	fallback   snapshot.SubvolumeID
	known      map[birth]*snapshot.Subvolume // Path and Parent are computed
}

var _ snapshot.Driver = (*Fake)(nil)

// NewFake makes an empty file system.
func NewFake(t testing.TB) *Fake {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &Fake{Top: top, next: 256, fallback: snapshot.TopLevel, known: map[birth]*snapshot.Subvolume{}}
	if err := f.adopt(top, snapshot.Subvolume{ID: snapshot.TopLevel, UUID: newUUID()}); err != nil {
		t.Fatal(err)
	}
	return f
}

// Info implements snapshot.Driver.
func (f *Fake) Info(path string) (snapshot.Subvolume, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.info(path)
}

func (f *Fake) info(path string) (snapshot.Subvolume, error) {
	if !f.contains(path) {
		return snapshot.Subvolume{}, fmt.Errorf("cannot describe %s: %w", path, snapshot.ErrNotBtrfs)
	}
	if err := noLinks(path); err != nil {
		return snapshot.Subvolume{}, err
	}
	return f.describe(path)
}

func (f *Fake) describe(path string) (snapshot.Subvolume, error) {
	born, err := birthOf(path)
	if err != nil {
		return snapshot.Subvolume{}, fmt.Errorf("cannot describe %s: %w", path, err)
	}
	sv, ok := f.known[born]
	if !ok {
		return snapshot.Subvolume{}, fmt.Errorf("cannot describe %s: %w", path, snapshot.ErrNotSubvolume)
	}
	found := *sv
	found.Path = strings.TrimPrefix(strings.TrimPrefix(path, f.Top), "/")
	if found.ID != snapshot.TopLevel {
		found.Parent = f.containing(filepath.Dir(path)).ID
	}
	return found, nil
}

// ByID implements snapshot.Driver.
func (f *Fake) ByID(path string, id snapshot.SubvolumeID) (snapshot.Subvolume, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, err := f.list(path)
	if err != nil {
		return snapshot.Subvolume{}, err
	}
	for _, sv := range all {
		if sv.ID == id {
			return sv, nil
		}
	}
	return snapshot.Subvolume{}, fmt.Errorf("cannot describe subvolume %d: %w", id, snapshot.ErrNoSubvolume)
}

// List implements snapshot.Driver.
func (f *Fake) List(path string) ([]snapshot.Subvolume, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, err := f.list(path)
	return slices.DeleteFunc(all, func(sv snapshot.Subvolume) bool { return sv.ID == snapshot.TopLevel }), err
}

// Nested implements snapshot.Driver.
func (f *Fake) Nested(path string, id snapshot.SubvolumeID) ([]snapshot.Subvolume, error) {
	if _, err := f.ByID(path, id); err != nil {
		return nil, err
	}
	all, err := f.List(path)
	return slices.DeleteFunc(all, func(sv snapshot.Subvolume) bool { return sv.Parent != id }), err
}

// list walks the directories and finds the ones that are known.
func (f *Fake) list(path string) ([]snapshot.Subvolume, error) {
	if !f.contains(path) {
		return nil, fmt.Errorf("cannot list the subvolumes of %s: %w", path, snapshot.ErrNotBtrfs)
	}
	var all []snapshot.Subvolume
	err := filepath.WalkDir(f.Top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if sv, err := f.describe(path); err == nil {
			all = append(all, sv)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b snapshot.Subvolume) int { return cmp.Compare(a.ID, b.ID) })
	return all, err
}

// Create implements snapshot.Driver.
func (f *Fake) Create(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.make(path, snapshot.Subvolume{})
}

// Fork implements snapshot.Driver.
func (f *Fake) Fork(src, dst string, readOnly bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, err := f.info(src)
	if err != nil {
		return err
	}
	if f.SwapFile != "" && strings.HasPrefix(f.SwapFile, src+"/") {
		return fmt.Errorf("cannot fork %s: %w", src, snapshot.ErrSwapFile)
	}
	sv := snapshot.Subvolume{ParentUUID: from.UUID}
	if readOnly {
		sv.ReceivedUUID = from.ReceivedUUID
	}
	if err := f.make(dst, sv); err != nil {
		return err
	}
	if err := f.copy(src, dst); err != nil {
		return fmt.Errorf("cannot fork %s to %s: %w", src, dst, err)
	}
	born, err := birthOf(dst)
	if err == nil {
		f.known[born].ReadOnly = readOnly
	}
	return err
}

// Delete implements snapshot.Driver.
func (f *Fake) Delete(path string, want snapshot.SubvolumeID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	sv, err := f.info(path)
	if err != nil {
		return err
	}
	if sv.ID != want {
		return fmt.Errorf("cannot delete subvolume %d: %w: %s is %d", want, snapshot.ErrNoSubvolume, path, sv.ID)
	}
	if sv.ID == f.fallback {
		return fmt.Errorf("cannot delete subvolume %s: %w", path, snapshot.ErrDefault)
	}
	if f.containing(filepath.Dir(path)).ReadOnly {
		return fmt.Errorf("cannot delete subvolume %s: %w", path, unix.EROFS)
	}
	all, err := f.list(path)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.Parent == sv.ID {
			return fmt.Errorf("cannot delete subvolume %s: %w", path, snapshot.ErrNested)
		}
	}
	born, err := birthOf(path)
	if err != nil {
		return err
	}
	delete(f.known, born)
	return os.RemoveAll(path)
}

// SetReadOnly implements snapshot.Driver.
func (f *Fake) SetReadOnly(path string, readOnly bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	sv, err := f.info(path)
	if err != nil {
		return err
	}
	if !readOnly && sv.ReadOnly && !sv.ReceivedUUID.IsZero() {
		return fmt.Errorf("cannot unseal %s: it was received", path)
	}
	born, err := birthOf(path)
	if err == nil {
		f.known[born].ReadOnly = readOnly
	}
	return err
}

// Default implements snapshot.Driver.
func (f *Fake) Default(path string) (snapshot.SubvolumeID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.contains(path) {
		return 0, fmt.Errorf("cannot read the default subvolume of %s: %w", path, snapshot.ErrNotBtrfs)
	}
	return f.fallback, nil
}

// SetDefault implements snapshot.Driver.
func (f *Fake) SetDefault(path string, id snapshot.SubvolumeID) error {
	if _, err := f.ByID(path, id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fallback = id
	return nil
}

// Sync implements snapshot.Driver.
func (f *Fake) Sync(path string) error {
	_, err := f.Default(path)
	return err
}

// Usage implements snapshot.Driver with a file system that is half full.
func (f *Fake) Usage(path string) (snapshot.Usage, error) {
	const gib = 1 << 30
	_, err := f.Default(path)
	return snapshot.Usage{DataFree: 5 * gib, DataTotal: 10 * gib, MetadataFree: gib, MetadataTotal: 2 * gib, Unallocated: gib}, err
}

// MountTop implements snapshot.Driver: here it is a directory as any other.
func (f *Fake) MountTop(path string) (dir string, release func() error, err error) {
	_, err = f.Default(path)
	return f.Top, func() error { return nil }, err
}

// make makes an empty subvolume at path.
func (f *Fake) make(path string, sv snapshot.Subvolume) error {
	if strings.ContainsRune(path, 0) || len(filepath.Base(path)) > 255 || !filepath.IsAbs(path) {
		return fmt.Errorf("cannot create subvolume %q: %w", path, unix.EINVAL)
	}
	parent := filepath.Dir(path)
	if !f.contains(parent) {
		return fmt.Errorf("cannot create subvolume %s: %w", path, snapshot.ErrNotBtrfs)
	}
	if err := noLinks(parent); err != nil {
		return err
	}
	if f.containing(parent).ReadOnly {
		return fmt.Errorf("cannot create subvolume %s: %w", path, unix.EROFS)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return fmt.Errorf("cannot create subvolume %s: %w", path, err)
	}
	sv.ID, sv.UUID, sv.Created = f.next, newUUID(), time.Now().UTC()
	f.next++
	f.generation++
	sv.Generation, sv.Origin = f.generation, f.generation
	return f.adopt(path, sv)
}

func (f *Fake) adopt(path string, sv snapshot.Subvolume) error {
	born, err := birthOf(path)
	if err == nil {
		f.known[born] = &sv
	}
	return err
}

// copy copies what is in one subvolume; others in it become empty directories.
func (f *Fake) copy(src, dst string) error {
	return filepath.WalkDir(src, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := dst + strings.TrimPrefix(path, src)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			if path == src {
				return os.Chmod(to, info.Mode())
			}
			if err := os.Mkdir(to, 0o755); err != nil {
				return err
			}
			if _, err := f.describe(path); err == nil {
				return fs.SkipDir
			}
			return os.Chmod(to, info.Mode())
		case entry.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		case entry.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(to, data, info.Mode().Perm())
		}
		return fmt.Errorf("cannot copy %s: the fake knows files, directories and links only", path)
	})
}

// containing is the subvolume that the directory at path belongs to.
func (f *Fake) containing(path string) snapshot.Subvolume {
	for ; ; path = filepath.Dir(path) {
		if born, err := birthOf(path); err == nil && f.known[born] != nil {
			return *f.known[born]
		}
		if path == f.Top || path == "/" {
			return snapshot.Subvolume{}
		}
	}
}

func (f *Fake) contains(path string) bool {
	return path == f.Top || strings.HasPrefix(path, f.Top+"/")
}

// noLinks is what RESOLVE_NO_SYMLINKS does.
func noLinks(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if real != filepath.Clean(path) {
		return fmt.Errorf("%w (%w)", snapshot.ErrNotSubvolume, &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP})
	}
	return nil
}

// birth tells a directory from a later one with the same inode number.
type birth struct {
	inode uint64
	time  unix.StatxTimestamp
}

func birthOf(path string) (birth, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil {
		return birth{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return birth{st.Ino, st.Btime}, nil
}

func newUUID() snapshot.UUID {
	var u snapshot.UUID
	rand.Read(u[:])
	return u
}
