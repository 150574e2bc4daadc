// `txctl doctor`, `txctl setup` and `txctl boot-once`: how the machine boots.

package present

import (
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/bus"
)

// Doctor draws how the machine boots and what is wrong with that.
func (s Screen) Doctor(d bus.Doctor) string {
	var b strings.Builder
	line := func(name, text string) {
		for i, l := range s.wrap(plain(text), label+4) {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "%s %s\n", bold(pad(name, label+3)), l)
		}
	}
	or := func(text, none string) string {
		if text == "" {
			return none
		}
		return text
	}
	line("Root", fmt.Sprintf("%s, %s layout", d.Root, d.Layout))
	line("Boot loader", or(d.BootLoader, "none was found"))
	if d.GrubDir != "" {
		hook := "its menu loads ours"
		if !d.Hooked {
			hook = "its menu does not load ours"
		}
		line("", fmt.Sprintf("%s on %s; %s", d.GrubDir, or(d.GrubFilesystem, "?"), hook))
	}
	line("Boots next", d.Why)
	line("Trial boots", or(prefixed("counted in ", d.Counter), "not counted by the boot loader"))
	line("Root flags", or(d.RootFlags, "none on the kernel command line")+prefixed("; in fstab: ", d.Fstab))
	for _, p := range []struct {
		name string
		p    *bus.Partition
	}{{"Boot partition", d.Boot}, {"EFI partition", d.ESP}} {
		if p.p != nil {
			line(p.name, fmt.Sprintf("%s on %s, %s, %s of %s free", p.p.Type, p.p.Device, p.p.Mount, size(p.p.Free), size(p.p.Size)))
		}
	}
	if r := d.Repaired; r != nil {
		for i, words := range r.Done {
			name := ""
			if i == 0 {
				name, words = "Repaired", s.ago(r.Time)+": "+words
			}
			line(name, words)
		}
	}
	if len(d.Problems) == 0 {
		b.WriteString("\n" + green("Nothing is wrong.") + "\n")
		return b.String()
	}
	b.WriteString("\n")
	for _, p := range d.Problems {
		mark := amber("!")
		if p.Blocks {
			mark = red("✗")
		}
		for i, l := range s.wrap(plain(p.What), 2) {
			if i > 0 {
				mark = " "
			}
			b.WriteString(mark + " " + l + "\n")
		}
		for i, l := range s.wrap(plain(p.Remedy), 4) {
			arrow := cyan("→")
			if i > 0 {
				arrow = " "
			}
			b.WriteString("  " + arrow + " " + l + "\n")
		}
	}
	return b.String()
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// size of a file or partition in the unit that fits.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v /= 1024
		u++
	}
	if v < 10 && u > 0 {
		return fmt.Sprintf("%.1f %s", v, units[u])
	}
	return fmt.Sprintf("%.0f %s", v, units[u])
}

// SetUp tells what was done to the boot loader.
func (s Screen) SetUp(done []string) string {
	if len(done) == 0 {
		return "Nothing had to be done.\n"
	}
	return s.points(faint("- "), done)
}

// Repair tells what was repaired, and what could not be.
func (s Screen) Repair(r bus.Repair) string {
	if len(r.Done)+len(r.Left) == 0 {
		return "Nothing had to be repaired.\n"
	}
	return s.points(green("✓ "), r.Done) + s.points(red("✗ "), r.Left)
}

// points draws a list, each with a mark of two columns.
func (s Screen) points(mark string, all []string) string {
	var b strings.Builder
	for _, words := range all {
		at := mark
		for _, l := range s.wrap(plain(words), 2) {
			b.WriteString(at + l + "\n")
			at = "  "
		}
	}
	return b.String()
}

// BootOnce tells what boots next, and after that.
func (s Screen) BootOnce(next *uint64, after uint64) string {
	if next == nil {
		return fmt.Sprintf("Taken back: snapshot %d boots next.\n", after)
	}
	return fmt.Sprintf("%s boots next, one time; after that it is snapshot %d again.\n\n", bold(fmt.Sprintf("Snapshot %d", *next)), after) +
		s.advice([][]string{{"txctl reboot", "to run it"}, {"txctl boot-once --cancel", "to take it back"}})
}
