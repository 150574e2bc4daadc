package handover

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// userArgument makes the test executable a process that uses a file in some way.
const userArgument = "use-a-file"

// useFile says "ready" when it does, and ends with its input.
func useFile(how, file string) error {
	flags := map[string]int{
		"write": os.O_WRONLY, "append": os.O_WRONLY | os.O_APPEND, "both": os.O_RDWR, "read": os.O_RDONLY, "path": unix.O_PATH,
		"flock": os.O_RDONLY, "lock": os.O_RDWR, "map": os.O_RDWR, "map-private": os.O_RDONLY, "fifo": os.O_RDWR,
	}
	f, err := os.OpenFile(file, flags[how], 0)
	if err != nil {
		return err
	}
	switch how {
	case "flock":
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
	case "lock":
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
	case "map":
		_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		f.Close() // the mapping stays
	case "map-private":
		_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = bufio.NewReader(os.Stdin).ReadByte()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// use starts a process that uses a file until the returned function is called.
func use(t *testing.T, how, file string) (end func()) {
	t.Helper()
	c := exec.Command("/proc/self/exe", userArgument, how, file)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the user of the file says %q, %v", line, err)
	}
	return func() {
		must(t, in.Close())
		must(t, c.Wait())
	}
}

func TestFilesInUseStay(t *testing.T) {
	s := newScene(t, func(live string) {
		for how := range map[string]bool{"write": true, "append": true, "both": true, "read": true, "path": true, "flock": true, "lock": true, "map": true, "map-private": true} {
			write(t, live+"/"+how, "before")
			write(t, live+"/gone-"+how, "before")
			write(t, live+"/dir-"+how+"/f", "before")
		}
	})
	inUse := map[string]bool{"write": true, "append": true, "both": true, "read": false, "path": false, "flock": true, "lock": true, "map": true, "map-private": false}
	s.sandbox(t, func(view string) {
		for how := range inUse {
			write(t, view+"/"+how, "ours")
			must(t, os.Remove(view+"/gone-"+how))
			must(t, os.RemoveAll(view+"/dir-"+how))
		}
	})
	var ends []func()
	for how := range inUse {
		for _, file := range []string{"/" + how, "/gone-" + how, "/dir-" + how + "/f"} {
			ends = append(ends, use(t, how, s.live+file))
		}
	}
	rows := tell(s.give(t, 0))
	for _, end := range ends {
		end()
	}
	for how, kept := range inUse {
		lines := []string{"/var/" + how + " replaced\n", "/var/gone-" + how + " removed\n", "/var/dir-" + how + " removed\n"}
		if kept {
			lines = []string{
				"/var/" + how + " kept /var/" + how + ".txupd-10 (it is in use)\n", "/var/gone-" + how + " kept (it is in use)\n", "/var/dir-" + how + " kept (it is in use)\n",
			}
		}
		for _, line := range lines {
			if !strings.Contains(rows, line) {
				t.Errorf("for %q there is no row %q in\n%s", how, line, rows)
			}
		}
		if got := read(t, s.live+"/"+how); (got == "before") != kept {
			t.Errorf("%s is %q", how, got)
		}
	}
	// When nobody uses them any more, they are what they were before.
	s.give(t, 0)
	for how := range inUse {
		if got := read(t, s.live+"/"+how); got != "ours" {
			t.Errorf("afterwards %s is %q", how, got)
		}
	}
}

func TestKernelsOwnFilesStay(t *testing.T) {
	s := newScene(t, func(live string) {
		for _, name := range []string{"/loop", "/loop-ro"} {
			write(t, live+name, "before")
			must(t, os.Truncate(live+name, 1<<20))
		}
	})
	s.sandbox(t, func(view string) {
		write(t, view+"/loop", "ours")
		write(t, view+"/loop-ro", "ours")
	})
	for _, arguments := range [][]string{{s.live + "/loop"}, {"--read-only", s.live + "/loop-ro"}} {
		device := strings.TrimSpace(testbed.Run(t, append([]string{"losetup", "--show", "--find"}, arguments...)...))
		defer testbed.Run(t, "losetup", "--detach", device)
	}
	rows := tell(s.give(t, 0))
	if want := "/var/loop kept /var/loop.txupd-10 (it is in use)\n/var/loop-ro replaced\n"; rows != want {
		t.Errorf("rows:\n%s", rows)
	}
}

func TestSwapFileStays(t *testing.T) {
	s := newScene(t, func(live string) { write(t, live+"/swap file", "before") })
	s.sandbox(t, func(view string) { must(t, os.Remove(view+"/swap file")) })
	proc := t.TempDir()
	write(t, proc+"/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"+strings.ReplaceAll(s.live, " ", `\040`)+`/swap\040file file 1 0 -2`+"\n")
	rows, err := Give(nowhere, Request{Capture: s.captures[0], Live: s.live, Proc: proc})
	must(t, err)
	if want := "/var/swap file kept (it is in use)\n"; tell(rows) != want {
		t.Errorf("rows:\n%s", tell(rows))
	}
}

func TestSocketsAndPipes(t *testing.T) {
	s := newScene(t, func(live string) {
		must(t, unix.Mknod(live+"/socket", unix.S_IFSOCK|0o600, 0))
		must(t, unix.Mknod(live+"/changed", unix.S_IFSOCK|0o600, 0))
		must(t, unix.Mkfifo(live+"/pipe", 0o600))
		must(t, unix.Mkfifo(live+"/used", 0o600))
	})
	s.sandbox(t, func(view string) {
		for _, name := range []string{"/socket", "/changed", "/pipe", "/used"} {
			must(t, os.Remove(view+name))
		}
		write(t, view+"/changed", "ours")
		must(t, unix.Mknod(view+"/new", unix.S_IFSOCK|0o600, 0))
		must(t, unix.Mkfifo(view+"/new-pipe", 0o640))
	})
	end := use(t, "fifo", s.live+"/used")
	rows := s.give(t, 0)
	end()
	equal(t, "rows", tell(rows), `/var/changed kept /var/changed.txupd-10 (it is a socket)
/var/new skipped (it is a socket)
/var/new-pipe created
/var/pipe removed
/var/socket kept (it is a socket)
/var/used kept (it is in use)
`)
	for name, want := range map[string]bool{"/socket": true, "/changed": true, "/pipe": false, "/used": true, "/new": false, "/new-pipe": true} {
		if exists(s.live+name) != want {
			t.Errorf("%s: there %v, want %v", name, !want, want)
		}
	}
}
