package swapfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		`/a\040b`: "/a b", `\134`: `\`, `/plain`: "/plain", `\9`: `\9`, `end\04`: `end\04`, `\999`: `\999`,
	} {
		if got := Unescape(text); got != want {
			t.Errorf("Unescape(%q) is %q, want %q", text, got, want)
		}
	}
}

func TestNoSwap(t *testing.T) {
	if files, err := Active(filepath.Join(t.TempDir(), "swaps")); len(files) > 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a table: %q, %v", files, err)
	}
}

// FuzzSwaps: the name of a swap file is what the kernel had before it wrote its
// blanks and backslashes in octal, and of other text a part.
func FuzzSwaps(f *testing.F) {
	f.Add("Filename Type Size Used Priority\n/a\\040b file 1 0 -2\n", "/swap\tfile \\134")
	f.Add("", "swap\u00a0\rfile")
	f.Add("\\0 file\n\\8 file\n\\777 file", "\\040")
	f.Fuzz(func(t *testing.T, table, name string) {
		// fs/seq_file.c, mangle_path with " \t\n\\"
		mangled := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(name)
		if got := Unescape(mangled); got != name {
			t.Errorf("%q is shown as %q and read as %q", name, mangled, got)
		}
		for line := range strings.Lines(table) {
			if got := Unescape(line); len(got) > len(line) || !strings.Contains(line, `\`) && got != line {
				t.Errorf("%q is read as %q", line, got)
			}
		}
		if strings.Contains(name, "\x00") {
			return // no path
		}
		path := filepath.Join(t.TempDir(), "swaps")
		if err := os.WriteFile(path, []byte(table+"\n/"+mangled+"   file\t\t1024\t\t0\t\t-2\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		files, err := Active(path)
		if err != nil || !slices.Contains(files, "/"+name) {
			t.Errorf("/%q is in use, and only %q was found (%v)", name, files, err)
		}
	})
}
