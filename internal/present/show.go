// `txctl show N`: everything that is known of one transaction.

package present

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// mostFiles are shown unless all are asked for.
const mostFiles = 40

// Show draws a record. roles are the snapshot's, computed now; allFiles shows
// every changed file.
func (s Screen) Show(r record.Record, roles []string, allFiles bool) string {
	var b strings.Builder
	b.WriteString(bold(fmt.Sprintf("Transaction %d", r.Number)) + "  " + s.standing(r, roles) + "\n")
	s.facts(&b, r)
	s.notes(&b, r.Notes)
	s.commands(&b, r.Commands)
	if len(r.PackageChanges) > 0 {
		fmt.Fprintf(&b, "\n%s  %s\n%s", bold("Packages"), packagesInWords(record.CountPackages(r.PackageChanges)), s.packageRows(r.PackageChanges, 2))
	}
	s.files(&b, r, allFiles)
	s.shared(&b, r)
	s.decisions(&b, r.EtcDecisions)
	s.boots(&b, r.Boots)
	if r.Error != "" {
		b.WriteString("\n" + s.Failure(r.Error, 0))
	}
	if len(r.Warnings) > 0 {
		b.WriteString("\n" + s.Warnings(r.Warnings))
	}
	return b.String()
}

// standing is what became of a transaction, in a few words.
func (s Screen) standing(r record.Record, roles []string) string {
	var words []string
	switch {
	case r.Deleted != nil:
		gone := "deleted " + s.ago(*r.Deleted)
		if r.DeletedFor != "" {
			gone += " by gc: " + r.DeletedFor
		}
		words = append(words, faint(gone))
	case r.Phase == record.Failed:
		words = append(words, red("failed"))
	case r.Phase == record.Discarded:
		words = append(words, faint("discarded"))
	case r.Phase == record.Open:
		words = append(words, cyan("open"))
	default:
		for _, role := range roles {
			words = append(words, plain(role))
		}
		words = append(words, verdict(r.Verdict, len(r.Boots) > 0 || slices.Contains(roles, bus.RoleBooted)))
	}
	if r.Pinned {
		words = append(words, "pinned")
	}
	return strings.Join(words, ", ")
}

func (s Screen) facts(b *strings.Builder, r record.Record) {
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "  %s %s\n", pad(name, label-3), value)
		}
	}
	for i, l := range lines(strings.TrimSpace(r.Message)) {
		name := ""
		if i == 0 {
			name = "Why"
		}
		for j, part := range s.wrap(l, label) {
			if j > 0 {
				name = ""
			}
			b.WriteString(strings.TrimRight(fmt.Sprintf("  %s %s", pad(name, label-3), part), " ") + "\n")
		}
	}
	fact("What", plain(r.Kind))
	fact("Who", s.whoInFull(r.Actor))
	when := s.date(r.Created) + " (" + s.ago(r.Created) + ")"
	if r.Finished != nil && !r.Adopted {
		when += ", took " + took(r.Finished.Sub(r.Created))
	}
	fact("When", when)
	if r.Expires != nil {
		fact("Expires", s.date(*r.Expires))
	}
	if r.Parent != nil {
		fact("Parent", fmt.Sprintf("snapshot %d", *r.Parent))
	} else if r.Adopted {
		fact("Parent", "none: txupd did not make it")
	}
	fact("Kernel", plain(r.Kernel))
	tags := make([]string, len(r.Tags))
	for i, t := range r.Tags {
		tags[i] = plain(t)
	}
	fact("Tags", strings.Join(tags, " "))
	if r.Sizes != nil {
		fact("Size", bytesInWords(r.Sizes.Written)+" written, "+bytesInWords(r.Sizes.Replaced)+" replaced")
	}
}

func (s Screen) whoInFull(a record.Actor) string {
	words := s.who(a)
	for _, more := range [][2]string{{"session", a.Session}, {"unit", a.Unit}} {
		if more[1] != "" {
			words += ", " + more[0] + " " + plain(more[1])
		}
	}
	return words
}

