// What came of an unattended update.

package present

import (
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Auto draws the summary of a run: fit for a mail.
func (s Screen) Auto(doc bus.Auto) string {
	var b strings.Builder
	packages := count(len(doc.Packages), "package")
	switch doc.Result {
	case bus.AutoCurrent:
		return "everything is up to date\n"
	case bus.AutoMetered:
		return s.Paragraph("nothing is updated: the network is metered, and auto.metered is false")
	case bus.AutoAvailable:
		b.WriteString(s.Paragraph(fmt.Sprintf("an update is available, which changes %s; \"txctl update\" takes it", packages)))
	case bus.AutoHeld:
		b.WriteString(s.Paragraph(fmt.Sprintf("the update is held back: it brings what snapshot %d went bad with; \"txctl show %[1]d\" tells more", *doc.HeldFor)))
	default:
		b.WriteString(s.Paragraph(fmt.Sprintf("snapshot %d boots next, with %s changed", *doc.Snapshot, packages)))
	}
	if len(doc.Packages) > 0 {
		rows := make([][]string, len(doc.Packages))
		for i, c := range doc.Packages {
			rows[i] = []string{plain(c.Name), versions(c)}
		}
		b.WriteString("\n" + s.table([]column{{head: "Package", least: 12}, {head: "Version", least: 12}}, rows, 0))
	}
	if doc.Reboot != nil {
		b.WriteString("\n" + s.Reboot(*doc.Reboot))
	}
	return b.String()
}

// versions says what becomes of a package.
func versions(c record.PackageChange) string {
	switch c.Change {
	case record.Added:
		return version(c) + " (new)"
	case record.Removed:
		return version(c) + " (removed)"
	}
	return version(c)
}
