// Tables without lines: columns as wide as what they hold, the elastic ones
// shrunk to fit the screen.

package present

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// column is one column of a table.
type column struct {
	head  string
	right bool // aligned to the right
	// least is the width below which it is not shrunk; 0 is never shrunk at all.
	least int
}

// gap is between columns.
const gap = 2

// table draws rows below the heads of columns, each line indented.
func (s Screen) table(columns []column, rows [][]string, indent int) string {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = ansi.StringWidth(c.head)
		for _, row := range rows {
			widths[i] = max(widths[i], ansi.StringWidth(row[i]))
		}
	}
	s.fit(columns, widths, indent)
	var b strings.Builder
	headed := false
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = bold(c.head)
		headed = headed || c.head != ""
	}
	if headed {
		line(&b, columns, widths, heads, indent)
	}
	for _, row := range rows {
		line(&b, columns, widths, row, indent)
	}
	return b.String()
}

func line(b *strings.Builder, columns []column, widths []int, cells []string, indent int) {
	text := strings.Repeat(" ", indent)
	for i, cell := range cells {
		if i > 0 {
			text += strings.Repeat(" ", gap)
		}
		cell = cut(cell, widths[i])
		if columns[i].right {
			cell = strings.Repeat(" ", max(0, widths[i]-ansi.StringWidth(cell))) + cell
		} else {
			cell = pad(cell, widths[i])
		}
		text += cell
	}
	b.WriteString(strings.TrimRight(text, " ") + "\n")
}

// fit takes from the elastic columns, the last one first, what is too wide.
func (s Screen) fit(columns []column, widths []int, indent int) {
	if s.Width == 0 {
		return
	}
	total := indent + gap*(len(columns)-1)
	for _, w := range widths {
		total += w
	}
	for i := len(columns) - 1; i >= 0 && total > s.Width; i-- {
		if least := columns[i].least; least > 0 && widths[i] > least {
			take := min(total-s.Width, widths[i]-least)
			widths[i] -= take
			total -= take
		}
	}
}
