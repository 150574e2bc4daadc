// The stage of the tests: a live tree on btrfs, its fork, and a real overlay.

package handover

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/overlay"
	"github.com/txupd/txupd/internal/testbed"
)

// fataler is what testing and rapid have in common.
type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scene is one shared tree.
type scene struct {
	dir, live string
	captures  []Capture // the oldest first
}

// newScene makes a live tree in a new directory of a btrfs file system.
func newScene(t testing.TB, fill func(live string)) *scene {
	t.Helper()
	return sceneIn(t, filepath.Join(testbed.Loop(t, 256), "scene"), fill)
}

func sceneIn(t fataler, dir string, fill func(live string)) *scene {
	t.Helper()
	must(t, os.Mkdir(dir, 0o755))
	s := &scene{dir: dir, live: filepath.Join(dir, "live")}
	create(t, s.live)
	if fill != nil {
		fill(s.live)
	}
	return s
}

func create(t fataler, dir string) {
	t.Helper()
	must(t, btrfs.Driver{}.Create(dir))
}

func fork(t fataler, from, to string, readOnly bool) {
	t.Helper()
	must(t, btrfs.Driver{}.Fork(from, to, readOnly))
}

// sandbox is an overlay over a fork of the live tree and the captures so far.
// change works in what it shows, and the capture is added to the scene.
// It returns what the sandbox saw in the end.
func (s *scene) sandbox(t fataler, change func(view string)) string {
	t.Helper()
	n := len(s.captures) + 1
	found := filepath.Join(s.dir, fmt.Sprintf("fork-%d", n))
	fork(t, s.live, found, true)
	lower := []string{found}
	if n > 1 {
		last := s.captures[n-2]
		lower = append([]string{last.Upper}, slices.Clone(last.Before[:len(last.Before)-1])...)
		lower = append(lower, found)
	}
	return s.overlay(t, lower, change)
}

// overlay is sandbox for given layers.
func (s *scene) overlay(t fataler, lower []string, change func(view string)) string {
	t.Helper()
	n := len(s.captures) + 1
	capture := filepath.Join(s.dir, fmt.Sprintf("capture-%d", n))
	create(t, capture)
	c := Capture{Number: uint64(10 * n), Tree: "/var", Upper: filepath.Join(capture, "upper"), Before: lower}
	must(t, os.Mkdir(filepath.Join(capture, "work"), 0o755))
	mirror(t, lower[0], c.Upper)
	s.captures = append(s.captures, c)

	var fds []int
	for _, dir := range append([]string{c.Upper, filepath.Join(capture, "work")}, lower...) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		fds = append(fds, fd)
	}
	mount, err := overlay.Mount(fds[2:], &overlay.Capture{Upper: fds[0], Work: fds[1]}, unix.MOUNT_ATTR_NODEV)
	must(t, err)
	defer unix.Close(mount)
	view := fmt.Sprintf("/proc/self/fd/%d", mount)
	change(view)
	return dump(t, view)
}

// mirror makes a directory that looks like another one.
func mirror(t fataler, from, to string) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(from, &st))
	must(t, os.Mkdir(to, 0o700))
	must(t, os.Chown(to, int(st.Uid), int(st.Gid)))
	must(t, unix.Chmod(to, st.Mode&0o7777))
}

// give hands over one capture.
func (s *scene) give(t fataler, n int) []Row {
	t.Helper()
	rows, err := Give(nowhere, Request{Capture: s.captures[n], Live: s.live})
	must(t, err)
	return rows
}

// entries describes what counts of every file of a tree, by path.
func entries(t fataler, top string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(top+"/.", func(file string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		found[filepath.Join("/", strings.TrimPrefix(file, top))], err = describe(file)
		return err
	}))
	return found
}

// dump is entries as text.
func dump(t fataler, top string) string {
	t.Helper()
	found := entries(t, top)
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(&b, "%q %s\n", path, found[path])
	}
	return b.String()
}

func describe(file string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		return "", err
	}
	line := fmt.Sprintf("%06o %d:%d", st.Mode, st.Uid, st.Gid)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if st.Size > 1<<30 {
			return fmt.Sprintf("%s %d bytes", line, st.Size), nil // holes
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if len(content) > 40 {
			content = fmt.Appendf(nil, "%d bytes %x", len(content), sha256.Sum256(content))
		}
		line += fmt.Sprintf(" %q", content)
	case unix.S_IFLNK:
		target, err := os.Readlink(file)
		if err != nil {
			return "", err
		}
		line += " -> " + target
	case unix.S_IFCHR, unix.S_IFBLK:
		line += fmt.Sprintf(" device %x", st.Rdev)
	}
	extended, err := extendedOf(file)
	for _, name := range slices.Sorted(maps.Keys(extended)) {
		if counts(name) {
			line += fmt.Sprintf(" %s=%q", name, extended[name])
		}
	}
	return line, err
}

func extendedOf(file string) (map[string]string, error) {
	dir, err := unix.Open(filepath.Dir(file), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	return readAttributes(dir, filepath.Base(file))
}

func write(t fataler, file, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(content), 0o644))
}

func read(t fataler, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	must(t, err)
	return string(content)
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// tell writes rows as "path decision aside (reason)".
func tell(rows []Row) string {
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%s %s", r.Path, r.Decision)
		if r.Aside != "" {
			fmt.Fprintf(&b, " %s", r.Aside)
		}
		if r.Reason != "" {
			fmt.Fprintf(&b, " (%s)", r.Reason)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func equal(t fataler, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s (- want, + got):\n%s", what, cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
	}
}
