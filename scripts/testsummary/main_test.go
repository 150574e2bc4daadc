package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// summarize runs `go test -json` on a module with one package of this source.
func summarize(t *testing.T, source string, each bool) (string, int) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.org/m\n\ngo 1.26\n", "m_test.go": "package m\n\n" + source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-json", "./...")
	cmd.Dir = dir
	events, err := cmd.Output()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	var out strings.Builder
	code := run(strings.NewReader(string(events)), &out, each)
	return out.String(), code
}

func TestSummaryShowsWhatFailedAndWhatWasSkipped(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		code   int
		want   []string
		not    string
	}{
		"passed": {
			"import \"testing\"\nfunc TestA(t *testing.T) { t.Log(\"chatter\") }\n", 0,
			[]string{"ok       example.org/m", "1 passed, 0 failed, 0 skipped"}, "chatter",
		},
		"tells a figure": {
			"import \"testing\"\nfunc TestA(t *testing.T) { t.Attr(\"size\", \"6 × 7 = 42 cells\") }\n", 0,
			[]string{"         TestA: 6 × 7 = 42 cells\n", "1 passed"}, "size",
		},
		"failed": {
			"import \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Error(\"wrong number\") }) }\nfunc TestB(t *testing.T) {}\n", 1,
			[]string{"FAILED   example.org/m TestA/sub", "wrong number", "1 passed, 2 failed, 0 skipped"}, "TestB",
		},
		"skipped": {
			"import \"testing\"\nfunc TestA(t *testing.T) { t.Skip(\"needs root\") }\nfunc TestB(t *testing.T) {}\n", 0,
			[]string{"skipped  example.org/m TestA: needs root", "1 passed, 0 failed, 1 skipped"}, "FAILED",
		},
		"panics": {
			"import \"testing\"\nfunc TestA(t *testing.T) { panic(\"at the disco\") }\n", 1,
			[]string{"at the disco", "0 passed, 1 failed"}, "ok ",
		},
		"does not build": {
			"func TestA(t *testing.T) {}\n", 1,
			[]string{"FAILED   example.org/m", "undefined: testing", "0 passed, 1 failed"}, "ok ",
		},
		"no tests": {"", 1, []string{"0 passed, 0 failed"}, "FAILED"},
	} {
		t.Run(name, func(t *testing.T) {
			out, code := summarize(t, c.source, false)
			if code != c.code {
				t.Errorf("exit status %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("the summary lacks %q:\n%s", want, out)
				}
			}
			if strings.Contains(out, c.not) {
				t.Errorf("the summary holds %q:\n%s", c.not, out)
			}
		})
	}
}

func TestSummaryNamesEachTestWhenAsked(t *testing.T) {
	out, code := summarize(t, "import \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"sub\", func(t *testing.T) {}) }\nfunc TestB(t *testing.T) { t.Error(\"wrong number\") }\n", true)
	if code != 1 || !strings.Contains(out, "passed   TestA ") || strings.Contains(out, "sub") || strings.Contains(out, "passed   TestB") {
		t.Errorf("exit status %d:\n%s", code, out)
	}
}
