// `txctl blame`: who changed a path or package.

package present

import (
	"fmt"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Blame draws changes, newest first, one a line.
func (s Screen) Blame(doc bus.Blame) string {
	if len(doc.Changes) == 0 {
		what := "No recorded transaction changed " + plain(doc.Subject) + "."
		if doc.IsPackage {
			what = "No recorded transaction changed the package " + plain(doc.Subject) + "; a path begins with \"/\"."
		}
		return s.Paragraph(what)
	}
	single := !doc.IsPackage
	for _, c := range doc.Changes {
		single = single && c.Path == doc.Subject
	}
	columns := []column{{head: "NUMBER", right: true}, {head: "WHEN"}, {head: "WHO", least: 6}, {}, {head: "PATH", least: 20}, {head: "MESSAGE", least: 16}}
	if doc.IsPackage {
		columns[4].head = "VERSION"
	}
	rows := make([][]string, len(doc.Changes))
	for i, c := range doc.Changes {
		what := plain(c.Path)
		if p := c.Package; p != nil {
			what = version(*p)
		}
		rows[i] = []string{fmt.Sprint(c.Number), s.ago(c.Created), s.who(c.Actor), sign(c.Change), what, why(c.Message, c.Kind)}
	}
	if single { // every line would say the same
		columns = append(columns[:4:4], columns[5])
		for i := range rows {
			rows[i] = append(rows[i][:4:4], rows[i][5])
			rows[i][3] += " " + plain(doc.Changes[i].Change)
		}
	}
	text := s.table(columns, rows, 0)
	if !doc.Complete {
		text += "… and older ones; -n 0 shows all\n"
	}
	return text
}

// version is what became of a package's.
func version(c record.PackageChange) string {
	switch c.Change {
	case record.Removed:
		return plain(c.Old)
	case record.Upgraded, record.Downgraded:
		return plain(c.Old) + faint(" → ") + plain(c.New)
	}
	return plain(c.New)
}
