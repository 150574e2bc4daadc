// What comes to the daemon out of the sandbox, and what lies in a snapshot, is not trusted.

package sandbox

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func someMessages() []message {
	return []message{
		&setup{Root: "/.snapshots/12/snapshot", Host: "/", Caches: []string{"/var/cache/zypp", ""}, ReadOnly: true},
		&run{ID: 3, Argv: []string{"sh", "-c", "echo \xff"}, Env: []string{"PATH=/usr/bin"}, TTY: true, Rows: 24, Cols: 80, Files: 5},
		&deliver{1, 15}, &ready{}, &failed{"cannot mount"}, &started{3}, &refused{3, 127, "nosuch: command not found"}, &broken{3, "x"},
		&exited{ID: 3, WaitStatus: 256, Duration: 1e9, User: 5, System: -1, MaxRSS: 1 << 20},
	}
}

// FuzzMessage: a frame is one message or an error, takes no more memory than it
// has bytes for, and is the same message when it is sent on.
func FuzzMessage(f *testing.F) {
	for _, m := range someMessages() {
		f.Add(encode(m))
	}
	f.Add(binary.AppendUvarint([]byte{1, 0, 0}, 1<<40))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := decode(frame)
		if err != nil {
			if m != nil || !strings.Contains(err.Error(), "sandbox message") {
				t.Errorf("%v with %+v", err, m)
			}
			return
		}
		sent := encode(m)
		if len(sent) > len(frame) {
			t.Errorf("%d bytes became %d: %+v", len(frame), len(sent), m)
		}
		again, err := decode(sent)
		if err != nil || !cmp.Equal(m, again) {
			t.Fatalf("sent on it is another (%v):\n%s", err, cmp.Diff(m, again))
		}
		if e, ok := m.(*exited); ok {
			if w := syscall.WaitStatus(e.WaitStatus); (w.Exited() || w.Signaled()) && (e.exit().Status < 0 || e.exit().Status > 255) {
				t.Errorf("wait status %#x is exit status %d", e.WaitStatus, e.exit().Status)
			}
		}
	})
}

// FuzzReceive: whatever the other end of the socket writes before it is gone,
// the reader comes to an end, with the messages that are whole.
func FuzzReceive(f *testing.F) {
	framed := func(messages ...message) (raw []byte) {
		for _, m := range messages {
			body := encode(m)
			raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(body))), body...)
		}
		return raw
	}
	f.Add(framed(someMessages()...))
	f.Add(framed(&ready{})[:5])
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Add([]byte{0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return // it has to fit into the socket
		}
		ours, theirs, err := socketpair()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.close()
		_, err = theirs.Write(raw)
		if err := errors.Join(err, theirs.Close()); err != nil {
			t.Fatal(err)
		}
		used := 0
		for {
			m, fds, err := ours.receive()
			if len(fds) > 0 {
				t.Fatalf("descriptors %v came from nowhere", fds)
			}
			if err != nil {
				if m != nil || err == io.EOF && used < len(raw) {
					t.Errorf("%v after %d of %d bytes, with %+v", err, used, len(raw), m)
				}
				return
			}
			if used+4 > len(raw) {
				t.Fatalf("%+v after %d of %d bytes", m, used, len(raw))
			}
			used += 4 + int(binary.LittleEndian.Uint32(raw[used:]))
		}
	})
}

// FuzzCanonical: links in a snapshot are followed as the kernel follows them for
// a process that has it as its root, and never lead out of it.
func FuzzCanonical(f *testing.F) {
	f.Add("../run/systemd/resolve/stub-resolv.conf", "/var/x", "etc/link")
	f.Add("/../../../../etc", "..", "a/./b//..")
	f.Add("/a", "/b", "loop")
	dir := f.TempDir()
	for _, made := range []string{"etc", "run/systemd/resolve", "var", "a/b"} {
		if err := os.MkdirAll(filepath.Join(dir, made), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	for _, made := range []string{"run/systemd/resolve/stub-resolv.conf", "etc/passwd"} {
		if err := os.WriteFile(filepath.Join(dir, made), nil, 0o644); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, first, second, third string) {
		root := t.TempDir()
		if err := os.CopyFS(root, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		for name, target := range map[string]string{"etc/resolv.conf": first, "var/x": second, "a/b/c": third} {
			if target == "" || len(target) > 1000 || strings.ContainsRune(target, 0) {
				return
			}
			if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
		fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		place, err := canonical(fd, "/etc/resolv.conf")
		if err == nil && (!path.IsAbs(place) || path.Clean(place) != place) {
			t.Fatalf("it lies at %q", place)
		}
		opened, kernel := resolve(fd, "/etc/resolv.conf", unix.O_PATH, 0)
		if kernel != nil {
			if errors.Is(kernel, unix.ELOOP) && err == nil {
				t.Errorf("it lies at %q, where the kernel goes round", place)
			}
			return // it leads to what is not there
		}
		defer unix.Close(opened)
		at, readErr := os.Readlink("/proc/self/fd/" + strconv.Itoa(opened))
		if readErr != nil {
			t.Fatal(readErr)
		}
		if want := "/" + strings.TrimPrefix(strings.TrimPrefix(at, root), "/"); err != nil || place != want || !strings.HasPrefix(at, root) {
			t.Errorf("it lies at %q (%v), and the kernel opens %q", place, err, want)
		}
	})
}
