// systemd-boot: where its files are, and what follows from them.

package boot

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// systemdSite is an installed systemd-boot.
type systemdSite struct {
	config string // loader.conf, relative to the root
	// boot is the partition of the entries and of the kernels that they name:
	// the extended boot partition, or the EFI system partition.
	boot    *mountinfo.Info
	entries string // directory, relative to the root
}

// findSystemdBoot looks for it where bootctl does.
func (s *site) findSystemdBoot() error {
	if s.esp == nil {
		return nil
	}
	esp := s.rel(s.esp.Mountpoint)
	config := path.Join(esp, "loader/loader.conf")
	programs, err := s.tree.names(path.Join(esp, "EFI/systemd"))
	if err != nil {
		return err
	}
	installed := s.tree.isFile(config)
	for _, name := range programs {
		installed = installed || isEFI(name, "systemd-boot")
	}
	if !installed {
		return nil
	}
	s.systemd = &systemdSite{config: config, boot: s.esp}
	if s.boot != nil && isFAT(s.boot) {
		s.systemd.boot = s.boot
	}
	s.systemd.entries = path.Join(s.rel(s.systemd.boot.Mountpoint), "loader/entries")
	return nil
}

// readLoaderInfo is what the loader that started this system calls itself.
func (s *site) readLoaderInfo() string {
	info, _, err := s.variable("LoaderInfo")
	if err != nil {
		return "" // it decides nothing that the files do not tell
	}
	return info
}

// entrySortKeys is the first systemd-boot that orders entries by their sort key.
const entrySortKeys = 250

// fallsBack reports whether the loader goes on to the fallback when the tries of
// a trial are used up. It says which version it is, if it is one that matters.
func (s *site) fallsBack() bool {
	words, ok := strings.CutPrefix(s.loaderInfo, "systemd-boot ")
	if !ok {
		return true
	}
	digits := strings.IndexFunc(words, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(words)
	}
	version, err := strconv.Atoi(words[:digits])
	return err != nil || version >= entrySortKeys
}

// pinnedEntry is the variable that comes before loader.conf: what somebody chose
// in systemd-boot's menu, or with bootctl, for every boot.
const pinnedEntry = "LoaderEntryDefault"

func (f *Facts) systemdBoot(s *site) error {
	f.Loader, f.Mode = "systemd-boot", FollowsMenu
	f.Why = "systemd-boot boots what loader.conf says; it counts trial boots in the names of its entries"
	f.Counts = s.fallsBack()
	if !f.Counts {
		f.Why = fmt.Sprintf("systemd-boot boots what loader.conf says; trial boots cannot be counted (%s, which is older than %d), so a snapshot that does not come up has to be left by hand",
			s.loaderInfo, entrySortKeys)
	}
	f.Once = s.firmwareIsEFI()
	for _, m := range []*mountinfo.Info{s.esp, s.systemd.boot} {
		if readOnly(m) {
			f.problem(true, fmt.Sprintf("%s, which holds systemd-boot's files, is mounted read-only", s.seen(m.Mountpoint)), "mount it writable")
			break
		}
	}
	pinned, found, err := s.variable(pinnedEntry)
	if err != nil {
		return err
	}
	if found && pinned != "" {
		f.problem(true, fmt.Sprintf("the firmware's variable %s (%s) decides what systemd-boot boots, whatever the menu says", pinnedEntry, pinned), `run "txctl setup"`)
	}
	return nil
}

func (s *site) setupSystemdBoot(say func(string)) error {
	pinned, found, err := s.variable(pinnedEntry)
	if err != nil || !found || pinned == "" {
		return err
	}
	say(fmt.Sprintf("removing the firmware's variable %s (%s), which comes before the menu", pinnedEntry, pinned))
	return s.setVariable(pinnedEntry, "")
}
