package etcmerge

import (
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/textdiff"
)

// mergeLines merges two texts that came from one, or reports that they change
// the same place differently. The algorithm is diff3 (Khanna, Kunal, Pierce, "A
// Formal Investigation of Diff3", 2007): the ancestor is cut into chunks by the
// edits of both sides, and a chunk that only one side changed is that side's.
//
// Two things are finer. Edits that touch are apart where each of them replaces
// lines of its own, so that neighbouring lines can be changed by different
// sides; an insertion is apart from nothing that it touches, because nobody can
// say which comes first. And as that paper shows, merging what was merged need
// not give the same again: a result of which that is so is none.
func mergeLines(ancestor, ours, theirs []byte) (merged []byte, ok bool) {
	base, o, t := textdiff.Lines(ancestor), textdiff.Lines(ours), textdiff.Lines(theirs)
	lines, ok := mergeOnce(base, o, t)
	if !ok {
		return nil, false
	}
	if again, ok := mergeOnce(base, lines, t); !ok || !slices.Equal(again, lines) {
		return nil, false
	}
	return []byte(strings.Join(lines, "")), true
}

func mergeOnce(base, ours, theirs []string) (merged []string, ok bool) {
	o, t := sideOf(base, ours), sideOf(base, theirs)
	done := 0 // lines of base
	for len(o.edits) > 0 || len(t.edits) > 0 {
		fromO, fromT := chunk(o.edits, t.edits)
		mine, other := o.edits[:fromO], t.edits[:fromT]
		from, to := extent(mine, other)
		merged = append(merged, base[done:from]...)
		done = to
		versionO, versionT := o.version(base, mine, from, to), t.version(base, other, from, to)
		switch {
		case len(other) == 0 || slices.Equal(versionO, versionT):
			merged = append(merged, versionO...)
		case len(mine) == 0:
			merged = append(merged, versionT...)
		default:
			return nil, false
		}
		o.edits, t.edits = o.edits[fromO:], t.edits[fromT:]
	}
	return append(merged, base[done:]...), true
}

// edited is one side's text, as edits of the ancestor.
type edited struct {
	lines []string
	edits []textdiff.Edit
}

// sideOf compares a side with the ancestor. Where so many lines were replaced by
// as many, each was replaced by its own.
func sideOf(base, lines []string) edited {
	side := edited{lines: lines}
	for _, e := range textdiff.Edits(base, lines) {
		if e.A1-e.A0 != e.B1-e.B0 {
			side.edits = append(side.edits, e)
			continue
		}
		for i := range e.A1 - e.A0 {
			side.edits = append(side.edits, textdiff.Edit{A0: e.A0 + i, A1: e.A0 + i + 1, B0: e.B0 + i, B1: e.B0 + i + 1})
		}
	}
	return side
}

// chunk is how many of the next edits of both sides belong together.
func chunk(o, t []textdiff.Edit) (fromO, fromT int) {
	if len(t) == 0 || len(o) > 0 && before(o[0], t[0]) {
		fromO = 1
	} else {
		fromT = 1
	}
	for {
		switch {
		case fromT < len(t) && fromO > 0 && collide(t[fromT], o[fromO-1]):
			fromT++
		case fromO < len(o) && fromT > 0 && collide(o[fromO], t[fromT-1]):
			fromO++
		default:
			return fromO, fromT
		}
	}
}

func before(x, y textdiff.Edit) bool { return x.A0 < y.A0 || x.A0 == y.A0 && x.A1 <= y.A1 }

// collide reports whether two edits of different sides are about the same place.
func collide(x, y textdiff.Edit) bool {
	if x.A0 == x.A1 || y.A0 == y.A1 {
		return x.A0 <= y.A1 && y.A0 <= x.A1
	}
	return x.A0 < y.A1 && y.A0 < x.A1
}

// extent is the range of the ancestor that some edits cover.
func extent(o, t []textdiff.Edit) (from, to int) {
	first := true
	for _, edits := range [][]textdiff.Edit{o, t} {
		for _, e := range edits {
			if first {
				from, to, first = e.A0, e.A1, false
			}
			from, to = min(from, e.A0), max(to, e.A1)
		}
	}
	return from, to
}

// version is what a side made of a range of the ancestor by these edits.
func (s edited) version(base []string, edits []textdiff.Edit, from, to int) []string {
	var lines []string
	for _, e := range edits {
		lines = append(lines, base[from:e.A0]...)
		lines = append(lines, s.lines[e.B0:e.B1]...)
		from = e.A1
	}
	return append(lines, base[from:to]...)
}

// mergeSets merges texts whose lines stand for themselves: what one side
// removed is gone, what one side added is there, in the running side's order.
func mergeSets(ancestor, ours, theirs []byte) []byte {
	a, o, t := setOf(ancestor), setOf(ours), setOf(theirs)
	var out strings.Builder
	for _, l := range endedLines(theirs) {
		if !a[l] || o[l] {
			out.WriteString(l)
		}
	}
	for _, l := range endedLines(ours) {
		if !a[l] && !t[l] {
			out.WriteString(l)
		}
	}
	return []byte(out.String())
}

// endedLines are the lines of a text, the last with an end too.
func endedLines(text []byte) []string {
	lines := textdiff.Lines(text)
	if last := len(lines) - 1; last >= 0 && !strings.HasSuffix(lines[last], "\n") {
		lines[last] += "\n"
	}
	return lines
}

func setOf(text []byte) map[string]bool {
	set := map[string]bool{}
	for _, l := range endedLines(text) {
		set[l] = true
	}
	return set
}
