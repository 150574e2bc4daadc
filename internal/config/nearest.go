package config

import "strings"

// nearest is the key or section that may be meant by a name that there is not,
// "" where none is like it.
func (r *reader) nearest(name string) string {
	best, distance := "", 1+max(2, len(name)/4)
	try := func(candidate string) {
		if d := edits(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	for _, s := range r.settings {
		section, last, _ := strings.Cut(s.key, ".")
		// Right, but in another section or in none.
		if name == last || strings.HasSuffix(name, "."+last) {
			return s.key
		}
		try(s.key)
		try(section)
	}
	return best
}

// edits counts the letters to insert, delete or replace to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
