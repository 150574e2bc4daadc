// `txctl gc`.

package present

import (
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/bus"
)

// GC draws what housekeeping did or would do; explain is for every snapshot and the rule that decided.
func (s Screen) GC(doc bus.GC, explain bool) string {
	var b strings.Builder
	if explain {
		rows := make([][]string, len(doc.Snapshots))
		for i, one := range doc.Snapshots {
			does := "stays"
			if one.Delete {
				does = red("goes")
			}
			rows[i] = []string{fmt.Sprint(one.Number), s.ago(one.Created), does, plain(one.Why)}
		}
		columns := []column{{head: "NUMBER", right: true}, {head: "CREATED", least: 10}, {head: "", least: 5}, {head: "WHY", least: 20}}
		b.WriteString(s.table(columns, rows, 0) + "\n")
	}
	goes := []uint64{}
	for _, one := range doc.Snapshots {
		if one.Delete {
			goes = append(goes, one.Number)
		}
	}
	deleted := doc.Deleted
	if doc.DryRun {
		deleted = goes
	}
	if len(deleted) > 0 {
		b.WriteString(s.Paragraph(strings.TrimSpace(s.Deleted(deleted, doc.DryRun))))
	} else if len(doc.Failed) == 0 {
		b.WriteString("by the rules no snapshot goes\n")
	}
	for _, f := range doc.Failed {
		b.WriteString(s.Paragraph(fmt.Sprintf("snapshot %d was not deleted: %s", f.Number, plain(f.Message))))
	}
	space := doc.After
	words := fmt.Sprintf("%s free", size(space.Data))
	if !doc.DryRun && doc.After.Data > doc.Before.Data {
		words += fmt.Sprintf(", %s more than before", size(doc.After.Data-doc.Before.Data))
	}
	switch {
	case space.Data < space.DataWanted:
		words += fmt.Sprintf("; %s are wanted", size(space.DataWanted))
	case space.Metadata < space.MetadataWanted:
		words += fmt.Sprintf("; for metadata %s, and %s are wanted", size(space.Metadata), size(space.MetadataWanted))
	}
	if space.Lacking() && doc.DryRun {
		words += ": more of the oldest would go until there is as much"
	}
	b.WriteString(s.Paragraph(words))
	return b.String()
}
