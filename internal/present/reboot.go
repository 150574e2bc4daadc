// A reboot that is asked for.

package present

import (
	"fmt"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/bus"
)

// Reboot draws when it takes place, who wanted it and what keeps it.
func (s Screen) Reboot(r bus.Reboot) string {
	words := "The machine reboots " + s.coming(r.Next)
	switch {
	case r.Waits != "":
		words = "A reboot is due"
	case !r.Next.After(s.Now):
		words = "The machine reboots now"
	}
	if r.When == bus.RebootWindow && r.Waits == "" {
		words += ", in a window"
	}
	words += ", as " + plain(r.By) + " wanted"
	if len(r.Reasons) > 0 {
		words += ": " + plain(strings.Join(r.Reasons, "; "))
	}
	words += "."
	if r.Waits != "" {
		words += " It waits: " + plain(r.Waits) + "."
	}
	switch r.Method {
	case bus.RebootSoft:
		words += " It is a soft-reboot, of user space only: " + plain(r.Why) + "."
	case bus.RebootFull:
		words += " It is a full reboot: " + plain(r.Why) + "."
	}
	if r.Deadline != nil {
		words += " At the latest " + s.coming(*r.Deadline) + "."
	}
	return s.Paragraph(words) + s.Paragraph("\"txctl reboot --cancel\" takes it back.")
}

// coming says when something will be: "at 03:30", "tomorrow at 03:30", or with its date.
func (s Screen) coming(t time.Time) string {
	t = t.In(s.Now.Location())
	days := func(t time.Time) int {
		y, m, d := t.Date()
		return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / int64(day/time.Second))
	}
	switch days(t) - days(s.Now) {
	case 0:
		return t.Format("at 15:04")
	case 1:
		return t.Format("tomorrow at 15:04")
	}
	return fmt.Sprintf("on %s at %s", t.Format("Monday, 2 January 2006"), t.Format("15:04"))
}
