// A system on the fake.

package snapshottest

import (
	"os"
	"path/filepath"
	"testing"
)

// NewRoot makes a small system on f and returns its root: the subvolume "@",
// which is the default one, with .snapshots nested in it.
func NewRoot(t testing.TB, f *Fake) string {
	t.Helper()
	root := filepath.Join(f.Top, "@")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(f.Create(root))
	must(f.Create(filepath.Join(root, ".snapshots")))
	for _, dir := range []string{"etc", "usr/bin", "var/lib", "tmp"} {
		must(os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(os.WriteFile(filepath.Join(root, "etc/os-release"), []byte("ID=fake\n"), 0o644))
	must(os.WriteFile(filepath.Join(root, "usr/bin/hello"), []byte("hello\n"), 0o755))
	sv, err := f.Info(root)
	must(err)
	must(f.SetDefault(root, sv.ID))
	return root
}
