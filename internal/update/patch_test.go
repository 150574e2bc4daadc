package update

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

func TestPatchesOfEveryKindOfFile(t *testing.T) {
	dirs := [2]string{t.TempDir(), t.TempDir()}
	secret := filepath.Join(t.TempDir(), "secret")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(secret, "outside\n")
	both := func(name string, texts ...string) {
		for i, text := range texts {
			write(filepath.Join(dirs[i], name), text)
		}
	}
	both("motd", "hello\nworld\n", "hello\nthere\n")
	both("binary", "a\x00b", "a\x00c")
	both("large", strings.Repeat("x", mostPatched+1), "x")
	both("same", "as before\n", "as before\n")
	both("gone", "was here\n")
	for i, to := range []string{secret, "/etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(dirs[i], "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Dir(secret), filepath.Join(dirs[i], "out")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dirs[1], "same"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dirs[1], "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := os.OpenRoot(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	right, err := os.OpenRoot(dirs[1])
	if err != nil {
		t.Fatal(err)
	}
	defer right.Close()
	of := func(name string) bus.Patch {
		t.Helper()
		p, err := patchOf(left, right, record.FileChange{Path: "/" + name}, 3)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return p
	}
	if p := of("motd"); p.Text != "@@ -1,2 +1,2 @@\n hello\n-world\n+there\n" {
		t.Errorf("motd: %q", p.Text)
	}
	if p := of("binary"); !p.Binary || p.Text != "" {
		t.Errorf("binary: %+v", p)
	}
	if p := of("large"); !p.TooLarge || p.Text != "" {
		t.Errorf("large: %+v", p)
	}
	if p := of("same"); p.Text != "" || p.Before.Mode != 0o644 || p.After.Mode != 0o600 {
		t.Errorf("same: %+v", p)
	}
	if p := of("gone"); p.After != nil || p.Text != "@@ -1 +0,0 @@\n-was here\n" {
		t.Errorf("gone: %+v", p)
	}
	if p := of("link"); p.Text != "" || p.Before.Target != secret || p.After.Target != "/etc/passwd" {
		t.Errorf("link: %+v", p)
	}
	if p := of("pipe"); p.After == nil || p.After.Type != bus.FileFIFO {
		t.Errorf("pipe: %+v", p)
	}
	if p, err := patchOf(left, right, record.FileChange{Path: "/out/secret"}, 3); err == nil {
		t.Errorf("a link led out of the tree: %+v", p)
	}
}
