// Failures, with what to do about them.

package present

import (
	"errors"
	"strings"

	"github.com/txupd/txupd/internal/fault"
)

// Failure draws the words of an error: the first line as it is, the others —
// the last words of a package manager — set off below it.
func (s Screen) Failure(message string, indent int) string {
	var b strings.Builder
	for i, l := range lines(strings.TrimSpace(message)) {
		margin := strings.Repeat(" ", indent)
		switch {
		case i == 0:
			for j, part := range s.wrap(l, indent) {
				if j > 0 {
					part = margin + part
				}
				b.WriteString(red(part) + "\n")
			}
		case l == "":
		default:
			b.WriteString(margin + "  " + faint("| ") + l + "\n")
		}
	}
	return b.String()
}

// Advice is what to do about an error, "" where that is plain or not known.
func Advice(err error) string {
	for _, a := range []struct {
		kind  error
		words string
	}{
		{fault.ErrNotAuthorized, "try it as root: sudo txctl …"},
		{fault.ErrBusy, "with --wait it waits for its turn; \"txctl status\" shows what is going on"},
		{fault.ErrStale, "what boots next was changed meanwhile; look at \"txctl status\" and do it again"},
		{fault.ErrNoSpace, "\"txctl list\" shows the snapshots, \"txctl delete N\" frees the space of one"},
		{fault.ErrConflicts, "without --strict the running side's is put in place, and the other is kept beside it"},
		{fault.ErrUnreconciled, "what is missing is made up for when the daemon starts; \"txctl status\" tells"},
	} {
		if errors.Is(err, a.kind) {
			return a.words
		}
	}
	return ""
}
