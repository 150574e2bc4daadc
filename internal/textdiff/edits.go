package textdiff

// Edit replaces lines [A0, A1) of the first text by [B0, B1) of the second.
type Edit struct{ A0, A1, B0, B1 int }

// Edits returns in order the edits that lead from a to b; between two of them
// at least one line is the same. They are the fewest, unless the texts differ
// in more lines than the search goes: then what differs is one edit.
func Edits(a, b []string) []Edit {
	found := script(a, b)
	edits := make([]Edit, len(found))
	for i, e := range found {
		edits[i] = Edit{e.a0, e.a1, e.b0, e.b1}
	}
	return edits
}

// Lines cuts a text into lines with their ends; the last may have none.
func Lines(text []byte) []string { return split(text) }
