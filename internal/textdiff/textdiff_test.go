package textdiff

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestUnified(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{"same\n", "same\n", ""},
		{"", "new\n", "@@ -0,0 +1 @@\n+new\n"},
		{"old\n", "", "@@ -1 +0,0 @@\n-old\n"},
		{"a\nb\nc\n", "a\nB\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"},
		{"end", "end\n", "@@ -1 +1 @@\n-end\n\\ No newline at end of file\n+end\n"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", "@@ -7,3 +7,4 @@\n 7\n 8\n 9\n+10\n"},
		{
			"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "0\n2\n3\n4\n5\n6\n7\n8\n0\n",
			"@@ -1,4 +1,4 @@\n-1\n+0\n 2\n 3\n 4\n@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n+0\n",
		},
		{"a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n", "@@ -1,7 +1,6 @@\n-a\n-b\n c\n+b\n a\n b\n-b\n a\n+c\n"},
	} {
		if got := Unified([]byte(c.a), []byte(c.b), 3); got != c.want {
			t.Errorf("%q → %q:\n%s\nwant\n%s", c.a, c.b, got, c.want)
		}
	}
}

func drawText(t *rapid.T, label string) string {
	lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "", "-x", "+y", " z", "@@ -1 +1 @@"}), 0, 30).Draw(t, label)
	text := strings.Join(lines, "\n")
	if rapid.Bool().Draw(t, label+" ends") && text != "" {
		text += "\n"
	}
	return text
}

// lcs is the length of the longest common subsequence, by the book.
func lcs(a, b []string) int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := range a {
		for j := range b {
			table[i+1][j+1] = max(table[i][j+1], table[i+1][j])
			if a[i] == b[j] {
				table[i+1][j+1] = table[i][j] + 1
			}
		}
	}
	return table[len(a)][len(b)]
}

func TestScriptLeadsFromOneToTheOtherAndIsShortest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := split([]byte(drawText(t, "a"))), split([]byte(drawText(t, "b")))
		var made []string
		at, edits := 0, 0
		for _, e := range script(a, b) {
			made = append(made, a[at:e.a0]...)
			if len(made) != e.b0 {
				t.Fatalf("%+v stands at line %d of the second text", e, len(made))
			}
			made = append(made, b[e.b0:e.b1]...)
			edits += e.a1 - e.a0 + e.b1 - e.b0
			at = e.a1
		}
		made = append(made, a[at:]...)
		if strings.Join(made, "") != strings.Join(b, "") {
			t.Fatalf("%q and not %q", made, b)
		}
		if want := len(a) + len(b) - 2*lcs(a, b); edits != want {
			t.Fatalf("%d edits, %d are enough", edits, want)
		}
	})
}

func TestPatchTakesIt(t *testing.T) {
	if _, err := exec.LookPath("patch"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		a, b := drawText(rt, "a"), drawText(rt, "b")
		diff := Unified([]byte(a), []byte(b), rapid.IntRange(0, 4).Draw(rt, "context"))
		if diff == "" {
			if a != b {
				rt.Fatalf("no difference between %q and %q", a, b)
			}
			return
		}
		run++
		file := filepath.Join(dir, fmt.Sprint(run))
		if err := os.WriteFile(file, []byte(a), 0o600); err != nil {
			rt.Fatal(err)
		}
		cmd := exec.Command("patch", "-s", "-u", "--fuzz=0", "-o", file+".new", file)
		cmd.Stdin = strings.NewReader("--- a\n+++ b\n" + diff)
		if out, err := cmd.CombinedOutput(); err != nil {
			rt.Fatalf("%v: %s\n%s", err, out, diff)
		}
		got, err := os.ReadFile(file + ".new")
		if err != nil && b != "" || string(got) != b {
			rt.Fatalf("patched to %q, want %q\n%s", got, b, diff)
		}
	})
}

func TestVeryDifferentTextsAreStillRight(t *testing.T) {
	var a, b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&a, "left %d\nshared %d\n", i, i)
		fmt.Fprintf(&b, "right %d\nshared %d\n", i, i)
	}
	edits := script(split([]byte(a.String())), split([]byte(b.String())))
	if len(edits) != 1 || edits[0] != (edit{0, 5999, 0, 5999}) {
		t.Errorf("%d edits, the first %+v", len(edits), edits[0])
	}
}

func TestBinaryIsNoText(t *testing.T) {
	if IsText([]byte("\x7fELF\x00")) || !IsText([]byte("Grüße\xff\n")) || !IsText(nil) {
		t.Error("taken for the other")
	}
}
