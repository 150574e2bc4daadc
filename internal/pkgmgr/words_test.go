package pkgmgr

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestNoStreamCutsALineOfAnother(t *testing.T) {
	w := Words{Limit: 1000}
	for _, piece := range []struct {
		stream int
		text   string
	}{
		{1, "Reading package lists...\nBuilding dependency tree..."},
		{2, "E: Unable to locate package nosuch\n"},
		{1, "\nReading state information...\n"},
		{2, "E: and no"}, {1, "more"}, {2, " line"},
	} {
		w.Add(piece.stream, []byte(piece.text))
	}
	want := "Reading package lists...\nE: Unable to locate package nosuch\nBuilding dependency tree...\nReading state information...\nmoreE: and no line"
	if got := string(w.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if o := (apt{}).Outcome([]string{"apt-get", "install", "--", "nosuch"}, 100, w.Bytes()); !slices.Equal(o.Missing, []string{"nosuch"}) {
		t.Errorf("what is missing was not found: %+v", o)
	}
}

// TestWordsAreWholeLines: however it is cut, each line is there as its stream
// wrote it, and the lines of a stream are in its order.
func TestWordsAreWholeLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := Words{Limit: rapid.SampledFrom([]int{1, 20, 100_000}).Draw(t, "limit")}
		var whole [2]strings.Builder
		added := 0
		for i, piece := range rapid.SliceOf(rapid.StringMatching(`[a-c\n]{0,5}`)).Draw(t, "pieces") {
			stream := rapid.IntRange(0, 1).Draw(t, "stream")
			// Each stream has letters of its own.
			if stream == 1 {
				piece = strings.ToUpper(piece)
			}
			w.Add(stream, []byte(piece))
			whole[stream].WriteString(piece)
			if added += len(piece); len(w.lines) > 2*w.Limit || len(w.Bytes()) != min(added, w.Limit) {
				t.Fatalf("after %d pieces %d bytes of %d are kept", i+1, len(w.Bytes()), added)
			}
		}
		if added > w.Limit {
			return
		}
		for stream, is := range []func(rune) bool{unicode.IsLower, unicode.IsUpper} {
			if got, want := linesWith(string(w.Bytes()), is), linesWith(whole[stream].String(), is); got != want {
				t.Fatalf("of stream %d there is %q, want %q", stream, got, want)
			}
		}
	})
}

// linesWith are the lines that ended and have such a character.
func linesWith(s string, is func(rune) bool) string {
	var found strings.Builder
	for line := range strings.Lines(s) {
		if strings.HasSuffix(line, "\n") && strings.ContainsFunc(line, is) {
			found.WriteString(line)
		}
	}
	return found.String()
}
