// `txctl diff`, and the contents of files wherever they are shown.

package present

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// DiffParts are what of a difference is shown.
type DiffParts struct{ Packages, Files, Stat, Patch bool }

// Diff draws what is different between two snapshots.
func (s Screen) Diff(doc bus.Diff, parts DiffParts) string {
	var b strings.Builder
	heading := fmt.Sprintf("From snapshot %d%s to %d%s", doc.From, stateInWords(doc.FromState), doc.To, stateInWords(doc.ToState))
	if doc.From == doc.To {
		heading = fmt.Sprintf("Snapshot %d since it was committed", doc.From)
	}
	b.WriteString(s.Paragraph(heading + ": " + inAll(doc.PackageCounts, doc.FileCounts)))
	if parts.Packages && len(doc.Packages) > 0 {
		fmt.Fprintf(&b, "\n%s  %s\n%s", bold("Packages"), packagesInWords(doc.PackageCounts), s.packageRows(doc.Packages, 2))
	}
	if parts.Files {
		s.fileList(&b, doc.Files, true, "")
	}
	if parts.Stat {
		b.WriteString("\n" + s.stat(doc.Files))
	}
	if parts.Patch {
		if len(doc.Patches) > 0 {
			b.WriteString("\n" + s.Patches(doc.Patches))
		}
		if doc.PatchesCut {
			b.WriteString("… and more: name paths to see less at a time\n")
		}
	}
	if len(doc.Warnings) > 0 {
		b.WriteString("\n" + s.Warnings(doc.Warnings))
	}
	return b.String()
}

func stateInWords(state string) string {
	if state == bus.SideNow {
		return " as it is now"
	}
	return ""
}

// stat sums up files by the package that they belong to, those of none first.
func (s Screen) stat(files []record.FileChange) string {
	byOwner := map[string][]record.FileChange{}
	for _, f := range files {
		byOwner[f.Owner] = append(byOwner[f.Owner], f)
	}
	owners := make([]string, 0, len(byOwner))
	for o := range byOwner {
		owners = append(owners, o)
	}
	slices.Sort(owners)
	rows := make([][]string, len(owners))
	for i, o := range owners {
		c := record.CountFiles(byOwner[o])
		name := plain(o)
		if o == "" {
			name = "(no package)"
		}
		cell := func(n int, change string) string {
			if n == 0 {
				return ""
			}
			return fmt.Sprintf("%s%d", sign(change), n)
		}
		rows[i] = []string{name, cell(c.Added, record.Added), cell(c.Modified, record.Modified), cell(c.Removed, record.Removed)}
	}
	return s.table([]column{{least: 20}, {right: true}, {right: true}, {right: true}}, rows, 2)
}

