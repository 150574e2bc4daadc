// Package textdiff makes unified diffs of texts: the shortest edit of lines
// (Myers, "An O(ND) Difference Algorithm and Its Variations", 1986), in the
// format of POSIX diff -u.
package textdiff

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// maxEdits bounds the search: texts that differ in more lines are told apart
// as a block, which is right, if not short. The search takes memory of its square.
const maxEdits = 1000

// IsText reports whether data can be shown in lines: it holds no NUL.
func IsText(data []byte) bool { return bytes.IndexByte(data, 0) < 0 }

// Unified returns the hunks that lead from a to b, each with so many lines of
// context, without the lines that name files; "" where they are the same.
func Unified(a, b []byte, context int) string {
	left, right := split(a), split(b)
	var out strings.Builder
	for _, h := range hunks(script(left, right), context) {
		h.write(&out, left, right)
	}
	return out.String()
}

// split cuts a text into lines with their ends.
func split(text []byte) []string {
	lines := strings.SplitAfter(string(text), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// edit replaces lines [a0, a1) of the first text by [b0, b1) of the second.
type edit struct{ a0, a1, b0, b1 int }

// script returns the edits in order; between two of them lines are the same.
func script(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	inA, inB := a[head:len(a)-tail], b[head:len(b)-tail]
	if len(inA) == 0 && len(inB) == 0 {
		return nil
	}
	edits := shortest(inA, inB)
	for i := range edits {
		edits[i].a0 += head
		edits[i].a1 += head
		edits[i].b0 += head
		edits[i].b1 += head
	}
	return edits
}

// shortest searches diagonal by diagonal for the furthest point that d edits
// reach, and goes back the way that led to the end.
func shortest(a, b []string) []edit {
	n, m := len(a), len(b)
	whole := []edit{{0, n, 0, m}}
	if n == 0 || m == 0 {
		return whole
	}
	most := min(n+m, maxEdits)
	reach := make([]int, 2*most+3) // the furthest x on diagonal k, at k+most+1
	var trail [][]int
	for d := 0; d <= most; d++ {
		for k := -d; k <= d; k += 2 {
			at := k + most + 1
			x := reach[at-1] + 1
			if k == -d || k != d && reach[at-1] < reach[at+1] {
				x = reach[at+1]
			}
			y := x - k
			for x < n && y < m && a[x] == b[y] {
				x++
				y++
			}
			reach[at] = x
			if x >= n && y >= m {
				return back(trail, n, m)
			}
		}
		// Of what follows only diagonals -d … d are read.
		trail = append(trail, slices.Clone(reach[most+1-d:most+2+d]))
	}
	return whole
}

// back turns the trail into edits; neighbouring ones are joined.
func back(trail [][]int, n, m int) []edit {
	var edits []edit
	x, y := n, m
	for d := len(trail); d > 0; d-- {
		before := trail[d-1] // diagonals -(d-1) … d-1
		on := func(k int) int {
			if k < -(d-1) || k > d-1 {
				return -1
			}
			return before[k+d-1]
		}
		k := x - y
		down := k == -d || k != d && on(k-1) < on(k+1)
		from := k - 1
		if down {
			from = k + 1
		}
		px := on(from)
		py := px - from
		e := edit{px, px + 1, py, py}
		if down {
			e = edit{px, px, py, py + 1}
		}
		if last := len(edits) - 1; last >= 0 && edits[last].a0 == e.a1 && edits[last].b0 == e.b1 {
			edits[last].a0, edits[last].b0 = e.a0, e.b0
		} else {
			edits = append(edits, e)
		}
		x, y = px, py
	}
	slices.Reverse(edits)
	return edits
}

// hunk is a run of edits with the lines around them.
type hunk struct {
	edit
	edits []edit
}

// hunks puts together edits whose context touches.
func hunks(edits []edit, context int) []hunk {
	var all []hunk
	for _, e := range edits {
		if last := len(all) - 1; last >= 0 && e.a0-all[last].a1 <= 2*context {
			all[last].edits = append(all[last].edits, e)
			all[last].a1, all[last].b1 = e.a1, e.b1
			continue
		}
		all = append(all, hunk{e, []edit{e}})
	}
	for i := range all {
		h := &all[i]
		before := min(context, h.a0)
		h.a0 -= before
		h.b0 -= before
		h.a1 += context // cut to the text's end in write
		h.b1 += context
	}
	return all
}

func (h hunk) write(out *strings.Builder, a, b []string) {
	over := max(0, h.a1-len(a))
	h.a1 -= over
	h.b1 -= over
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(h.a0, h.a1), span(h.b0, h.b1))
	at := h.a0
	for _, e := range h.edits {
		lines(out, ' ', a[at:e.a0])
		lines(out, '-', a[e.a0:e.a1])
		lines(out, '+', b[e.b0:e.b1])
		at = e.a1
	}
	lines(out, ' ', a[at:h.a1])
}

// span is a range as POSIX writes it: an empty one stands after the line before it.
func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

func lines(out *strings.Builder, mark byte, all []string) {
	for _, l := range all {
		out.WriteByte(mark)
		out.WriteString(l)
		if !strings.HasSuffix(l, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}
