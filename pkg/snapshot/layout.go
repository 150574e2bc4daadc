// Where a system keeps its root and its snapshots, and what to do where it
// does not yet.

package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Names of layouts.
const (
	LayoutSUSE   = "opensuse" // @/.snapshots/N/snapshot
	LayoutFlat   = "flat"     // @, @snapshots
	LayoutFedora = "fedora"   // root
	LayoutDebian = "debian"   // @rootfs
	LayoutCustom = "custom"
)

// Layout is how a system is laid out on its file system.
type Layout struct {
	// Name is one of the names above.
	Name string
	// RootDir is where the root is mounted, SnapshotsDir is .snapshots in it.
	RootDir, SnapshotsDir string
	// Booted is the root, Snapshots the subvolume that holds the snapshots, as Open found them.
	Booted, Snapshots Subvolume
	// BootedNumber is the number of the root, 0 where it does not lie under .snapshots.
	BootedNumber Number
	// SnapshotsNested: .snapshots lies inside the booted root, so that the next root has it only
	// where fstab mounts it.
	SnapshotsNested bool
	// ReadOnlyRoots: roots are sealed when they are committed.
	ReadOnlyRoots bool
	// Nested are the subvolumes in the booted root that are forked with it ("/etc").
	Nested []string
}

// LayoutError says what a system lacks for snapshots, and what to do.
type LayoutError struct {
	// Missing completes "cannot keep snapshots of ROOT: ".
	Missing string
	// Remedy is one or more lines, commands among them.
	Remedy string
	Root   string
	Err    error
}

func (e *LayoutError) Error() string {
	return fmt.Sprintf("cannot keep snapshots of %s: %s", e.Root, e.Missing)
}

// Unwrap returns the driver's error, if there was one.
func (e *LayoutError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, errors.ErrUnsupported) work.
func (e *LayoutError) Is(target error) bool { return target == errors.ErrUnsupported }

// detect finds the layout of the system mounted at root.
func detect(d Driver, root string, nested []string) (Layout, error) {
	l := Layout{RootDir: root, SnapshotsDir: filepath.Join(root, ".snapshots")}
	var err error
	l.Booted, err = d.Info(root)
	switch {
	case errors.Is(err, ErrNotBtrfs):
		return l, &LayoutError{Root: root, Err: err, Missing: "it is not on btrfs",
			Remedy: "txupd needs a root on a btrfs file system; ext4 can be converted from a rescue system with btrfs-convert(8)"}
	case errors.Is(err, ErrNotSubvolume):
		return l, &LayoutError{Root: root, Err: err, Missing: "it is a directory, not a subvolume of its own",
			Remedy: "name the directory at which the root subvolume is mounted"}
	case err != nil:
		return l, fmt.Errorf("cannot find the layout of %s: %w", root, err)
	}

	l.Snapshots, err = d.Info(l.SnapshotsDir)
	switch {
	case errors.Is(err, ErrNotSubvolume):
		return l, &LayoutError{Root: root, Err: err, Missing: "its .snapshots is not a subvolume", Remedy: remedy(l, atTop(d, l))}
	case errors.Is(err, fs.ErrNotExist):
		return l, &LayoutError{Root: root, Err: err, Missing: "it has no .snapshots", Remedy: remedy(l, atTop(d, l))}
	case errors.Is(err, ErrNotBtrfs):
		return l, elsewhere(d, l, err)
	case err != nil:
		return l, fmt.Errorf("cannot find the layout of %s: %w", root, err)
	}
	// Ids repeat from file system to file system, uuids do not.
	same, err := d.ByID(root, l.Snapshots.ID)
	if err != nil && !errors.Is(err, ErrNoSubvolume) {
		return l, fmt.Errorf("cannot find the layout of %s: %w", root, err)
	}
	if err != nil || same.UUID != l.Snapshots.UUID {
		return l, elsewhere(d, l, err)
	}

	l.BootedNumber, _ = numberIn(l.Booted.Path, l.Snapshots.Path, RoleSnapshot)
	l.ReadOnlyRoots = l.Booted.ReadOnly
	l.SnapshotsNested = l.Snapshots.Parent == l.Booted.ID
	inside, err := d.Nested(root, l.Booted.ID)
	if err != nil {
		return l, fmt.Errorf("cannot find the layout of %s: %w", root, err)
	}
	for _, sv := range inside {
		rel, _ := below(sv.Path, l.Booted.Path)
		for _, name := range nested {
			if rel == name {
				l.Nested = append(l.Nested, "/"+rel)
			}
		}
	}
	l.Name, err = layoutName(d, l)
	if err != nil {
		return l, fmt.Errorf("cannot find the layout of %s: %w", root, err)
	}
	return l, nil
}

// layoutName tells the layouts apart by the root that the installer made,
// which is not always the one that is booted.
func layoutName(d Driver, l Layout) (string, error) {
	if l.Snapshots.Path == "@/.snapshots" && l.BootedNumber != 0 {
		return LayoutSUSE, nil
	}
	names := map[string]string{"@": LayoutFlat, "root": LayoutFedora, "@rootfs": LayoutDebian}
	if name, ok := names[l.Booted.Path]; ok {
		return name, nil
	}
	top, err := d.Nested(l.RootDir, TopLevel)
	if err != nil {
		return "", err
	}
	for _, sv := range top {
		if name, ok := names[sv.Path]; ok {
			return name, nil
		}
	}
	return LayoutCustom, nil
}

func elsewhere(d Driver, l Layout, err error) error {
	return &LayoutError{Root: l.RootDir, Err: err,
		Missing: "its .snapshots is on another file system, and snapshots cannot cross from one to another",
		Remedy:  "unmount it and take it out of /etc/fstab, then:\n" + remedy(l, atTop(d, l))}
}

// atTop lists the subvolumes at the top level: .snapshots may be there and just
// not mounted. What cannot be looked at is not known to be there.
func atTop(d Driver, l Layout) []Subvolume {
	top, err := d.Nested(l.RootDir, TopLevel)
	if err != nil {
		return nil
	}
	return top
}

// remedy says how to mount the .snapshots that there is, or make one.
func remedy(l Layout, top []Subvolume) string {
	device := fmt.Sprintf(`"$(findmnt -nvo SOURCE %s)"`, shellWord(l.RootDir))
	at := shellWord(l.SnapshotsDir)
	subvolume, lines := "", []string{}
	if dir := path.Dir(l.Booted.Path); path.Base(l.Booted.Path) == string(RoleSnapshot) && path.Dir(dir) != "." {
		subvolume = path.Dir(dir)
	} else {
		subvolume = "@snapshots"
		if l.Booted.Path == "root" {
			subvolume = "snapshots"
		}
		if !slices.ContainsFunc(top, func(sv Subvolume) bool { return sv.Path == subvolume }) {
			lines = append(lines,
				"mount -o subvolid=5 "+device+" /mnt",
				"btrfs subvolume create /mnt/"+subvolume,
				"chmod 750 /mnt/"+subvolume,
				"umount /mnt")
		}
	}
	lines = append(lines,
		"mkdir -p "+at,
		"mount -o subvol=/"+shellWord(subvolume)+" "+device+" "+at,
		"and, so that it is there after a reboot, in /etc/fstab (with the device of /):",
		"UUID=…  /.snapshots  btrfs  subvol=/"+subvolume+"  0 0")
	return strings.Join(lines, "\n")
}

// shellWord quotes what a shell would take apart.
func shellWord(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/.@_-+", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