// Patches draws what became of the contents of files, as diff -u does.
func (s Screen) Patches(all []bus.Patch) string {
	var b strings.Builder
	for _, p := range all {
		name := plain(p.Path)
		before, after := "a"+name, "b"+name
		if p.Before == nil {
			before = "/dev/null"
		}
		if p.After == nil {
			after = "/dev/null"
		}
		// Before the lines that begin a patch, where programs skip them.
		for _, words := range attributes(p) {
			b.WriteString(bold(name) + ": " + words + "\n")
		}
		if p.Text == "" {
			continue
		}
		b.WriteString(bold("--- "+before) + "\n" + bold("+++ "+after) + "\n")
		for l := range strings.Lines(p.Text) {
			l = strings.TrimSuffix(l, "\n")
			if s.Width > 0 { // else it is for programs, which want it as it is
				l = plain(l)
			}
			switch {
			case strings.HasPrefix(l, "@@"):
				l = cyan(l)
			case strings.HasPrefix(l, "+"):
				l = green(l)
			case strings.HasPrefix(l, "-"):
				l = red(l)
			}
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// attributes are what differs beside lines of text.
func attributes(p bus.Patch) []string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	b, a := p.Before, p.After
	switch {
	case b == nil && a == nil:
		return []string{"it is gone from both"}
	case b == nil:
		if a.Type != bus.FileRegular {
			say("new %s%s", plain(a.Type), target(a))
		} else if a.Mode&0o111 != 0 || a.Mode&0o7000 != 0 {
			say("new file with mode %04o", a.Mode)
		}
	case a == nil:
		if b.Type != bus.FileRegular {
			say("%s%s, removed", plain(b.Type), target(b))
		}
	case b.Type != a.Type:
		say("%s%s became %s%s", plain(b.Type), target(b), plain(a.Type), target(a))
	default:
		if b.Target != a.Target {
			say("link to %s became one to %s", plain(b.Target), plain(a.Target))
		}
		if b.Mode != a.Mode {
			say("mode %04o became %04o", b.Mode, a.Mode)
		}
		if b.UID != a.UID || b.GID != a.GID {
			say("owner %d:%d became %d:%d", b.UID, b.GID, a.UID, a.GID)
		}
	}
	size := func(f *bus.File) string {
		if f == nil {
			return "nothing"
		}
		return bytesInWords(f.Size)
	}
	switch {
	case p.Binary:
		say("binary contents differ: %s, then %s", size(b), size(a))
	case p.TooLarge:
		say("too large to be shown: %s, then %s", size(b), size(a))
	case p.Text == "" && len(words) == 0 && p.Change == record.Modified:
		say("extended attributes differ")
	}
	return words
}

func target(f *bus.File) string {
	if f.Type != bus.FileLink {
		return ""
	}
	return " to " + plain(f.Target)
}

// bytesInWords: "12.3 MiB".
func bytesInWords(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	f, unit := float64(n), 0
	for f >= 1024 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[unit])
}

// fileList lists what belongs to no package first: nothing else tells of that.
// Then come those of packages; where they are many, their number by package.
func (s Screen) fileList(b *strings.Builder, changes []record.FileChange, all bool, more string) {
	changes = slices.Clone(changes)
	ofDatabase := 0
	if !all {
		known := len(changes)
		changes = slices.DeleteFunc(changes, func(c record.FileChange) bool {
			return c.Owner == "" && slices.ContainsFunc(databases, func(dir string) bool { return strings.HasPrefix(c.Path, dir) })
		})
		ofDatabase = known - len(changes)
	}
	slices.SortStableFunc(changes, func(a, b record.FileChange) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Path, b.Path))
	})
	first := slices.IndexFunc(changes, func(c record.FileChange) bool { return c.Owner != "" })
	if first < 0 {
		first = len(changes)
	}
	hands, packages := changes[:first], changes[first:]
	if len(hands) > 0 || ofDatabase > 0 {
		b.WriteString("\n" + strings.TrimRight(bold("Files of no package")+"  "+filesInWords(record.CountFiles(hands)), " ") + "\n")
		shown := hands
		if !all && len(hands) > mostFiles {
			shown = hands[:mostFiles]
		}
		for _, c := range shown {
			fmt.Fprintf(b, "  %s %s\n", sign(c.Change), plain(c.Path))
		}
		if n := len(hands) - len(shown); n > 0 {
			fmt.Fprintf(b, "  … and %d more; %s", n, more)
		}
		if ofDatabase > 0 {
			fmt.Fprintf(b, "  %s\n", faint(count(ofDatabase, "file")+" of the package database"))
		}
	}
	if len(packages) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s  %s\n", bold("Files of packages"), filesInWords(record.CountFiles(packages)))
	if !all && len(packages) > mostFiles {
		b.WriteString(s.stat(packages))
		b.WriteString("  " + more)
		return
	}
	for i, c := range packages {
		if i == 0 || c.Owner != packages[i-1].Owner {
			b.WriteString("  " + faint(plain(c.Owner)) + "\n")
		}
		fmt.Fprintf(b, "    %s %s\n", sign(c.Change), plain(c.Path))
	}
}
