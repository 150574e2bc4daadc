// The menu that txupd adds to GRUB's: what it consists of, and what is refused
// before anything is written.

package grubcfg

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// MenuName is the name of the rendered file; it lies next to grub.cfg.
const MenuName = "txupd.cfg"

// MaxTries is the largest number of trial boots that can be counted.
const MaxTries = 20

// ID is the name of an entry that never changes, whatever its title says.
type ID string

// EntryID is the ID of the entry of a snapshot: "txupd-N".
func EntryID(number uint64) ID { return ID("txupd-" + strconv.FormatUint(number, 10)) }

// TriesVariable is the GRUB variable that counts how many trial boots a
// snapshot has left. It carries the number: an old counter never counts for
// another snapshot.
func TriesVariable(number uint64) string { return "txupd_tries_" + strconv.FormatUint(number, 10) }

// OnceVariable is the GRUB variable that holds the number of a snapshot to boot
// one time. GRUB empties it before it does.
const OnceVariable = "txupd_once"

// Entry is one snapshot that can be booted.
type Entry struct {
	Number uint64
	// Title is what a person reads. Any text will do; it is shown on one line.
	Title string
	// RootUUID is the uuid of the btrfs file system, and RootPath the path of
	// the snapshot from its top level ("@/.snapshots/5/snapshot"). An adopted
	// root can be the top level itself: "".
	RootUUID, RootPath string
	// Kernel and Initrd are paths inside the snapshot, or, where BootUUID is
	// set, inside the file system of that uuid (staged there). Several initial
	// ramdisks are loaded in order; none is allowed.
	Kernel   string
	Initrd   []string
	BootUUID string
	// KernelVersion is for sorting and for people: the name below /lib/modules.
	KernelVersion string
	// CommandLine is the kernel command line; flags that name a root are
	// replaced by those of this snapshot.
	CommandLine string
}

// ID is the entry's stable name.
func (e Entry) ID() ID { return EntryID(e.Number) }

// EnvFile is where GRUB finds the environment block that it counts in.
type EnvFile struct {
	// UUID of the file system. It must be one that GRUB can write: FAT or
	// ext4, not btrfs.
	UUID string `json:"uuid"`
	// Path inside that file system: letters, digits and "._-@+/".
	Path string `json:"path"`
}

// Trial says that the default entry is on trial.
type Trial struct {
	// Tries is how often it is booted before the fallback is; 1 to MaxTries.
	// The counter starts there when it is missing.
	Tries   int
	Counter EnvFile
}

// Menu is everything that the menu file says.
type Menu struct {
	// Default is the number that boots next.
	Default uint64
	// Fallback is the last good number, or nil. It is booted when the
	// default cannot be loaded, and when the tries of a trial are used up.
	Fallback *uint64
	// Trial is nil where the default is not on trial.
	Trial *Trial
	// Once is where GRUB looks for a snapshot to boot one time only, in
	// OnceVariable. It is nil where no file can be written at boot.
	Once *EnvFile
	// Entries in the order of the menu.
	Entries []Entry
}

// Validate says why a menu must not be written for any loader: it would not
// boot, or something else could be read in it than what was meant. The files
// that only GRUB counts in are checked by Render.
func (m Menu) Validate() error {
	if len(m.Entries) == 0 {
		return errors.New("a boot menu needs an entry")
	}
	ids := map[ID]bool{}
	for _, e := range m.Entries {
		if err := e.Validate(); err != nil {
			return err
		}
		if ids[e.ID()] {
			return fmt.Errorf("boot menu has two entries for snapshot %d", e.Number)
		}
		ids[e.ID()] = true
	}
	for _, e := range m.Entries {
		// GRUB compares its default with titles before it does with ids.
		if ids[ID(cleanTitle(e.Title))] {
			return fmt.Errorf("boot entry of snapshot %d has the id of an entry as its title", e.Number)
		}
	}
	if !ids[EntryID(m.Default)] {
		return fmt.Errorf("boot menu has no entry for its default, snapshot %d", m.Default)
	}
	if m.Fallback != nil {
		if !ids[EntryID(*m.Fallback)] {
			return fmt.Errorf("boot menu has no entry for its fallback, snapshot %d", *m.Fallback)
		}
		if *m.Fallback == m.Default {
			return fmt.Errorf("boot menu has snapshot %d as its default and its fallback", m.Default)
		}
	}
	switch {
	case m.Trial == nil:
	case m.Fallback == nil:
		return fmt.Errorf("snapshot %d is on trial, but there is none to fall back to", m.Default)
	case m.Trial.Tries < 1 || m.Trial.Tries > MaxTries:
		return fmt.Errorf("%d tries for a trial boot: 1 to %d can be counted", m.Trial.Tries, MaxTries)
	}
	return nil
}

