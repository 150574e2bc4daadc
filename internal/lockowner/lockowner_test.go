package lockowner

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// role makes the test program a process that holds a lock until its standard input ends.
const role = "LOCKOWNER_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	f, err := os.OpenFile(os.Args[1], os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	switch os.Getenv(role) {
	case "posix":
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
	case "posix-read":
		lock.Type = unix.F_RDLCK
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
	case "ofd":
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	case "flock":
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString("held\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	f.Close()
}

func TestWhoHoldsALock(t *testing.T) {
	me := filepath.Base(os.Args[0])
	me = me[:min(len(me), 15)]
	type found struct{ writer, flock, user bool }
	for kind, want := range map[string]found{
		"posix":      {writer: true, user: true},
		"posix-read": {user: true},
		"ofd":        {writer: true, user: true},
		"flock":      {flock: true, user: true},
		"open":       {user: true},
	} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			ask := func() (got found, owners []Owner) {
				t.Helper()
				var o Owner
				if o, got.writer, err = Writer(f); err != nil {
					t.Fatal(err)
				} else if got.writer {
					owners = append(owners, o)
				}
				if o, got.flock = Flock(f); got.flock {
					owners = append(owners, o)
				}
				if o, got.user = User(f); got.user {
					owners = append(owners, o)
				}
				return got, owners
			}
			if got, _ := ask(); got != (found{}) {
				t.Errorf("before: %+v", got)
			}
			cmd := exec.Command(os.Args[0], path)
			cmd.Env = append(os.Environ(), role+"="+kind)
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
			got, owners := ask()
			if got != want {
				t.Errorf("found %+v, want %+v", got, want)
			}
			for _, o := range owners {
				if o.PID != cmd.Process.Pid || o.Name != me {
					t.Errorf("found %v, want process %d", o, cmd.Process.Pid)
				}
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			if got, _ := ask(); got != (found{}) {
				t.Errorf("after: %+v", got)
			}
		})
	}
}

func TestOwnersInWords(t *testing.T) {
	for want, o := range map[string]Owner{
		"apt-get (process 7)": {7, "apt-get"},
		"process 7":           {7, ""},
		"a process that cannot be seen from here": {},
	} {
		if o.String() != want {
			t.Errorf("%q, want %q", o, want)
		}
	}
}
