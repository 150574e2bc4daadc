// The store: the snapshots of one system, found by what is mounted and what
// lies under .snapshots, and the only code that makes or removes any.

package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Role names a subvolume of a snapshot by its place under .snapshots/N;
// nested ones have theirs below ("snapshot/etc").
type Role string

// The roles.
const (
	RoleSnapshot Role = "snapshot" // the root itself
	RoleBase     Role = "base"     // read-only: the parent at the fork
	RoleAfter    Role = "after"    // read-only: the snapshot as committed
	RoleLive     Role = "live"     // read-only: the running root at the last merge of /etc
	RoleLiveNext Role = "live.new" // what becomes live when a merge is done
)

// Errors of a Store.
var (
	// ErrNoSnapshot: there is no snapshot with that number.
	ErrNoSnapshot = errors.New("no such snapshot")
	// ErrForeign: what is there is not what the transaction made (another tool's
	// snapshot, or another one under the same number); it is left alone.
	ErrForeign = errors.New("it was not made by this transaction")
	// ErrProtected: it is running, boots next, or is protected by the caller.
	ErrProtected = errors.New("it is protected")
)

// DefaultNested are the nested subvolumes that are forked with their root
// unless Options say otherwise.
var DefaultNested = []string{"/etc"}

// Options of Open. The zero value is good for a running system.
type Options struct {
	// Nested are directories of the root that may be subvolumes inside of it and
	// then belong to it: absolute, clean. Nil means DefaultNested.
	Nested []string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Proc is where proc is mounted; "" means /proc.
	Proc string
}

// Store holds the snapshots of one system. Its methods may be called from
// several goroutines, but those that change something only by the owner of the
// transaction.
type Store struct {
	driver    Driver
	layout    Layout
	nested    []string // without the leading slash
	now       func() time.Time
	proc      string
	snapshots string
	state     string
}

// Open finds the system mounted at root. A system that has not what it takes
// is a *LayoutError. Nothing is written.
func Open(root string, d Driver, o Options) (*Store, error) {
	s := &Store{driver: d, now: o.Now, proc: o.Proc}
	if s.now == nil {
		s.now = time.Now
	}
	if s.proc == "" {
		s.proc = "/proc"
	}
	nested := o.Nested
	if nested == nil {
		nested = DefaultNested
	}
	for _, dir := range nested {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" || strings.ContainsRune(dir, 0) {
			return nil, fmt.Errorf("nested subvolume %q is not the absolute path of a directory in the root", dir)
		}
		s.nested = append(s.nested, dir[1:])
	}
	slices.Sort(s.nested)

	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("cannot find the root %s: %w", root, err)
	}
	// The driver follows no links: it has to be told where things really are.
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("cannot find the root %s: %w", root, err)
	}
	s.layout, err = detect(d, real, s.nested)
	if err != nil {
		return nil, err
	}
	s.snapshots = s.layout.SnapshotsDir
	s.state = filepath.Join(s.snapshots, ".txupd")
	return s, nil
}

// Layout is what Open found.
func (s *Store) Layout() Layout { return s.layout }

// Booted describes the subvolume that is mounted at the root, asked anew.
func (s *Store) Booted() (Subvolume, error) { return s.driver.Info(s.layout.RootDir) }

// Default describes the subvolume that boots next where the boot loader and
// the kernel follow the default subvolume.
func (s *Store) Default() (Subvolume, error) {
	id, err := s.driver.Default(s.snapshots)
	if err != nil {
		return Subvolume{}, err
	}
	return s.driver.ByID(s.snapshots, id)
}

// SetDefault changes the default subvolume, makes that durable and reads it back.
func (s *Store) SetDefault(id SubvolumeID) error {
	if err := s.driver.SetDefault(s.snapshots, id); err != nil {
		return err
	}
	// The ioctl alone survives no power cut.
	if err := s.driver.Sync(s.snapshots); err != nil {
		return err
	}
	found, err := s.driver.Default(s.snapshots)
	if err != nil {
		return err
	}
	if found != id {
		return fmt.Errorf("cannot make subvolume %d the default: %d is, after it was set", id, found)
	}
	return nil
}

// Sync makes what the store did durable, but not the data of files that were
// written beside it (see Driver).
func (s *Store) Sync() error { return s.driver.Sync(s.snapshots) }

// Usage reports the space of the file system.
func (s *Store) Usage() (Usage, error) { return s.driver.Usage(s.snapshots) }

// ByID describes a subvolume of the system's file system. ErrNoSubvolume.
func (s *Store) ByID(id SubvolumeID) (Subvolume, error) { return s.driver.ByID(s.snapshots, id) }

// NumberOf is the number under which sv is the root of a snapshot. A root that
// lies elsewhere has none.
func (s *Store) NumberOf(sv Subvolume) (Number, bool) {
	return numberIn(sv.Path, s.layout.Snapshots.Path, RoleSnapshot)
}

// Dir is the directory of snapshot n, existing or not.
func (s *Store) Dir(n Number) string {
	return filepath.Join(s.snapshots, strconv.FormatUint(uint64(n), 10))
}

// Path is where the subvolume with a role in snapshot n lies, existing or not.
func (s *Store) Path(n Number, role Role) string {
	return filepath.Join(s.Dir(n), string(role))
}

// present is a *LayoutError where .snapshots is not mounted any more. What lies
// below it is a directory of the running root, in which nothing is ever made.
func (s *Store) present() error {
	found, err := s.driver.Info(s.snapshots)
	if err == nil && found.Identity() == s.layout.Snapshots.Identity() {
		return nil
	}
	return &LayoutError{
		Root: s.layout.RootDir, Err: err,
		Missing: fmt.Sprintf("its .snapshots (subvolume %s) is not mounted any more: mount %s", s.layout.Snapshots.Path, shellWord(s.snapshots)),
		Remedy:  "mount " + shellWord(s.snapshots),
	}
}

// StateDir is the directory for txupd's own state beside the snapshots
// (.snapshots/.txupd). It is made if need be, for root only.
func (s *Store) StateDir() (string, error) {
	if err := s.present(); err != nil {
		return "", err
	}
	err := os.Mkdir(s.state, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cannot make the directory for state: %w", err)
	}
	return s.state, nil
}

// numberIn is N of a path SNAPSHOTS/N/ROLE.
func numberIn(path, snapshots string, want Role) (Number, bool) {
	rest, ok := below(path, snapshots)
	if !ok {
		return 0, false
	}
	dir, role, _ := strings.Cut(rest, "/")
	if Role(role) != want {
		return 0, false
	}
	return parseNumber(dir)
}

// below is the rest of path under dir. Both are relative to the top level.
func below(path, dir string) (string, bool) {
	if dir == "" {
		return path, path != ""
	}
	return strings.CutPrefix(path, dir+"/")
}

// parseNumber reads the name of a snapshot's directory. Numbers have 32 bits,
// as snapper's.
func parseNumber(name string) (Number, bool) {
	n, err := strconv.ParseUint(name, 10, 32)
	if err != nil || n == 0 || name[0] == '0' || name[0] == '+' {
		return 0, false
	}
	return Number(n), true
}