// validateFiles checks what GRUB is told to write.
func (m Menu) validateFiles() error {
	if m.Trial != nil {
		if err := m.Trial.Counter.Validate(); err != nil {
			return fmt.Errorf("boot counter: %w", err)
		}
	}
	if m.Once != nil {
		if err := m.Once.Validate(); err != nil {
			return fmt.Errorf("boot once: %w", err)
		}
	}
	return nil
}

// Validate says why GRUB could not find the file.
func (f EnvFile) Validate() error {
	if !isUUID(f.UUID) {
		return fmt.Errorf("its file system %q is no uuid", f.UUID)
	}
	if err := checkPath(f.Path); err != nil {
		return err
	}
	if strings.ContainsFunc(f.Path, func(r rune) bool { return !isPlain(r) }) {
		return fmt.Errorf("path %q has other characters than letters, digits and \"._-@+/\"", f.Path)
	}
	return nil
}

// Validate says why an entry could not boot.
func (e Entry) Validate() error {
	if err := e.validate(); err != nil {
		return fmt.Errorf("boot entry of snapshot %d: %w", e.Number, err)
	}
	return nil
}

func (e Entry) validate() error {
	switch {
	case cleanTitle(e.Title) == "":
		return errors.New("it has no title")
	case e.Kernel == "":
		return errors.New("it has no kernel")
	case !isUUID(e.RootUUID):
		return fmt.Errorf("file system %q is no uuid", e.RootUUID)
	case e.BootUUID != "" && !isUUID(e.BootUUID):
		return fmt.Errorf("boot file system %q is no uuid", e.BootUUID)
	case strings.ContainsFunc(e.CommandLine, isControl):
		return fmt.Errorf("command line %q holds control characters", e.CommandLine)
	case strings.Count(e.CommandLine, `"`)%2 != 0:
		return fmt.Errorf("command line %q has a quote that does not end", e.CommandLine)
	}
	if e.RootPath != "" {
		if err := checkPath(e.RootPath); err != nil {
			return fmt.Errorf("root: %w", err)
		}
		// A mount option ends at a comma, a kernel parameter at a blank.
		if strings.ContainsAny(e.RootPath, " ,\"'\\") {
			return fmt.Errorf("root: path %q cannot be said on a kernel command line", e.RootPath)
		}
	}
	for _, p := range append([]string{e.Kernel}, e.Initrd...) {
		if err := checkPath(p); err != nil {
			return fmt.Errorf("kernel and initrd: %w", err)
		}
	}
	return nil
}

// checkPath refuses paths that do not say where they end. They may start with "/" or not.
func checkPath(p string) error {
	switch {
	case p == "" || p == "/":
		return errors.New("a path is empty")
	case path.Clean("/"+p) != "/"+strings.TrimPrefix(p, "/"):
		return fmt.Errorf("path %q is not clean", p)
	case strings.ContainsFunc(p, isControl):
		return fmt.Errorf("path %q holds control characters", p)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func isPlain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@+/", r)
}

// isUUID accepts what file systems have: 8-4-4-4-12 digits, and FAT's 4-4.
func isUUID(s string) bool {
	return len(s) >= 8 && strings.Trim(s, "0123456789abcdefABCDEF-") == ""
}
