// What a transaction captures of a shared tree, on disk:
//
//	N/shared/<name>            a read-only fork of the live tree, where that can be forked
//	N/capture/<name>           a subvolume
//	N/capture/<name>/upper     what overlayfs writes
//	N/capture/<name>/work      its own
//	N/capture/<name>/tree.json what this is (Capture)
//	N/capture/<name>/before    what lay below, where there is no fork (handover.Witness)

package sharedtree

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

// Driver is what this package needs of btrfs. snapshot.Driver has it.
type Driver interface {
	Info(path string) (snapshot.Subvolume, error)
	Create(path string) error
	Fork(src, dst string, readOnly bool) error
	Delete(path string, want snapshot.SubvolumeID) error
	SetReadOnly(path string, readOnly bool) error
}

// Names in a snapshot's directory.
const (
	forks    = "shared"
	captures = "capture"
	about    = "tree.json"
)

// Capture is one tree as one transaction has it.
type Capture struct {
	// Dir is the directory of the snapshot, where it is now.
	Dir string `json:"-"`
	// Tree is the path in the system. The others are as Find found them.
	Tree string `json:"tree"`
	Type string `json:"type"`
	UUID string `json:"uuid,omitempty"`
	// Forked: the tree at the beginning is in N/shared; else the live tree itself lies below.
	Forked bool `json:"forked"`
	// Over are the snapshots whose captures lie between, because they were not handed over when this
	// transaction began; the newest first.
	Over []snapshot.Number `json:"over,omitempty"`
	// Begun is when the tree was first shown.
	Begun Moment `json:"begun"`
}

// Upper is the directory that overlayfs writes to.
func (c *Capture) Upper() string { return filepath.Join(c.subvolume(), "upper") }

// Work is overlayfs's own.
func (c *Capture) Work() string { return filepath.Join(c.subvolume(), "work") }

// Manifest is where a note of what lay below belongs, for a tree that is not Forked.
func (c *Capture) Manifest() string { return filepath.Join(c.subvolume(), "before") }

// Fork is where the fork of the live tree is, where there is one.
func (c *Capture) Fork() string { return filepath.Join(c.Dir, forks, Name(c.Tree)) }

// Roles are the places of capture and fork in the directory of the snapshot.
func (c *Capture) Roles() []string {
	return []string{captures + "/" + Name(c.Tree), forks + "/" + Name(c.Tree)}
}

func (c *Capture) subvolume() string { return filepath.Join(c.Dir, captures, Name(c.Tree)) }

// Lower are the layers below the capture, the one on top first. dirOf is the
// directory of a snapshot, live where the tree is mounted.
func (c *Capture) Lower(dirOf func(snapshot.Number) string, live string) []string {
	var layers []string
	for _, n := range c.Over {
		below := Capture{Dir: dirOf(n), Tree: c.Tree}
		layers = append(layers, below.Upper())
	}
	if c.Forked {
		return append(layers, c.Fork())
	}
	return append(layers, live)
}

// Prepare makes in dir, the directory of a snapshot that is being made, what
// captures the writes to a tree. over are the snapshots it is stacked on whose
// captures are not handed over, the newest first; those that captured nothing
// of this tree are passed over. dirOf is the directory of a snapshot. When it
// fails nothing of this tree is left. What it made is durable with the next
// commit of the file system, the fork at once.
func Prepare(d Driver, dir string, t Tree, over []snapshot.Number, dirOf func(snapshot.Number) string) (Capture, error) {
	c := Capture{Dir: dir, Tree: t.Path, Type: t.Type, UUID: t.UUID}
	if t.Bind != "" || t.ReadOnly {
		return c, fmt.Errorf("internal error: nothing is captured of %s", t.Path)
	}
	for _, n := range over {
		below := Capture{Dir: dirOf(n), Tree: t.Path}
		if _, err := os.Lstat(below.Upper()); err == nil {
			c.Over = append(c.Over, n)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("cannot look at what transaction %d captured of %s: %w", n, t.Path, err)
		}
	}
	if err := c.prepare(d, t, dirOf); err != nil {
		err = fmt.Errorf("cannot prepare the shared tree %s: %w", t.Path, err)
		return c, errors.Join(err, c.Remove(d))
	}
	return c, nil
}

func (c *Capture) prepare(d Driver, t Tree, dirOf func(snapshot.Number) string) error {
	var err error
	if c.Begun, err = Now(); err != nil {
		return err
	}
	for _, parent := range []string{filepath.Dir(c.subvolume()), filepath.Dir(c.Fork())} {
		if err := os.Mkdir(parent, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := d.Create(c.subvolume()); err != nil {
		return err
	}
	if t.Subvolume {
		err := d.Fork(t.Dir, c.Fork(), true)
		// With a swap file in use it cannot be forked, but shown.
		if err != nil && !errors.Is(err, snapshot.ErrSwapFile) {
			return err
		}
		c.Forked = err == nil
	}
	if err := os.Mkdir(c.Work(), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(c.Upper(), 0o700); err != nil {
		return err
	}
	// The root of an overlay looks like that of its upper directory.
	if err := mirror(c.Lower(dirOf, t.Dir)[0], c.Upper()); err != nil {
		return err
	}
	return c.write()
}

func (c *Capture) write() error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	// It is made before the capture is used, and never changed.
	return os.WriteFile(filepath.Join(c.subvolume(), about), append(raw, '\n'), 0o600)
}

// Load lists what the snapshot at dir captured, by tree.
func Load(dir string) ([]Capture, error) {
	found, err := os.ReadDir(filepath.Join(dir, captures))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list what was captured: %w", err)
	}
	var list []Capture
	for _, e := range found {
		file := filepath.Join(dir, captures, e.Name(), about)
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("cannot list what was captured: %w", err)
		}
		c := Capture{Dir: dir}
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", file, err)
		}
		if Name(c.Tree) != e.Name() {
			return nil, fmt.Errorf("cannot read %s: it is about %q, which has another place", file, c.Tree)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Capture) int { return strings.Compare(a.Tree, b.Tree) })
	return list, nil
}

