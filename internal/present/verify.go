// `txctl verify` and `txctl grep`.

package present

import (
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/bus"
)

// Verification tells whether the journal is what was written, and what cannot be known.
func (s Screen) Verification(doc bus.Verification) string {
	var b strings.Builder
	verdict := bold(green("Nothing is wrong"))
	if !doc.OK {
		verdict = bold(red(count(len(doc.Problems), "problem")))
	}
	fmt.Fprintf(&b, "%s in %s, %s and %s.\n", verdict, count(int(doc.Events), "event"), count(int(doc.Records), "record"), count(int(doc.Lists), "list")+" of files")
	for _, p := range doc.Problems {
		for i, l := range s.wrap(plain(p.Text), 4) {
			margin := "    "
			if i == 0 {
				margin = "  " + red("!") + " "
			}
			b.WriteString(margin + l + "\n")
		}
	}
	if doc.HeadsChecked > 0 {
		b.WriteString(s.Paragraph(fmt.Sprintf("%s in the chain, up to event %d.", heads(doc.HeadsChecked), doc.Covered)))
	}
	if len(doc.Unproven) > 0 {
		b.WriteString("\n" + bold("Not proven") + "\n")
		for _, u := range doc.Unproven {
			for i, l := range s.wrap(plain(u), 4) {
				margin := "    "
				if i == 0 {
					margin = "  - "
				}
				b.WriteString(margin + l + "\n")
			}
		}
	}
	fmt.Fprintf(&b, "\nHead  %s:%d:%s\n", plain(doc.Journal), doc.Seq, plain(doc.Hash))
	return b.String()
}

func heads(n int) string {
	if n == 1 {
		return "1 head that was printed or kept is"
	}
	return fmt.Sprintf("%d heads that were printed or kept are", n)
}

// Matches draws lines of output below the transaction that printed them.
func (s Screen) Matches(doc bus.Grep) string {
	var b strings.Builder
	for i, m := range doc.Matches {
		if i == 0 || m.Number != doc.Matches[i-1].Number {
			fmt.Fprintf(&b, "%s\n", bold(fmt.Sprintf("Transaction %d", m.Number)))
		}
		text := strings.Join(lines(m.Text), " ")
		fmt.Fprintf(&b, "  %s %s\n", faint(fmt.Sprintf("%d:", m.Line)), text)
	}
	if !doc.Complete {
		b.WriteString("… and more; -n 0 shows all\n")
	}
	return b.String()
}

// Output draws what commands printed so that it does nothing to the terminal.
func (s Screen) Output(line string) string { return strings.Join(lines(line), "\n") }
