// `txctl status`: what runs, what boots next, what the difference is, and what to do.

package present

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// label is the width of the words on the left.
const label = 12

// Status draws the status. snapshots are those of `list`; they are needed only
// where something else boots next than what runs.
func (s Screen) Status(doc bus.Status, snapshots []bus.Snapshot) string {
	var b strings.Builder
	booted, next := doc.Booted, doc.Default
	if booted != nil {
		s.snapshotLines(&b, "Running", *booted)
	}
	switch {
	case next == nil || booted == nil:
	case doc.Pending == nil:
		fmt.Fprintf(&b, "%s the same; no reboot is needed\n", field("Boots next"))
	default:
		s.snapshotLines(&b, "Boots next", *next)
		s.differenceLines(&b, *booted, *next, snapshots)
	}
	if doc.RebootRequired && booted != nil && next != nil {
		b.WriteString("\n" + s.rebootLines(*booted, *next))
	}
	if doc.Reboot != nil {
		b.WriteString("\n" + s.Reboot(*doc.Reboot))
	}
	if t := doc.Transaction; t != nil {
		b.WriteString("\n" + s.transactionLines(*t))
	}
	if len(doc.Warnings) > 0 {
		b.WriteString("\n" + s.Warnings(doc.Warnings))
	}
	return b.String()
}

func field(name string) string { return bold(pad(name, label-1)) }

// snapshotLines are two lines on one snapshot.
func (s Screen) snapshotLines(b *strings.Builder, name string, one bus.Snapshot) {
	title := fmt.Sprintf("snapshot %d", one.Number)
	if one.Foreign {
		title = fmt.Sprintf("subvolume %d, which txupd did not make", one.SubvolumeID)
	}
	if one.Kernel != "" {
		title += ", kernel " + plain(one.Kernel)
	}
	fmt.Fprintf(b, "%s %s\n", field(name), title)
	if one.Foreign {
		return
	}
	made := "made "
	if one.Adopted {
		made = "adopted "
	}
	text := verdict(one.Verdict, slices.Contains(one.Roles, bus.RoleBooted)) + "; " + made + s.ago(one.Created) + ": " + why(one.Message, one.Kind)
	b.WriteString(strings.Repeat(" ", label) + cut(text, s.Width-label) + "\n")
}

// verdict says what booting it showed.
func verdict(v record.Verdict, booted bool) string {
	switch {
	case v == record.Good:
		return green("good")
	case v == record.Bad:
		return red("bad")
	case booted:
		return amber("no verdict yet")
	}
	return amber("not booted yet")
}

func (s Screen) differenceLines(b *strings.Builder, booted, next bus.Snapshot, snapshots []bus.Snapshot) {
	byNumber := map[uint64]Step{}
	for _, one := range snapshots {
		byNumber[one.Number] = StepOf(one)
	}
	d := Between(booted.Number, next.Number, func(n uint64) (Step, bool) {
		one, ok := byNumber[n]
		return one, ok
	})
	if len(d.Brought) == 1 && len(d.LeftOut) == 0 { // who and why stand above
		fmt.Fprintf(b, "%s %s\n", pad("  brings", label-1), inAll(next.Packages, next.Files))
	} else {
		s.sides(b, d, "brings", "drops")
	}
	if !d.Known {
		fmt.Fprintf(b, "%s what lies between the two is not known in full\n", field(""))
	}
}

// mostSteps of a difference are shown.
const mostSteps = 10

// sides lists both sides of a difference.
func (s Screen) sides(b *strings.Builder, d Difference, brought, leftOut string) {
	for _, side := range []struct {
		name  string
		steps []Step
	}{{brought, d.Brought}, {leftOut, d.LeftOut}} {
		if len(side.steps) == 0 {
			continue
		}
		rows := strings.TrimPrefix(s.stepRows(side.steps[:min(len(side.steps), mostSteps)], label), strings.Repeat(" ", label))
		b.WriteString(pad("  "+side.name, label) + rows)
		if more := len(side.steps) - mostSteps; more > 0 {
			fmt.Fprintf(b, "%s… and %d more: \"txctl log\"\n", strings.Repeat(" ", label), more)
		}
	}
}

func (s Screen) rebootLines(booted, next bus.Snapshot) string {
	reason := ""
	switch {
	case next.Kernel != booted.Kernel && next.Kernel != "" && booted.Kernel != "":
		reason = ", with another kernel"
	case next.Number < booted.Number:
		reason = ", which is the older one"
	}
	text := amber("A reboot is needed") + fmt.Sprintf(" to run snapshot %d%s.\n", next.Number, reason)
	advice := [][]string{{"txctl reboot", "to run it"}}
	if !next.Foreign {
		advice = append(advice, []string{fmt.Sprintf("txctl show %d", next.Number), "to see what is in it"})
	}
	if !booted.Foreign {
		advice = append(advice, []string{fmt.Sprintf("txctl rollback %d", booted.Number), "to stay with what runs"})
	}
	return text + s.advice(advice)
}

// advice is what to do next: a command and what for.
func (s Screen) advice(rows [][]string) string {
	for _, row := range rows {
		row[0] = cyan(row[0])
	}
	return s.table([]column{{}, {}}, rows, 2)
}

func (s Screen) transactionLines(t bus.Transaction) string {
	state := "is open"
	if t.Running {
		state = "is at work"
	}
	text := fmt.Sprintf("%s %s, begun %s by %s from snapshot %d",
		bold(fmt.Sprintf("Transaction %d", t.Number)), state, s.ago(t.Since), s.who(t.Actor), t.Parent)
	text = s.Paragraph(text + ": " + why(t.Message, t.Kind))
	if t.Running || t.Kind != "begin" {
		return text
	}
	if t.Expires != nil {
		text += fmt.Sprintf("It is given up in %s unless it is committed.\n", span(max(0, t.Expires.Sub(s.Now).Round(time.Minute))))
	}
	return text + s.Open(t.Number)
}

// Open says what can be done with an open transaction.
func (s Screen) Open(n uint64) string {
	return s.advice([][]string{
		{fmt.Sprintf("txctl exec %d -- COMMAND", n), "to work in it"},
		{fmt.Sprintf("txctl commit %d", n), "to make it what boots next"},
		{fmt.Sprintf("txctl discard %d", n), "to give it up"},
	})
}

// who names an actor in a few words.
func (s Screen) who(a record.Actor) string {
	name := plain(a.Name)
	if name == "" {
		name = fmt.Sprintf("uid %d", a.UID)
	}
	if a.Login != "" {
		name = plain(a.Login) + " as " + name
	}
	return name
}

// Warnings lists warnings, each with its sign.
func (s Screen) Warnings(all []string) string {
	var b strings.Builder
	for _, w := range all {
		for i, l := range s.wrap(plain(w), 2) {
			mark := "  "
			if i == 0 {
				mark = amber("! ")
			}
			b.WriteString(mark + l + "\n")
		}
	}
	return b.String()
}
