// `txctl etc`: the running /etc, that of a snapshot, and what a reboot makes of both.

package present

import (
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// BothEtc draws how the running /etc and a snapshot's differ and what becomes of them.
func (s Screen) BothEtc(doc bus.Etc) string {
	var b strings.Builder
	if doc.Snapshot == nil {
		b.WriteString(s.Paragraph(fmt.Sprintf("No other snapshot boots next than the one that runs, %d: a reboot does nothing to /etc. What is edited in it "+
			"is merged into the next transaction when that is committed. \"txctl etc NUMBER\" compares with a snapshot.", doc.Booted)))
		s.conflicts(&b, doc.Conflicts, "Conflicts")
		s.recordedDecisions(&b, doc.Decisions, doc.Booted)
		s.choices(&b, doc)
		return b.String()
	}
	n := *doc.Snapshot
	switch {
	case doc.Merged:
		b.WriteString(s.Paragraph(fmt.Sprintf("Snapshot %d boots next, and %d runs. What is edited in the running /etc until the reboot comes along.", n, doc.Booted)))
	case doc.BootsNext:
		b.WriteString(s.Paragraph(fmt.Sprintf("Snapshot %d boots next, and %d runs. What was edited in the running /etc does not come along: %s.", n, doc.Booted, plain(doc.Why))))
	default:
		b.WriteString(s.Paragraph(fmt.Sprintf("Snapshot %d beside the one that runs, %d. %s.", n, doc.Booted, capital(plain(doc.Why)))))
	}
	if doc.BootsNext {
		s.etcChanges(&b, "A reboot changes /etc", "A reboot leaves /etc as it runs.", doc.Reboot)
	} else {
		s.etcChanges(&b, fmt.Sprintf("/etc of %d", n), fmt.Sprintf("/etc of %d is as it runs.", n), doc.Differences)
	}
	if len(doc.Plan) > 0 {
		b.WriteString("\n" + bold("Edited since the last merge") + "\n" + s.decisionRows(doc.Plan))
	}
	s.conflicts(&b, doc.Conflicts, fmt.Sprintf("Conflicts in %d", n))
	s.conflicts(&b, doc.RunningConflicts, "Conflicts in the running /etc")
	s.recordedDecisions(&b, doc.Decisions, n)
	if len(doc.Warnings) > 0 {
		b.WriteString("\n" + s.Warnings(doc.Warnings))
	}
	s.choices(&b, doc)
	if len(doc.Reboot) > 0 || len(doc.Differences) > 0 {
		diff := "txctl etc diff"
		if !doc.BootsNext {
			diff += fmt.Sprintf(" --snapshot %d", n)
		}
		b.WriteString("\n" + s.advice([][]string{{diff, "to see it line by line"}}))
	}
	return b.String()
}

// capital begins a sentence.
func capital(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func (s Screen) etcChanges(b *strings.Builder, heading, none string, all []bus.EtcChange) {
	if len(all) == 0 {
		b.WriteString("\n" + none + "\n")
		return
	}
	files := make([]record.FileChange, len(all))
	for i, c := range all {
		files[i] = record.FileChange{Path: c.Path, Change: c.Change}
	}
	fmt.Fprintf(b, "\n%s  %s\n", bold(heading), filesInWords(record.CountFiles(files)))
	for _, c := range all[:min(len(all), mostFiles)] {
		what := ""
		if words := strings.Join(c.What, ", "); words != "" && words != "content" {
			what = "  " + faint(plain(words))
		}
		fmt.Fprintf(b, "  %s %s%s\n", sign(c.Change), plain(c.Path), what)
	}
	if more := len(all) - mostFiles; more > 0 {
		fmt.Fprintf(b, "  … and %d more; \"txctl etc --json\" has all\n", more)
	}
}

// outcome says in words what a merge decides about a path.
func outcome(d record.EtcDecision) string {
	kept := plain(d.Kept)
	if d.Rule == "resolve" {
		switch d.Decision {
		case bus.ChoiceOurs:
			return "settled: the snapshot's was taken"
		case bus.ChoiceTheirs:
			return "settled: the running side's stayed"
		}
		return "settled in an editor"
	}
	switch d.Decision {
	case "theirs":
		if len(d.What) == 1 && d.What[0] == "deleted" {
			return "its removal comes along"
		}
		return "comes along"
	case "ours":
		return "stays as in the snapshot"
	case "merged":
		return "both sides' changes are in it"
	case "conflict":
		if kept == "" {
			return red("conflict") + ": the running side's stays"
		}
		return red("conflict") + ": the other is kept as " + kept
	case "renumbered":
		return "gets another id"
	case "skipped":
		return "does not come along"
	}
	return plain(d.Decision)
}

func (s Screen) decisionRows(all []record.EtcDecision) string {
	rows := make([][]string, 0, len(all))
	for _, d := range all[:min(len(all), mostFiles)] {
		words := outcome(d)
		if d.Detail != "" {
			words += "; " + plain(d.Detail)
		}
		if d.By != nil {
			words += ", by " + s.who(*d.By)
		}
		rows = append(rows, []string{plain(d.Path), words})
	}
	text := s.table([]column{{least: 20}, {least: 20}}, rows, 2)
	if more := len(all) - mostFiles; more > 0 {
		text += fmt.Sprintf("  … and %d more; \"txctl etc --json\" has all\n", more)
	}
	return text
}

func (s Screen) recordedDecisions(b *strings.Builder, all []record.EtcDecision, n uint64) {
	if len(all) > 0 {
		b.WriteString("\n" + bold("Decided so far") + fmt.Sprintf("  recorded with %d\n", n) + s.decisionRows(all))
	}
}

// conflicts that wait for a decision.
func (s Screen) conflicts(b *strings.Builder, all []bus.EtcConflict, heading string) {
	if len(all) == 0 {
		return
	}
	b.WriteString("\n" + bold(heading) + "\n")
	rows := make([][]string, 0, len(all))
	for _, c := range all[:min(len(all), mostFiles)] {
		rows = append(rows, []string{red("!") + " " + plain(c.Path), faint("kept beside it: " + plain(c.Kept))})
	}
	b.WriteString(s.table([]column{{least: 20}, {least: 20}}, rows, 2))
	if more := len(all) - mostFiles; more > 0 {
		fmt.Fprintf(b, "  … and %d more; \"txctl etc --json\" has all\n", more)
	}
}

// choices are how a conflict is settled.
func (s Screen) choices(b *strings.Builder, doc bus.Etc) {
	if len(doc.Conflicts)+len(doc.RunningConflicts) == 0 {
		return
	}
	b.WriteString("\n" + s.advice([][]string{
		{"txctl etc resolve PATH --theirs", "leaves what is in place: the running side's"},
		{"txctl etc resolve PATH --ours", "takes what was kept: the snapshot's"},
		{"txctl etc resolve PATH --edit", "makes one of both in an editor"},
	}))
}

// EtcDiff draws what becomes of the contents of files in /etc.
func (s Screen) EtcDiff(doc bus.EtcDiff) string {
	heading := fmt.Sprintf("From the running /etc (snapshot %d) to what a reboot makes of it and of snapshot %d", doc.Booted, doc.Snapshot)
	if !doc.Merged {
		heading = fmt.Sprintf("From the running /etc (snapshot %d) to that of snapshot %d as it is now", doc.Booted, doc.Snapshot)
	}
	files := make([]record.FileChange, len(doc.Patches))
	for i, p := range doc.Patches {
		files[i] = record.FileChange{Path: p.Path, Change: p.Change}
	}
	words := filesInWords(record.CountFiles(files))
	if words == "" {
		words = "no difference"
	}
	var b strings.Builder
	b.WriteString(s.Paragraph(heading + ": " + words))
	if len(doc.Patches) > 0 {
		b.WriteString("\n" + s.Patches(doc.Patches))
	}
	if doc.PatchesCut {
		b.WriteString("… and more: name paths to see less at a time\n")
	}
	if len(doc.Warnings) > 0 {
		b.WriteString("\n" + s.Warnings(doc.Warnings))
	}
	return b.String()
}

// EtcResolved tells what became of a conflict.
func (s Screen) EtcResolved(doc bus.EtcResolved) string {
	what := map[string]string{
		bus.ChoiceOurs:   fmt.Sprintf("it is that of snapshot %d now", doc.Version),
		bus.ChoiceTheirs: "it stays as it is",
		bus.ChoiceEdited: "it is what was edited",
	}[doc.Choice]
	left := "no other conflict waits there"
	if doc.Left > 0 {
		left = count(doc.Left, "conflict") + " more: \"txctl etc\""
	}
	return s.Paragraph(fmt.Sprintf("%s in snapshot %d is settled: %s; %s", plain(doc.Path), doc.Snapshot, what, left))
}
