package etcmerge

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/txupd/txupd/internal/textdiff"
)

func TestMergeLines(t *testing.T) {
	for _, c := range []struct{ a, o, t, want string }{ // want "!" for a conflict
		{"", "", "", ""},
		{"a\n", "a\n", "b\n", "b\n"},
		{"a\n", "b\n", "a\n", "b\n"},
		{"a\n", "b\n", "b\n", "b\n"},
		{"a\n", "b\n", "c\n", "!"},
		{"a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n"},
		{"a\nb\n", "A\nb\n", "a\nB\n", "A\nB\n"},
		{"a\nb\nc\nd\n", "A\nB\nc\nd\n", "a\nb\nC\nD\n", "A\nB\nC\nD\n"},
		{"a\nb\nc\n", "a\nx\nb\nc\n", "a\nB\nc\n", "!"},
		{"a\nb\nc\nd\n", "a\nc\nd\n", "a\nb\nc\nD\n", "a\nc\nD\n"},
		{"a\nb\nc\n", "a\nc\n", "a\nb\nC\n", "!"}, // merged again, b and c would have become C
		{"a\n", "a\nx\n", "a\ny\n", "!"},
		{"a\n", "a\nx\n", "a\nx\n", "a\nx\n"},
		{"a\n", "", "b\n", "!"},
		{"a\nb\n", "b\n", "a\n", "!"},                                              // both are removed or neither: merging again could not tell
		{"1\n2\n3\n4\n5\n6\n", "1\n2\n4\n5\n2\n3\n6\n", "1\n2\n4\n5\n3\n6\n", "!"}, // of the paper
	} {
		merged, ok := mergeLines([]byte(c.a), []byte(c.o), []byte(c.t))
		got := string(merged)
		if !ok {
			got = "!"
		}
		if got != c.want {
			t.Errorf("%q, %q, %q → %q, want %q", c.a, c.o, c.t, got, c.want)
		}
	}
}

func drawLinesText(t *rapid.T, label string) []byte {
	lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "", "}"}), 0, 12).Draw(t, label)
	text := strings.Join(lines, "\n")
	if rapid.Bool().Draw(t, label+" ends") && text != "" {
		text += "\n"
	}
	return []byte(text)
}

func TestLinesOfBothSidesAreInTheMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkLines(t, drawLinesText(t, "ancestor"), drawLinesText(t, "ours"), drawLinesText(t, "theirs"))
	})
}

// failer is what tests, drawn tests and fuzzers share.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func checkLines(t failer, a, o, th []byte) {
	t.Helper()
	merged, ok := mergeLines(a, o, th)
	if !ok {
		if bytes.Equal(a, o) || bytes.Equal(a, th) || bytes.Equal(o, th) {
			t.Fatalf("%q, %q, %q: a conflict where only one side changed anything", a, o, th)
		}
		return
	}
	switch {
	case bytes.Equal(a, o) && !bytes.Equal(merged, th), bytes.Equal(a, th) && !bytes.Equal(merged, o), bytes.Equal(o, th) && !bytes.Equal(merged, o):
		t.Fatalf("%q, %q, %q → %q", a, o, th, merged)
	}
	// What a side added is in the result as often as it is new there, what it has no more is out as often.
	ca, co, ct, cm := count(a), count(o), count(th), count(merged)
	for line := range co {
		if gained := max(co[line]-ca[line], ct[line]-ca[line]); gained > 0 && cm[line] < 1 {
			t.Fatalf("%q, %q, %q → %q lost %q", a, o, th, merged, line)
		}
	}
	for line := range ct {
		if ct[line] > ca[line] && cm[line] < 1 {
			t.Fatalf("%q, %q, %q → %q lost %q", a, o, th, merged, line)
		}
	}
	for line := range cm {
		if ca[line]+co[line]+ct[line] == 0 {
			t.Fatalf("%q, %q, %q → %q has made up %q", a, o, th, merged, line)
		}
	}
	if again, ok := mergeLines(a, merged, th); !ok || !bytes.Equal(again, merged) {
		t.Fatalf("%q, %q, %q → %q, and again %q", a, o, th, merged, again)
	}
}

func count(text []byte) map[string]int {
	lines := map[string]int{}
	for _, l := range textdiff.Lines(text) {
		lines[l]++
	}
	return lines
}

func FuzzMergeLines(f *testing.F) {
	f.Add("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n")
	f.Add("a", "a\nb", "a\n")
	f.Add("", "x\n", "y\n")
	f.Add("{\n}\n{\n}\n", "{\nx\n}\n{\n}\n", "{\n}\n{\ny\n}\n")
	f.Fuzz(func(t *testing.T, a, o, th string) { checkLines(t, []byte(a), []byte(o), []byte(th)) })
}

func TestMergedSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, o, th := drawLinesText(t, "ancestor"), drawLinesText(t, "ours"), drawLinesText(t, "theirs")
		merged := mergeSets(a, o, th)
		sa, so, st, sm := setOf(a), setOf(o), setOf(th), setOf(merged)
		for _, line := range slices.Concat(endedLines(a), endedLines(o), endedLines(th)) {
			want := so[line] && st[line] || so[line] && !sa[line] || st[line] && !sa[line]
			if sm[line] != want {
				t.Fatalf("%q, %q, %q → %q: %q", a, o, th, merged, line)
			}
		}
		if again := mergeSets(a, merged, th); !bytes.Equal(again, merged) {
			t.Fatalf("%q, %q, %q → %q, and again %q", a, o, th, merged, again)
		}
	})
}
