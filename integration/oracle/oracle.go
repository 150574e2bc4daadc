// Package oracle judges a system that txupd serves without txupd: it knows the
// formats on disk from their descriptions and shares no code with the daemon,
// so that a mistake there cannot hide itself here. It only looks: it mounts the
// file system a second time where nobody sees it, read-only, writes nothing and
// asks nobody.
//
// Look says what is there, Judge what is wrong with it.
package oracle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Options of a Look.
type Options struct {
	// Root is where the running root is mounted, with .snapshots and what the
	// boot loader reads below it.
	Root string
	// GrubDir is the directory of txupd.cfg, "" to find it below Root.
	GrubDir string
	// Env is the file in which GRUB counts, "" to find it.
	Env string
	// BootDirs are directories with the content of further file systems, by
	// uuid, for entries that load kernels from there. What is mounted at
	// Root/boot need not be named.
	BootDirs map[string]string
	// Fingerprint also reads the whole running root, but for Exclude and what
	// txupd may write there (OwnFiles).
	Fingerprint bool
	Exclude     []string
	// FingerprintOf limits that to some paths below the root; empty is all of it.
	FingerprintOf []string
	// Former is the uuid of a subvolume whose fingerprint is taken too: of what
	// ran before a reboot. Empty or one that is gone is none.
	Former string
	// Offline: nothing runs on this file system, so mounts and processes are not looked at.
	Offline bool
}

// Facts are what a Look found.
type Facts struct {
	Root string `json:"root"`
	// UUID of the file system, as the kernel and boot entries name it.
	UUID string `json:"uuid"`
	// kernelUUID is how the kernel names it while it is mounted.
	kernelUUID string
	// Booted is what is mounted at Root, Default the subvolume that a mount
	// without options takes.
	Booted  Subvolume `json:"booted"`
	Default uint64    `json:"default"`
	// Snapshots is the subvolume at Root/.snapshots.
	Snapshots  Subvolume   `json:"snapshots"`
	Subvolumes []Subvolume `json:"subvolumes"`
	// Directories are the entries of .snapshots but for .txupd, State and Logs
	// the names in that and in its log directory.
	Directories []Directory `json:"directories"`
	State       []string    `json:"state"`
	Logs        []string    `json:"logs"`
	Journal     Journal     `json:"journal"`
	Boot        Boot        `json:"boot"`
	// Systems are the roots that could be booted, by subvolume id.
	Systems   map[uint64]System `json:"systems"`
	Mounts    []Mount           `json:"mounts"`
	Processes []Process         `json:"processes"`
	// BootID is the kernel's name for this boot.
	BootID string `json:"boot_id"`
	// Fingerprint of the running root, nil where none was asked for; Former that of Options.Former.
	Fingerprint Fingerprint `json:"fingerprint,omitempty"`
	Former      Fingerprint `json:"former,omitempty"`
}

// Directory is one entry of .snapshots.
type Directory struct {
	Name string `json:"name"`
	// Number is 0 where the name is none.
	Number uint64 `json:"number,omitempty"`
	// Names of what is in it.
	Names []string `json:"names"`
	// Marker is record.json, nil where there is none or it cannot be read.
	Marker *Marker `json:"marker,omitempty"`
	// Unreadable says why the marker cannot be read.
	Unreadable string `json:"unreadable,omitempty"`
}

// System is what a root has of what a boot needs.
type System struct {
	OSRelease bool     `json:"os_release"`
	Init      bool     `json:"init"`
	Modules   []string `json:"modules"`
}

// Look looks at the system that is mounted at o.Root.
func Look(o Options) (Facts, error) {
	f, err := look(o)
	if err != nil {
		return Facts{}, fmt.Errorf("cannot look at the system at %s: %w", o.Root, err)
	}
	return f, nil
}

func look(o Options) (Facts, error) {
	f := Facts{Root: filepath.Clean(o.Root), Systems: map[uint64]System{}}
	root, err := openDir(f.Root)
	if err != nil {
		return f, err
	}
	defer root.Close()
	if f.kernelUUID, err = kernelUUID(root); err != nil {
		return f, err
	}
	device, err := deviceOf(f.Root)
	if err != nil {
		return f, err
	}
	if f.UUID, err = superblockUUID(device); err != nil {
		return f, err
	}
	if f.Subvolumes, err = subvolumes(root); err != nil {
		return f, err
	}
	if f.Default, err = defaultSubvolume(root); err != nil {
		return f, err
	}
	if f.Booted, err = f.subvolumeAt(f.Root); err != nil {
		return f, err
	}
	if f.Snapshots, err = f.subvolumeAt(filepath.Join(f.Root, ".snapshots")); err != nil {
		return f, err
	}
	top, err := mountTop(device)
	if err != nil {
		return f, err
	}
	defer top.Close()
	if err := f.lookAtStore(top); err != nil {
		return f, err
	}
	if f.Boot, err = lookAtBoot(o, &f, top); err != nil {
		return f, err
	}
	if !o.Offline {
		if f.BootID, err = bootID(); err != nil {
			return f, err
		}
		if f.Mounts, err = mounts(&f); err != nil {
			return f, err
		}
		if f.Processes, err = processes(&f); err != nil {
			return f, err
		}
	}
	return f, f.fingerprints(o, top)
}

