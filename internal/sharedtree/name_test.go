package sharedtree

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNamesAreReadable(t *testing.T) {
	for path, want := range map[string]string{
		"/var": "var", "/var/lib": "var+lib", "/var-lib": "var-lib", "/var+lib": "var%2Blib", "/usr/local": "usr+local", "/.hidden": "%2Ehidden",
		"/a.b": "a.b", "/a b\n%": "a%20b%0A%25", "/ö": "%C3%B6", "/..x": "%2E.x",
	} {
		if got := Name(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}

// Every pair of paths has different names, and each is one for a file.
func TestNamesDiffer(t *testing.T) {
	path := rapid.Custom(func(t *rapid.T) string {
		part := rapid.OneOf(
			rapid.SampledFrom([]string{"a", "-", "+", "%", "%2B", "%%", ".", ".a", " ", "\xff", "\n", strings.Repeat("long", 60)}),
			rapid.StringMatching(`[ab+%./-]{1,6}`),
		)
		parts := rapid.SliceOfN(part, 1, 4).Draw(t, "parts")
		var names []string
		for name := range strings.SplitSeq(strings.Join(parts, "/"), "/") {
			if name != "" && name != "." && name != ".." {
				names = append(names, name)
			}
		}
		return "/" + strings.Join(append(names, "end"), "/")
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := path.Draw(t, "a"), path.Draw(t, "b")
		na, nb := Name(a), Name(b)
		if (a == b) != (na == nb) {
			t.Fatalf("%q is %q, %q is %q", a, na, b, nb)
		}
		if na == "" || len(na) > 200 || strings.ContainsAny(na, "/\x00") || na[0] == '.' {
			t.Fatalf("%q is %q, which is no name for a file", a, na)
		}
	})
}
