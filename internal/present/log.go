// `txctl log`: what happened, newest first.

package present

import (
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Log draws records, one a line.
func (s Screen) Log(doc bus.Log) string {
	if len(doc.Records) == 0 {
		return "Nothing is recorded.\n"
	}
	rows := make([][]string, len(doc.Records))
	for i, r := range doc.Records {
		rows[i] = []string{fmt.Sprint(r.Number), s.ago(r.Created), phase(r), plain(r.Kind), signs(r.Packages, r.Files), why(r.Message, r.Kind)}
	}
	return s.table([]column{{head: "NUMBER", right: true}, {head: "WHEN"}, {head: "PHASE"}, {head: "WHAT"}, {head: "CHANGES"}, {head: "MESSAGE", least: 16}}, rows, 0)
}

func phase(r record.Record) string {
	switch {
	case r.Deleted != nil:
		return faint("deleted")
	case r.Phase == record.Failed:
		return red("failed")
	case r.Phase == record.Committed:
		return green("committed")
	case r.Phase == record.Open:
		return cyan("open")
	}
	return faint(plain(string(r.Phase)))
}

// FullLog draws records in full, without their files.
func (s Screen) FullLog(doc bus.Log) string {
	if len(doc.Records) == 0 {
		return "Nothing is recorded.\n"
	}
	all := make([]string, len(doc.Records))
	for i, r := range doc.Records {
		all[i] = s.Show(r, nil, false)
	}
	return strings.Join(all, "\n")
}