// Empty reports whether nothing was written: the upper directory is empty.
// Whether the tree's own directory was changed it does not say.
func (c *Capture) Empty() (bool, error) {
	dir, err := os.Open(c.Upper())
	if err != nil {
		return false, fmt.Errorf("cannot look at what was captured of %s: %w", c.Tree, err)
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(1) // an error is the end of the list, or comes again when it is read
	return len(names) == 0, nil
}

// Flush makes what was captured so far durable. The transaction may go on.
func (c *Capture) Flush(d Driver) error {
	// A fork writes out what it is a fork of, and nothing else.
	aside := c.subvolume() + flushing
	if err := d.Fork(c.subvolume(), aside, true); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot flush what was captured of %s: %w", c.Tree, err)
	}
	if err := destroy(d, aside); err != nil {
		return fmt.Errorf("cannot flush what was captured of %s: %w", c.Tree, err)
	}
	return nil
}

// Seal makes it durable and read-only. No sandbox may have it.
func (c *Capture) Seal(d Driver) error {
	if err := c.Flush(d); err != nil {
		return err
	}
	return d.SetReadOnly(c.subvolume(), true)
}

// Sealed reports whether it is read-only.
func (c *Capture) Sealed(d Driver) (bool, error) {
	sv, err := d.Info(c.subvolume())
	return sv.ReadOnly, err
}

// SetSealed makes it read-only, or writable, and nothing else.
func (c *Capture) SetSealed(d Driver, sealed bool) error {
	return d.SetReadOnly(c.subvolume(), sealed)
}

// Unseal makes it writable again, for a transaction that goes on after all. What
// was noted of what lay below is void then.
func (c *Capture) Unseal(d Driver) error {
	if err := c.SetSealed(d, false); err != nil {
		return err
	}
	if err := os.Remove(c.Manifest()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Remove deletes the capture and the fork. What is not there is no error. The
// directories stay.
func (c *Capture) Remove(d Driver) error {
	for _, path := range []string{c.subvolume(), c.Fork()} {
		if err := destroy(d, path); err != nil {
			return fmt.Errorf("cannot remove what was captured of %s: %w", c.Tree, err)
		}
	}
	return nil
}

func destroy(d Driver, path string) error {
	sv, err := d.Info(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.Delete(path, sv.ID)
}

// ErrElsewhere means that the tree is not mounted where its capture belongs, or
// another one is.
var ErrElsewhere = errors.New("its tree is not there")

// At finds, among the trees of the system that runs, the one that was captured.
// ErrElsewhere, with the reason.
func (c *Capture) At(trees []Tree) (Tree, error) {
	i := slices.IndexFunc(trees, func(t Tree) bool { return t.Path == c.Tree })
	if i < 0 {
		return Tree{}, fmt.Errorf("%w: nothing is mounted at %s", ErrElsewhere, c.Tree)
	}
	t := trees[i]
	switch {
	case t.Bind != "":
		return t, fmt.Errorf("%w: %s shows %s now", ErrElsewhere, c.Tree, t.Bind)
	case t.Type != c.Type, t.UUID != "" && c.UUID != "" && t.UUID != c.UUID:
		return t, fmt.Errorf("%w: another file system is mounted at %s", ErrElsewhere, c.Tree)
	case t.ReadOnly:
		return t, fmt.Errorf("%w: %s is mounted read-only", ErrElsewhere, c.Tree)
	}
	return t, nil
}

// mirror gives a directory the owner, attributes and mode of another.
func mirror(from, to string) error {
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		return fmt.Errorf("cannot examine %s: %w", from, err)
	}
	if err := os.Chown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	names := make([]byte, 64<<10) // XATTR_LIST_MAX of linux/limits.h
	n, err := unix.Listxattr(from, names)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("cannot list the attributes of %s: %w", from, err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:max(n, 0)]), "\x00"), "\x00") {
		// Those of overlayfs are not seen through it, and those of btrfs are about how to store.
		if name == "" || strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "btrfs.") {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Getxattr(from, name, value)
		if err != nil {
			return fmt.Errorf("cannot read the attribute %s of %s: %w", name, from, err)
		}
		if err := unix.Setxattr(to, name, value[:n], 0); err != nil {
			return fmt.Errorf("cannot set the attribute %s of %s: %w", name, to, err)
		}
	}
	return unix.Chmod(to, st.Mode&0o7777)
}

// Moment is a point in time by three clocks, so that a step of one is noticed.
type Moment struct {
	Wall time.Time     `json:"wall"`
	Up   time.Duration `json:"up"`   // since the boot
	Boot string        `json:"boot"` // which one
}

// Now is this moment.
func Now() (Moment, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Moment{}, fmt.Errorf("cannot tell the time: %w", err)
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return Moment{}, fmt.Errorf("cannot tell the time: %w", err)
	}
	return Moment{Wall: time.Now().UTC(), Up: time.Duration(up.Nano()), Boot: strings.TrimSpace(string(boot))}, nil
}

// Trusted is the wall time of m, if time stamps that files got since then are
// later than it: the machine was not booted anew and nobody set its clock until
// now. Else it is the zero time.
func (m Moment) Trusted(now Moment) time.Time {
	const tolerance = time.Second // clocks are slewed all the time
	drift := now.Wall.Sub(m.Wall) - (now.Up - m.Up)
	if m.Boot != now.Boot || drift.Abs() > tolerance {
		return time.Time{}
	}
	return m.Wall
}
