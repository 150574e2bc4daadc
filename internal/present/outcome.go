// How a transaction, a rollback or a deletion ended.

package present

import (
	"fmt"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Before is how things stood before a transaction, as far as its end is told by it.
type Before struct {
	Booted  *uint64
	Pending *uint64
}

// BeforeOf takes from a status what Before holds.
func BeforeOf(st bus.Status) Before {
	var b Before
	if st.Booted != nil {
		b.Booted = &st.Booted.Number
	}
	if st.Pending != nil {
		b.Pending = &st.Pending.Number
	}
	return b
}

// parent names what a transaction starts from, with its role.
func (b Before) parent(n uint64) string {
	switch {
	case b.Pending != nil && *b.Pending == n:
		return fmt.Sprintf("from %d, the pending one", n)
	case b.Booted != nil && *b.Booted == n:
		return fmt.Sprintf("from %d, the running one", n)
	}
	return fmt.Sprintf("from %d", n)
}

// Parent says which snapshot a transaction works on, for its beginning.
func (b Before) Parent(number, parent uint64) string {
	return fmt.Sprintf("transaction %d (%s)", number, b.parent(parent))
}

// PackageChanges is the table of what became of packages, "" for none.
func (s Screen) PackageChanges(changes []record.PackageChange) string {
	return s.packageRows(changes, 0)
}

// Committed tells of a commit in short.
func (s Screen) Committed(o bus.Outcome, b Before) string {
	text := fmt.Sprintf("%s (%s) boots next: %s; reboot to use it",
		bold(fmt.Sprintf("snapshot %d", o.Number)), b.parent(o.Parent), inAll(record.CountPackages(o.PackageChanges), o.Files))
	out := s.Paragraph(text)
	if b.Pending != nil && *b.Pending != o.Parent {
		out += s.Paragraph(fmt.Sprintf("snapshot %d, which was pending, is superseded and still there: \"txctl rollback %d\" makes it the default again", *b.Pending, *b.Pending))
	}
	return out
}

// Unchanged tells that there was nothing to commit.
func (s Screen) Unchanged() string { return "nothing changed; no snapshot was made\n" }

// FailureOf is the sentence on a transaction that came to nothing.
func FailureOf(o bus.Outcome) string {
	message := strings.TrimSpace(o.ErrorMessage)
	first, rest, more := strings.Cut(message, "\n")
	const nothing = "; nothing was changed"
	switch {
	case o.Error == fault.Name(fault.ErrUnreconciled):
		return message
	case o.Error == fault.Name(fault.ErrCommandFailed):
		return fmt.Sprintf("the command failed with status %d%s", o.Exit, meaning(o.Exit)) + nothing
	case o.Error == fault.Name(fault.ErrCancelled):
		return "cancelled" + nothing
	case more:
		return strings.TrimRight(first, ": ") + nothing + "\n" + rest
	}
	return message + nothing
}

// meaning is what shells mean by some exit statuses.
func meaning(exit int32) string {
	switch {
	case exit == 126:
		return " (it cannot be executed)"
	case exit == 127:
		return " (not found)"
	case exit > 128 && exit <= 128+64:
		return fmt.Sprintf(" (signal %d)", exit-128)
	}
	return ""
}

// Rollback is what a rollback did, or would do.
type Rollback struct {
	Default  uint64 // boots next now
	Previous uint64 // booted next before
	Booted   uint64
	Difference
	KernelBefore, KernelAfter string
	// AsCommitted: the new default is a snapshot of what another one, Of, was when it was committed.
	AsCommitted bool
	Of          uint64
	// KeepEtc: what was edited in the running /etc comes along, in a new snapshot of Of.
	KeepEtc bool
	// Edits are what was written to the running root since it was committed, which the new default
	// does not have; it stays where it is.
	Edits      []record.FileChange
	EditsKnown bool
	// Shared is what the running root handed over to shared trees; it stays there unless RestoreShared.
	Shared        []Handed
	RestoreShared bool
	// Planned: it is about to be done, if a person agrees; DryRun: only shown.
	Planned, DryRun bool
}

// New reports whether a new snapshot is what boots next.
func (r Rollback) New() bool { return r.AsCommitted || r.KeepEtc }

// left are the edits that do not come along.
func (r Rollback) left() []record.FileChange {
	if !r.KeepEtc {
		return r.Edits
	}
	return slices.DeleteFunc(slices.Clone(r.Edits), func(f record.FileChange) bool { return f.Path == "/etc" || strings.HasPrefix(f.Path, "/etc/") })
}

// Rollback draws it.
func (s Screen) Rollback(r Rollback) string {
	var b strings.Builder
	if r.Default == r.Previous && !r.New() {
		if !r.RestoreShared || len(r.Shared) == 0 {
			fmt.Fprintf(&b, "Snapshot %d is what boots next already; nothing was changed.\n", r.Default)
			return b.String()
		}
		fmt.Fprintf(&b, "Snapshot %d is what boots next already.\n", r.Default)
		s.handed(&b, r)
		return b.String()
	}
	name := bold(fmt.Sprintf("Snapshot %d", r.Default))
	verb := "boots next now"
	switch {
	case r.Planned:
		verb = "will boot next"
	case r.DryRun:
		verb = "would boot next"
	}
	how := ""
	if r.AsCommitted {
		how = " as it was committed"
	}
	if r.KeepEtc {
		how += " with what was edited in the running /etc"
	}
	switch {
	case r.New() && (r.Planned || r.DryRun):
		name = fmt.Sprintf("A new snapshot, of %d%s,", r.Default, how)
	case r.New():
		name += fmt.Sprintf(", which is %d%s,", r.Of, how)
	}
	b.WriteString(s.Paragraph(fmt.Sprintf("%s %s, instead of %d.", name, verb, r.Previous)))
	s.sides(&b, r.Difference, "brings", "drops")
	if !r.Known {
		b.WriteString("What lies between the two is not known in full.\n")
	}
	if changes := r.Packages(); len(changes) > 0 {
		b.WriteString("\n" + bold("Packages") + "\n" + s.packageRows(changes, 2))
	}
	if f := r.Files(); f != (record.FileCounts{}) {
		fmt.Fprintf(&b, "\n%s  %d added, %d modified, %d removed\n", bold("Files "), f.Added, f.Modified, f.Removed)
	}
	if r.KernelBefore != r.KernelAfter && r.KernelBefore != "" && r.KernelAfter != "" {
		fmt.Fprintf(&b, "%s  %s → %s\n", bold("Kernel"), plain(r.KernelBefore), plain(r.KernelAfter))
	}
	s.edits(&b, r)
	s.handed(&b, r)
	if r.Planned {
		return b.String()
	}
	if r.DryRun {
		b.WriteString("\nNothing was changed: this was a dry run.\n")
		return b.String()
	}
	b.WriteString("\n")
	advice := [][]string{{"txctl reboot", "to run it"}, {fmt.Sprintf("txctl rollback %d", r.Previous), "to undo this"}}
	if r.Default == r.Booted {
		b.WriteString("It is what runs: no reboot is needed.\n")
		advice = advice[1:]
	}
	b.WriteString(s.advice(advice))
	return b.String()
}

// mostEdits are shown one by one, and only those in /etc: the rest is mostly the system's own.
const mostEdits = 20

func (s Screen) edits(b *strings.Builder, r Rollback) {
	all := r.left()
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s  %s since, which %d does not have\n", bold(fmt.Sprintf("Edits to the running %d", r.Booted)), filesInWords(record.CountFiles(all)), r.Default)
	shown := 0
	for _, f := range all {
		if strings.HasPrefix(f.Path, "/etc/") && shown < mostEdits {
			fmt.Fprintf(b, "  %s %s\n", sign(f.Change), plain(f.Path))
			shown++
		}
	}
	if more := len(all) - shown; more > 0 {
		if shown > 0 {
			fmt.Fprintf(b, "  … and %d more", more)
		} else {
			fmt.Fprintf(b, "  none of them in /etc")
		}
		fmt.Fprintf(b, "; \"txctl diff --now %d %d\" shows them\n", r.Booted, r.Booted)
	}
}

// Deleted tells what was deleted, or would be.
func (s Screen) Deleted(numbers []uint64, dryRun bool) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = fmt.Sprint(n)
	}
	noun, is, its := "snapshot", "is", "its record stays"
	if len(numbers) != 1 {
		noun, is, its = "snapshots", "are", "their records stay"
	}
	if dryRun {
		return fmt.Sprintf("%s %s would be deleted; nothing was changed\n", noun, and(words))
	}
	return fmt.Sprintf("%s %s %s deleted; %s\n", noun, and(words), is, its)
}
