package textdiff

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed/judge"
)

// FuzzUnified: whoever has the first text and the hunks has the second, also
// where lines look like hunks, and nothing is said where nothing differs.
func FuzzUnified(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nB\nc", uint8(3))
	f.Add("@@ -1 +1 @@\n-x\n\\ No newline at end of file\n", "--- a\n+++ b\n\n", uint8(0))
	f.Add("\r\n\r\x00\n", "\n\n\xff", uint8(1))
	patch := judge.Tool(f, "patch")
	f.Fuzz(func(t *testing.T, a, b string, context uint8) {
		if len(a)+len(b) > 16<<10 {
			return // the search takes time of the square of what differs
		}
		diff := Unified([]byte(a), []byte(b), int(context))
		if (diff == "") != (a == b) {
			t.Fatalf("%q → %q: %q", a, b, diff)
		}
		got, ok := applied(a, diff, int(context))
		if !ok || got != b {
			t.Fatalf("%q → %q by\n%s\ngives %q (%v)", a, b, diff, got, ok)
		}
		if back, _ := applied(b, Unified([]byte(b), []byte(a), int(context)), int(context)); back != a {
			t.Fatalf("there and back %q is %q", a, back)
		}
		if diff != "" && patch != "" && !strings.ContainsAny(a+b, "\x00\r") && judge.Asked(a, b) {
			agree(t, patch, a, b, diff)
		}
	})
}

// applied takes the hunks word by word, as POSIX describes them; ok is false
// where one does not stand where it says, or has more context than was asked for.
func applied(a, diff string, context int) (b string, ok bool) {
	left := split([]byte(a))
	var made []string
	at := 0
	body := split([]byte(diff))
	for len(body) > 0 {
		var aFrom, aCount, bFrom, bCount int
		words := strings.Fields(body[0])
		if len(words) != 4 || words[0] != "@@" || words[3] != "@@" {
			return "", false
		}
		aFrom, aCount = rangeOf(words[1][1:])
		bFrom, bCount = rangeOf(words[2][1:])
		if aFrom < at || aFrom+aCount > len(left) {
			return "", false
		}
		made = append(made, left[at:aFrom]...)
		at = aFrom
		if len(made) != bFrom {
			return "", false
		}
		body = body[1:]
		same, changed := 0, false
		for (aCount > 0 || bCount > 0) && len(body) > 0 {
			mark, text := body[0][0], body[0][1:]
			if body = body[1:]; len(body) > 0 && body[0][0] == '\\' {
				text = strings.TrimSuffix(text, "\n")
				body = body[1:]
			}
			if mark != '+' {
				if at >= len(left) || left[at] != text {
					return "", false
				}
				at++
				aCount--
			}
			if mark != '-' {
				made = append(made, text)
				bCount--
			}
			if mark == ' ' {
				same++
			} else {
				changed = true
				if same > 2*context {
					return "", false
				}
				same = 0
			}
		}
		if aCount != 0 || bCount != 0 || !changed || same > context {
			return "", false
		}
	}
	return strings.Join(append(made, left[at:]...), ""), true
}

// rangeOf is how many lines stand before a range, and how many it has.
func rangeOf(s string) (before, count int) {
	from, length, found := strings.Cut(s, ",")
	before, _ = strconv.Atoi(from)
	count = 1
	if found {
		count, _ = strconv.Atoi(length)
	}
	if count > 0 {
		before--
	}
	return before, count
}

func agree(t *testing.T, patch, a, b, diff string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(a), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(patch, "-s", "-u", "--fuzz=0", "-o", file+".new", file)
	cmd.Stdin = strings.NewReader("--- a\n+++ b\n" + diff)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("patch: %v %s\n%s", err, out, diff)
	}
	got, err := os.ReadFile(file + ".new")
	if err != nil && b != "" || string(got) != b {
		t.Fatalf("patched to %q, want %q\n%s", got, b, diff)
	}
}
