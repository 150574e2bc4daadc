package inroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// trapped is a root in which names lead to a victim outside, by every way that
// there is, and what must not be opened stands in the place of files.
func trapped(t *testing.T) (r *Root, root, victim string) {
	t.Helper()
	dir := t.TempDir()
	root, victim = filepath.Join(dir, "root"), filepath.Join(dir, "victim")
	for _, d := range []string{root, victim, filepath.Join(root, "real/deep"), filepath.Join(victim, "deep")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(victim, "file"), "outside")
	write(t, filepath.Join(root, "real/file"), "inside")
	for name, to := range map[string]string{
		"absolute": victim, "relative": "../victim", "up": "../../../../../../../../../.." + victim, "file-out": victim + "/file",
		"loop": "loop", "loop-a": "loop-b", "loop-b": "loop-a", "in": "/real", "in-relative": "real", "nowhere": "/nothing", "magic": "/proc/self/root",
	} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, root, victim
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

var ways = []string{"absolute", "relative", "up", "loop", "loop-a", "nowhere", "magic", "fifo", "..", "../victim", "real/../../victim"}

// within runs work, which must not wait for anybody.
func within(t *testing.T, what string, work func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s hangs", what)
	}
}

func TestNothingIsReadOutside(t *testing.T) {
	r, _, _ := trapped(t)
	for _, way := range ways {
		for _, name := range []string{way, way + "/file", way + "/deep", way + "/deep/../file"} {
			within(t, name, func() {
				if text, err := r.ReadFile(name, 100); err == nil {
					t.Errorf("read %q from %s", text, name)
				}
				if names, err := r.Names(name); err == nil && slices.Contains(names, "file") {
					t.Errorf("%s has %v", name, names)
				}
			})
		}
	}
	for _, name := range []string{"real/file", "/real/file", "in/file", "in-relative/file", "up/../real/file", "../../real/file"} {
		if text, err := r.ReadFile(name, 100); name != "up/../real/file" && (err != nil || string(text) != "inside") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for name, want := range map[string]error{"fifo": ErrNotRegular, "real": ErrNotRegular, "loop": unix.ELOOP, "nothing": fs.ErrNotExist, "file-out": fs.ErrNotExist} {
		if _, err := r.ReadFile(name, 100); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if _, err := r.ReadFile("real/file", 5); !errors.Is(err, ErrTooLarge) {
		t.Errorf("six bytes, five allowed: %v", err)
	}
	if text, err := r.ReadFile("real/file", 6); err != nil || string(text) != "inside" {
		t.Errorf("six bytes, six allowed: %q, %v", text, err)
	}
	if to, err := r.Readlink("absolute"); err != nil || !strings.HasSuffix(to, "/victim") {
		t.Errorf("a link leads to %q, %v", to, err)
	}
	if at, err := r.Resolve("in/deep"); err != nil || at != "real/deep" {
		t.Errorf("in/deep lies at %q, %v", at, err)
	}
	if at, err := r.Resolve("/"); err != nil || at != "" {
		t.Errorf("the root lies at %q, %v", at, err)
	}
	if info, err := r.Lstat("loop"); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("a loop is %v, %v", info, err)
	}
	if r.Mode("loop") != fs.ModeIrregular || !r.Mode("in").IsDir() {
		t.Error("modes are wrong")
	}
}

func TestNothingIsWrittenOutside(t *testing.T) {
	r, root, victim := trapped(t)
	before := look(t, victim)
	for _, way := range ways {
		within(t, way, func() {
			d, err := r.MkdirAll(way+"/made/below", 0o755, nil)
			if err == nil {
				at, err := r.Place(d)
				if err != nil || !strings.HasSuffix(at, "made/below") {
					t.Errorf("%s: made %q, %v", way, at, err)
				}
				d.Close()
			}
		})
	}
	d, err := r.MkdirAll("real/deep/new", 0o755, func(parent *os.File) error { return parent.Sync() })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	here := filepath.Join(root, "real/deep/new")
	if err := os.Symlink(filepath.Join(victim, "file"), filepath.Join(here, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(here, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "fifo", "../x", "a/b", ".", "..", "", "a\x00b"} {
		within(t, name, func() {
			if f, err := Create(d, name, 0o644); err == nil {
				t.Errorf("Create made %s", f.Name())
			}
			if f, err := Rewrite(d, name, 0o644); err == nil {
				t.Errorf("Rewrite opened %s", f.Name())
			}
			if name != "link" && name != "fifo" {
				if Remove(d, name) == nil || Rename(d, name, "y") == nil || Rename(d, "link", name) == nil {
					t.Errorf("%q was removed or renamed", name)
				}
			}
		})
	}
	f, err := Create(d, "new", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	// What is renamed over a link takes its place, not that of what it leads to.
	if err := Rename(d, "new", "link"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"link", "fifo", "nothing"} {
		if err := Remove(d, name); err != nil {
			t.Error(err)
		}
	}
	f, err = Rewrite(d, "again", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("longer than what comes next")
	f.Close()
	if f, err = Rewrite(d, "again", 0o600); err != nil {
		t.Fatal(err)
	}
	f.WriteString("short")
	f.Close()
	if text, err := r.ReadFile("real/deep/new/again", 100); string(text) != "short" || err != nil {
		t.Errorf("written twice: %q, %v", text, err)
	}
	if after := look(t, victim); after != before {
		t.Errorf("the victim was %s and is %s", before, after)
	}
}

// look is everything about a tree.
func look(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		all.WriteString(name + " " + info.Mode().String() + " " + info.ModTime().String())
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			all.Write(text)
		}
		all.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