func (f *Facts) fingerprints(o Options, top *topLevel) (err error) {
	if !o.Fingerprint {
		return nil
	}
	exclude := append(OwnFiles(), o.Exclude...)
	if f.Fingerprint, err = FingerprintOf(f.Root, o.FingerprintOf, exclude...); err != nil {
		return err
	}
	for _, s := range f.Subvolumes {
		if s.UUID == o.Former && s.ID != f.Booted.ID {
			f.Former, err = FingerprintOf(top.path(s.Path), o.FingerprintOf, exclude...)
		}
	}
	return err
}

// lookAtStore reads .snapshots, the journal in it, and the roots.
func (f *Facts) lookAtStore(top *topLevel) error {
	dir := top.path(f.Snapshots.Path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == ".txupd" {
			continue
		}
		d := Directory{Name: e.Name()}
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && strconv.FormatUint(n, 10) == e.Name() {
			d.Number = n
		}
		if d.Names, err = names(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
		if d.Marker, err = readMarker(filepath.Join(dir, e.Name(), "record.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.Unreadable = err.Error()
		}
		f.Directories = append(f.Directories, d)
	}
	if f.State, err = names(filepath.Join(dir, ".txupd")); err != nil {
		return err
	}
	if f.Logs, err = names(filepath.Join(dir, ".txupd/log")); err != nil {
		return err
	}
	if f.Journal, err = readJournal(filepath.Join(dir, ".txupd/journal.db")); err != nil {
		return err
	}
	for _, s := range f.Subvolumes {
		if _, role := f.place(s.Path); role != "snapshot" && s.ID != f.Booted.ID && !f.Journal.isRoot(s) {
			continue
		}
		if f.Systems[s.ID], err = lookAtSystem(top.path(s.Path)); err != nil {
			return err
		}
	}
	return nil
}

// names are those in a directory: none where it is missing or no directory.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := make([]string, 0, len(entries))
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found, nil
}

// place is where under .snapshots a path from the top level lies: the directory
// there and the rest ("snapshot", "snapshot/etc"); "" for what lies elsewhere.
func (f *Facts) place(p string) (directory, role string) {
	rest, ok := strings.CutPrefix(p, f.Snapshots.Path+"/")
	if !ok {
		return "", ""
	}
	directory, role, _ = strings.Cut(rest, "/")
	return directory, role
}

// NumberOf is the snapshot whose root a subvolume is, 0 for one outside of .snapshots.
func (f *Facts) NumberOf(s Subvolume) uint64 {
	dir, role := f.place(s.Path)
	if role != "snapshot" {
		return 0
	}
	for _, d := range f.Directories {
		if d.Name == dir {
			return d.Number
		}
	}
	return 0
}

// Next is the snapshot that boots next: what the menu says, where there is one.
func (f *Facts) Next() uint64 {
	if f.Boot.Menu {
		return f.Boot.Default
	}
	s, _ := f.byID(f.Default)
	return f.NumberOf(s)
}

// byID is a subvolume; false where there is none.
func (f *Facts) byID(id uint64) (Subvolume, bool) {
	i := slices.IndexFunc(f.Subvolumes, func(s Subvolume) bool { return s.ID == id })
	if i < 0 {
		return Subvolume{}, false
	}
	return f.Subvolumes[i], true
}

// directory is an entry of .snapshots; nil where there is none.
func (f *Facts) directory(number uint64) *Directory {
	for i := range f.Directories {
		if d := &f.Directories[i]; d.Number == number && number != 0 {
			return d
		}
	}
	return nil
}

// inits are what the kernel starts where its command line names nothing.
var inits = []string{"sbin/init", "etc/init", "bin/init", "bin/sh"}

// lookAtSystem looks into a root, as one that has it as "/" would see it.
func lookAtSystem(dir string) (System, error) {
	var s System
	root, err := openDir(dir)
	if err != nil {
		return s, err
	}
	defer root.Close()
	s.OSRelease = fileInRoot(root, "etc/os-release") || fileInRoot(root, "usr/lib/os-release")
	s.Init = slices.ContainsFunc(inits, func(name string) bool { return fileInRoot(root, name) })
	for _, at := range []string{"lib/modules", "usr/lib/modules"} {
		found, err := namesInRoot(root, at)
		if err != nil {
			return s, err
		}
		for _, version := range found {
			inside, err := namesInRoot(root, path.Join(at, version))
			if err != nil {
				return s, err
			}
			if len(inside) > 0 && !slices.Contains(s.Modules, version) {
				s.Modules = append(s.Modules, version)
			}
		}
	}
	return s, nil
}
