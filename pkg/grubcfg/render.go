// The menu file as GRUB script. GRUB has no arithmetic, so a trial's tries are
// counted down by a ladder of comparisons.

package grubcfg

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

// Render is the menu file. An invalid menu is refused, and the same menu is
// always the same bytes.
//
// With a trial, GRUB first shows that it can write the counter; only then is
// the trial the default. Its entry counts itself down before it loads a kernel,
// and loads none if that fails: a trial can never be endless. A counter that
// is missing or makes no sense stands for all tries. Entries chosen by hand
// cost nothing.
func (m Menu) Render() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("cannot render %s: %w", MenuName, err)
	}
	var s script
	s.line("# Written by txupd. It is replaced as a whole; changes are lost.")
	s.line("set txupd_trial=over")
	if m.Trial != nil {
		s.trial(m.Default, *m.Trial)
	}
	s.choice(m)
	for _, e := range m.Entries {
		s.line("")
		if e.Number == m.Default {
			s.first(m, e)
		} else {
			s.entry(e)
		}
	}
	return s.Bytes(), nil
}

// script collects lines, indented by their nesting.
type script struct {
	bytes.Buffer
	depth int
}

func (s *script) line(format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	if text != "" {
		s.WriteString(strings.Repeat("\t", s.depth))
	}
	s.WriteString(text + "\n")
}

func (s *script) open(format string, args ...any) {
	s.line(format, args...)
	s.depth++
}

// middle closes one branch and opens the next.
func (s *script) middle(format string, args ...any) {
	s.depth--
	s.line(format, args...)
	s.depth++
}

func (s *script) close(word string) {
	s.depth--
	s.line("%s", word)
}

// trial sets txupd_trial to "on" if tries are left and can be counted.
func (s *script) trial(number uint64, t Trial) {
	v := TriesVariable(number)
	s.line("unset %s", v)
	s.open("if search --no-floppy --fs-uuid --set=txupd_device %s; then", quote(t.Counter.UUID))
	s.line(`set txupd_env="(${txupd_device})/%s"`, strings.TrimPrefix(t.Counter.Path, "/"))
	s.open(`if [ -s "${txupd_env}" ]; then`)
	s.line(`load_env -f "${txupd_env}" %s`, v)
	s.open(`if [ "${%s}" = 0 ]; then`, v)
	s.line("set txupd_next=none")
	for left := 1; left < t.Tries; left++ {
		s.middle(`elif [ "${%s}" = %d ]; then`, v, left)
		s.line("set txupd_next=%d", left-1)
	}
	s.middle("else")
	s.line("set %s=%d", v, t.Tries)
	s.line("set txupd_next=%d", t.Tries-1)
	s.close("fi")
	s.open(`if [ "${txupd_next}" != none ]; then`)
	s.open(`if save_env -f "${txupd_env}" %s; then`, v)
	s.line("set txupd_trial=on")
	s.close("fi")
	s.close("fi")
	s.close("fi")
	s.close("fi")
}

// choice sets the default. One that a person asked for with grub-reboot, for one boot, stays.
func (s *script) choice(m Menu) {
	s.open(`if [ "${boot_once}" != true ]; then`)
	if m.Trial != nil {
		s.open(`if [ "${txupd_trial}" = on ]; then`)
		s.line("set default=%s", quote(string(EntryID(m.Default))))
		s.middle("else")
		s.line("set default=%s", quote(string(EntryID(*m.Fallback))))
		s.close("fi")
	} else {
		s.line("set default=%s", quote(string(EntryID(m.Default))))
	}
	s.close("fi")
}

func (s *script) head(e Entry) {
	s.open("menuentry %s --class txupd --class gnu-linux --class os --id %s {", quote(cleanTitle(e.Title)), quote(string(e.ID())))
}

func (s *script) entry(e Entry) {
	s.head(e)
	s.load(e)
	s.close("}")
}

// first is the default entry. What follows a load runs only if it failed, and
// so the fallback is loaded from here: GRUB's own variable of that name is for
// a boot command that fails, and after a kernel that cannot be read GRUB 2.06
// stays in the menu for ever.
func (s *script) first(m Menu, e Entry) {
	s.head(e)
	if m.Trial != nil {
		v := TriesVariable(e.Number)
		s.open(`if [ "${txupd_trial}" = on ]; then`)
		s.line(`set %s="${txupd_next}"`, v)
		s.open(`if save_env -f "${txupd_env}" %s; then`, v)
		s.line("set txupd_trial=counted")
		s.close("fi")
		s.close("fi")
		s.open(`if [ "${txupd_trial}" != on ]; then`)
		s.load(e)
		s.close("fi")
	} else {
		s.load(e)
	}
	for _, f := range m.Entries {
		if m.Fallback != nil && f.Number == *m.Fallback {
			s.line("echo %s", quote(fmt.Sprintf("txupd: cannot boot snapshot %d, falling back to %d", e.Number, f.Number)))
			s.load(f)
		}
	}
	s.close("}")
}

// load boots kernel and initrd from one place, or goes on: GRUB does so after a
// command that failed, and would boot a kernel without its initrd.
func (s *script) load(e Entry) {
	uuid, base := e.RootUUID, "/"+e.RootPath
	if e.BootUUID != "" {
		uuid, base = e.BootUUID, "/"
	}
	files := make([]string, 0, 1+len(e.Initrd))
	for _, p := range append([]string{e.Kernel}, e.Initrd...) {
		files = append(files, quote(path.Join(base, p)))
	}
	if e.BootUUID == "" {
		s.line("insmod btrfs")
	}
	s.open("if search --no-floppy --fs-uuid --set=root %s; then", quote(uuid))
	for _, f := range files {
		s.open("if [ -s %s ]; then", f)
	}
	var words []string
	for _, w := range pinned(e.CommandLine, e.RootUUID, e.RootPath) {
		if argument := loaderWord(w); argument != "" {
			words = append(words, quote(argument))
		}
	}
	s.open("if linux %s %s; then", files[0], strings.Join(words, " "))
	if len(files) > 1 {
		s.open("if initrd %s; then", strings.Join(files[1:], " "))
		s.line("boot")
		s.close("fi")
	} else {
		s.line("boot")
	}
	s.close("fi")
	for range files {
		s.close("fi")
	}
	s.close("fi")
}