func (s Screen) commands(b *strings.Builder, commands []record.Command) {
	if len(commands) == 0 {
		return
	}
	b.WriteString("\n" + bold("Commands") + "\n")
	rows := make([][]string, len(commands))
	for i, c := range commands {
		status, duration := green("ok"), took(time.Duration(c.Duration*float64(time.Second)))
		switch {
		case c.Exit < 0:
			status, duration = amber("did not end"), ""
		case c.Exit > 0:
			status = red(fmt.Sprintf("status %d", c.Exit))
		}
		rows[i] = []string{status, duration, CommandLine(c.Argv)}
	}
	b.WriteString(s.table([]column{{}, {right: true}, {least: 20}}, rows, 2))
}

// CommandLine writes an argv so that a shell would read it the same way.
func CommandLine(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		safe := func(r rune) bool {
			return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+@%^", r)
		}
		words[i] = plain(arg)
		if arg == "" || strings.ContainsFunc(arg, func(r rune) bool { return !safe(r) }) {
			words[i] = "'" + strings.ReplaceAll(words[i], "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// databases are where package managers keep theirs: what changes there says
// nothing that the packages do not say.
var databases = []string{"/var/lib/dpkg/", "/usr/lib/sysimage/rpm/", "/var/lib/rpm/", "/var/lib/apt/"}

// files lists what changed.
func (s Screen) files(b *strings.Builder, r record.Record, all bool) {
	if len(r.FileChanges) == 0 {
		if words := filesInWords(r.Files); words != "" {
			fmt.Fprintf(b, "\n%s  %s\n", bold("Files"), words)
		}
		return
	}
	s.fileList(b, r.FileChanges, all, fmt.Sprintf("\"txctl show --files %d\" shows them\n", r.Number))
}

// Etc draws what a transaction did to files in /etc, "" for nothing.
func (s Screen) Etc(patches []bus.Patch) string {
	if len(patches) == 0 {
		return ""
	}
	return "\n" + bold("In /etc") + "\n" + s.Patches(patches)
}

// notes are what people added later.
func (s Screen) notes(b *strings.Builder, notes []record.Note) {
	for _, n := range notes {
		fmt.Fprintf(b, "\n%s  %s, %s\n", bold("Note"), s.who(n.Actor), s.ago(n.Time))
		for _, l := range lines(strings.TrimSpace(n.Text)) {
			for _, part := range s.wrap(l, 2) {
				b.WriteString(strings.TrimRight("  "+part, " ") + "\n")
			}
		}
	}
}

func (s Screen) decisions(b *strings.Builder, all []record.EtcDecision) {
	if len(all) == 0 {
		return
	}
	b.WriteString("\n" + bold("Merge of /etc") + "\n")
	rows := make([][]string, len(all))
	for i, d := range all {
		kept := ""
		if d.Kept != "" {
			kept = "other side: " + plain(d.Kept)
		}
		decision := plain(d.Decision)
		if d.By != nil { // a person settled it, and nothing is kept any more
			decision, kept = outcome(d), "by "+s.who(*d.By)
		}
		rows[i] = []string{plain(d.Path), decision, kept}
	}
	b.WriteString(s.table([]column{{least: 20}, {}, {least: 20}}, rows, 2))
}

func (s Screen) boots(b *strings.Builder, boots []record.Boot) {
	if len(boots) == 0 {
		return
	}
	b.WriteString("\n" + bold("Boots") + "\n")
	for _, one := range boots {
		why := one.Why
		if why == "" && len(one.Failed) > 0 {
			why = "failed: " + strings.Join(one.Failed, ", ")
		}
		if one.Left {
			why += "; it was left by itself"
		}
		fmt.Fprintf(b, "  %s  %s\n", s.date(one.First), verdict(one.Verdict, true))
		for _, l := range s.wrap(plain(why), 4) {
			if l != "" {
				b.WriteString("    " + l + "\n")
			}
		}
	}
}
