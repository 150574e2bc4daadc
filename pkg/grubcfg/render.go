// The menu file as GRUB script. GRUB has no arithmetic, so a trial's tries are
// counted down by a ladder of comparisons.

package grubcfg

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Render is the menu file. An invalid menu is refused, and the same menu is
// always the same bytes.
//
// With a trial, GRUB first shows that it can write the counter; only then is
// the trial the default. It counts itself down before it loads a kernel, and
// loads none if that fails: a trial can never be endless. A counter that is
// missing or makes no sense stands for all tries. Entries chosen by hand cost
// nothing.
func (m Menu) Render() ([]byte, error) {
	if err := errors.Join(m.Validate(), m.validateFiles()); err != nil {
		return nil, fmt.Errorf("cannot render %s: %w", MenuName, err)
	}
	var s script
	s.line("set txupd_trial=over")
	s.line("set txupd_note=")
	if m.Once != nil {
		s.once(m)
	}
	if m.Trial != nil {
		s.trial(m.Default, *m.Trial)
	}
	s.choice(m)
	for _, e := range m.Entries {
		s.line("")
		s.open("function %s {", loadFunction(e.Number))
		s.load(e)
		s.close("}")
	}
	s.line("")
	s.first(m)
	for _, e := range m.Entries {
		s.line("")
		s.entry(m, e)
	}
	return m.Summary().seal(s.Bytes()), nil
}

// The functions of the script: one a snapshot that boots it or returns, and
// one for the default with what it is followed by.
const firstFunction = "txupd_first"

func loadFunction(number uint64) string { return fmt.Sprintf("txupd_load_%d", number) }

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

func (s *script) close(words ...string) {
	for _, word := range words {
		s.depth--
		s.line("%s", word)
	}
}

// modules loads what a file system is read with: GRUB's core has no more than
// its own files need, and a search finds nothing on the rest. "ext2" reads ext4 too.
func (s *script) modules(fileSystems ...string) {
	for _, name := range append([]string{"part_gpt", "part_msdos"}, fileSystems...) {
		s.line("insmod %s", name)
	}
}

// environment opens the branch in which txupd_env is the file.
func (s *script) environment(f EnvFile) {
	s.modules("fat", "ext2")
	s.open("if search --no-floppy --fs-uuid --set=txupd_device %s; then", quote(f.UUID))
	s.line(`set txupd_env="(${txupd_device})/%s"`, strings.TrimPrefix(f.Path, "/"))
	s.open(`if [ -s "${txupd_env}" ]; then`)
}

// once sets txupd_chosen to the snapshot to boot one time, once that is
// forgotten for the boot after. What somebody asked of grub-reboot comes first.
func (s *script) once(m Menu) {
	s.line("set txupd_chosen=")
	s.open(`if [ "${boot_once}" != true ]; then`)
	s.line("unset %s", OnceVariable)
	s.environment(*m.Once)
	s.line(`load_env -f "${txupd_env}" %s`, OnceVariable)
	s.line(`set txupd_asked="${%s}"`, OnceVariable)
	s.open(`if [ -n "${txupd_asked}" ]; then`)
	s.line("set %s=", OnceVariable)
	s.open(`if save_env -f "${txupd_env}" %s; then`, OnceVariable)
	for _, e := range m.Entries {
		s.open(`if [ "${txupd_asked}" = %d ]; then`, e.Number)
		s.line("set txupd_chosen=%d", e.Number)
		s.close("fi")
	}
	s.close("fi", "fi", "fi", "fi", "fi")
}

// trial sets txupd_trial to "on" if tries are left and can be counted.
func (s *script) trial(number uint64, t Trial) {
	v := TriesVariable(number)
	s.line("unset %s", v)
	s.environment(t.Counter)
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
	s.close("fi", "fi", "fi", "fi")
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
	if m.Once != nil {
		s.open(`if [ -n "${txupd_chosen}" ]; then`)
		s.line(`set default="txupd-${txupd_chosen}"`)
		s.close("fi")
	}
	s.close("fi")
}

// first is the default, counted where it is on trial, and then the fallback.
// What follows a load runs only if it failed, and so the fallback is loaded
// from here: GRUB's own variable of that name is for a boot command that fails,
// and after a kernel that cannot be read GRUB 2.06 stays in the menu for ever.
func (s *script) first(m Menu) {
	s.open("function %s {", firstFunction)
	if m.Trial != nil {
		v := TriesVariable(m.Default)
		s.open(`if [ "${txupd_trial}" = on ]; then`)
		s.line(`set %s="${txupd_next}"`, v)
		s.open(`if save_env -f "${txupd_env}" %s; then`, v)
		s.line("set txupd_trial=counted")
		s.close("fi", "fi")
		s.open(`if [ "${txupd_trial}" != on ]; then`)
		s.try(m.Default)
		s.close("fi")
	} else {
		s.try(m.Default)
	}
	if m.Fallback != nil {
		s.line("echo %s", quote(fmt.Sprintf("txupd: cannot boot snapshot %d, falling back to %d", m.Default, *m.Fallback)))
		s.line("%s", loadFunction(*m.Fallback))
	}
	s.close("}")
}

// try boots a snapshot, and lets the next kernel know where that fails.
func (s *script) try(number uint64) {
	s.line("%s", loadFunction(number))
	s.line("set txupd_note=%s%d", FallbackParameter, number)
}

func (s *script) entry(m Menu, e Entry) {
	s.open("menuentry %s --class txupd --class gnu-linux --class os --id %s {", quote(cleanTitle(e.Title)), quote(string(e.ID())))
	if e.Number == m.Default {
		s.line("%s", firstFunction)
	} else {
		s.line("%s", loadFunction(e.Number))
		if m.Once != nil {
			s.instead(m, e)
		}
	}
	s.close("}")
}

// instead boots what would have been booted without the one time that cannot be.
func (s *script) instead(m Menu, e Entry) {
	s.open(`if [ "${txupd_chosen}" = %d ]; then`, e.Number)
	s.line("set txupd_note=%s%d", FallbackParameter, e.Number)
	s.line("echo %s", quote(fmt.Sprintf("txupd: cannot boot snapshot %d, going on without it", e.Number)))
	if m.Trial == nil {
		s.line("%s", firstFunction)
	} else {
		s.open(`if [ "${txupd_trial}" != over ]; then`)
		s.line("%s", firstFunction)
		s.middle("else")
		s.line("%s", loadFunction(*m.Fallback))
		s.close("fi")
	}
	s.close("fi")
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
		s.modules("btrfs")
	} else {
		s.modules("ext2", "fat", "xfs", "btrfs")
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
	// Unquoted: where it is empty it shall not be a word.
	s.open("if linux %s ${txupd_note} %s; then", files[0], strings.Join(words, " "))
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
