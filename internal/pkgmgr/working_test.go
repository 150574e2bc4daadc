package pkgmgr

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// lockRole makes the test program a process that holds a file until its standard input ends.
const lockRole = "PKGMGR_TEST_LOCK"

func TestMain(m *testing.M) {
	how := os.Getenv(lockRole)
	if how == "" {
		os.Exit(m.Run())
	}
	f, err := os.OpenFile(os.Args[1], os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	switch how {
	case "lock":
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	case "read":
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
	case "pid":
		_, err = f.WriteString(fmt.Sprintln(os.Getpid()))
	}
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString("held\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	f.Close()
}

// TestWhoIsAtWork, with a stand-in for each package manager that takes its lock as it does.
func TestWhoIsAtWork(t *testing.T) {
	me := filepath.Base(os.Args[0])
	me = me[:min(len(me), 15)]
	for path, how := range map[string]string{
		"var/lib/dpkg/lock-frontend":     "lock",
		"var/lib/dpkg/lock":              "lock",
		"usr/lib/sysimage/rpm/.rpm.lock": "lock",
		"var/lib/rpm/.rpm.lock":          "lock",
		"run/zypp.pid":                   "pid",
		"run/dnf/rpmtransaction.lock":    "lock",
		"var/lib/pacman/db.lck":          "open",
	} {
		t.Run(path, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, path)
			quiet := func(when string) {
				t.Helper()
				if who, busy, err := AtWork(root); busy || err != nil {
					t.Errorf("%s: %v, %v", when, who, err)
				}
			}
			quiet("without anything")
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			quiet("with a file that nobody holds")
			cmd := exec.Command(os.Args[0], file)
			cmd.Env = append(os.Environ(), lockRole+"="+how)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			who, busy, err := AtWork(root)
			if err != nil || !busy || who.Owner.PID != cmd.Process.Pid || who.Lock != "/"+path || !strings.HasPrefix(who.String(), me+" (process ") {
				t.Errorf("found %v, %v, %v", who, busy, err)
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			quiet("after its end") // the file is still there
		})
	}
}

func TestReadersOfThePackageDatabaseAreNotAtWork(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "var/lib/rpm/.rpm.lock")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], file)
	cmd.Env = append(os.Environ(), lockRole+"=read")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if who, busy, err := AtWork(root); busy || err != nil {
		t.Errorf("%v, %v", who, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestLocksThatMakeNoSense(t *testing.T) {
	for name, prepare := range map[string]func(root string) error{
		"a pid of nobody": func(root string) error {
			return os.WriteFile(filepath.Join(root, "run/zypp.pid"), []byte("4194999\n"), 0o644)
		},
		"no pid": func(root string) error {
			return os.WriteFile(filepath.Join(root, "run/zypp.pid"), []byte("zypper"), 0o644)
		},
		"a huge pid": func(root string) error {
			return os.WriteFile(filepath.Join(root, "run/zypp.pid"), []byte(strings.Repeat("9", 100)), 0o644)
		},
		"a negative pid": func(root string) error { return os.WriteFile(filepath.Join(root, "run/zypp.pid"), []byte("-1"), 0o644) },
		"a directory":    func(root string) error { return os.MkdirAll(filepath.Join(root, "var/lib/dpkg/lock"), 0o755) },
		"a pipe":         func(root string) error { return unix.Mkfifo(filepath.Join(root, "run/zypp.pid"), 0o644) },
		"a link out": func(root string) error {
			return os.Symlink("../../proc/self/stat", filepath.Join(root, "run/zypp.pid"))
		},
		"a file for a directory": func(root string) error {
			return os.WriteFile(filepath.Join(root, "var"), nil, 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "run"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := prepare(root); err != nil {
				t.Fatal(err)
			}
			if who, busy, _ := AtWork(root); busy {
				t.Errorf("%v", who)
			}
		})
	}
}

// TestTheRealPackageManagersAreSeen while they work: apt with its script waiting.
func TestTheRealPackageManagersAreSeen(t *testing.T) {
	hold := "#!/bin/sh\necho going\nread line </srv/go\n"
	s := newDebian(t, testbed.Deb{Name: "waiting", Scripts: map[string]string{"postinst": hold}})
	s.seen(s.manager.Add([]string{"waiting"}, Options{})[0], "/var/lib/dpkg/lock-frontend", "apt-get")
	z := newSUSE(t, testbed.Rpm{Name: "waiting", Scripts: map[string]string{"post": "echo going\nread line </srv/go\n"}})
	// rpm's plugin that hides mounts from scripts cannot work where the root is no mount.
	z.write("etc/rpm/macros", "%_dbpath /usr/lib/sysimage/rpm\n%__transaction_unshare %{nil}\n")
	z.seen(z.manager.Add([]string{"waiting"}, Options{})[0], "/usr/lib/sysimage/rpm/.rpm.lock", "rpm")
}

// seen runs a command that waits for a word on the pipe /srv/go, and sees who holds which lock meanwhile.
func (s system) seen(c Command, lock, name string) {
	s.t.Helper()
	pipe := filepath.Join(s.dir, "srv/go")
	if err := unix.Mkfifo(pipe, 0o644); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		var words bytes.Buffer
		status, err := s.inside(s.t.Context(), c, &words, &words, nil)
		if err == nil && status != 0 {
			err = fmt.Errorf("status %d\n%s", status, words.Bytes())
		}
		done <- err
	}()
	opened := make(chan *os.File, 1)
	go func() {
		if w, err := os.OpenFile(pipe, os.O_WRONLY, 0); err == nil { // when the script reads
			opened <- w
		}
	}()
	select {
	case err := <-done:
		if r, open := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0); open == nil { // lets the other one go
			r.Close()
		}
		s.t.Fatalf("it did not wait: %v", err)
	case w := <-opened:
		who, busy, err := AtWork(s.dir)
		if err != nil || !busy || who.Lock != lock || who.Owner.Name != name {
			s.t.Errorf("found %v, %v, %v; want %s with %s", who, busy, err, name, lock)
		}
		if _, err := w.WriteString("go\n"); err != nil {
			s.t.Error(err)
		}
		w.Close()
	}
	if err := <-done; err != nil {
		s.t.Error(err)
	}
	if who, busy, err := AtWork(s.dir); busy || err != nil {
		s.t.Errorf("after its end: %v, %v", who, err)
	}
}
