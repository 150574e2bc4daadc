package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/testbed"
	"golang.org/x/sys/unix"
)

// inhabitants lists the processes of a pid namespace, as this one numbers them.
func inhabitants(t *testing.T, namespace string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	must(t, err)
	var found []string
	for _, link := range links {
		pid := strings.Split(link, "/")[2]
		if ns, err := os.Readlink(link); err == nil && ns == namespace && !dead(pid) {
			found = append(found, pid)
		}
	}
	return found
}

// dead is a process that only waits to be reaped, by whoever became its parent.
func dead(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func namespaceOf(t *testing.T, pid int) string {
	t.Helper()
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	must(t, err)
	return ns
}

// leaveDaemons runs a command that double-forks two daemons, and waits until they are orphans.
func leaveDaemons(t *testing.T, s *Sandbox) {
	t.Helper()
	script(t, s, `(setsid sh -c 'trap "" TERM HUP INT; echo $$ >/tmp/daemon; while :; do sleep 1000; done' </dev/null >/dev/null 2>&1 &)
		(sleep 1000 </dev/null >/dev/null 2>&1 &)
		while ! [ -s /tmp/daemon ]; do sleep 0.01; done
		ps -o ppid= -p $(cat /tmp/daemon)`)
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	root := smallRoot(t)
	before := mountsOf(t, root)
	s := open(t, Config{Root: root})
	namespace := namespaceOf(t, s.init.Pid)
	leaveDaemons(t, s)
	if got := inhabitants(t, namespace); len(got) < 3 {
		t.Fatalf("the daemons are not there: %v", got)
	}
	if got := mountsOf(t, root); got != before {
		t.Errorf("the sandbox shows in the running system:\n%s", got)
	}
	must(t, s.Close())
	if got := inhabitants(t, namespace); len(got) != 0 {
		t.Errorf("processes are left: %v", got)
	}
	if got := mountsOf(t, root); got != before {
		t.Errorf("mounts changed:\n%s\nbefore:\n%s", got, before)
	}
	must(t, s.Close())
	if _, err := s.Start(t.Context(), Command{Argv: []string{"true"}}); !errors.Is(err, ErrEnded) {
		t.Errorf("a command in a closed sandbox: %v", err)
	}
}

func TestCloseEndsWhatRuns(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	p := waiting(t, s, t.Context(), "echo ready; sleep 1000", 0)
	must(t, s.Close())
	if _, err := p.Wait(); !errors.Is(err, ErrEnded) {
		t.Errorf("Wait says %v", err)
	}
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Signal says %v", err)
	}
}

func TestKilledInitTakesEverythingAlong(t *testing.T) {
	root := smallRoot(t)
	write(t, filepath.Join(root, "usr/sbin/invoke-rc.d"), "")
	s := open(t, Config{Root: root})
	namespace := namespaceOf(t, s.init.Pid)
	leaveDaemons(t, s)
	p := waiting(t, s, t.Context(), "echo ready; sleep 1000", 0)
	must(t, unix.Kill(s.init.Pid, unix.SIGKILL))
	if _, err := p.Wait(); !errors.Is(err, ErrEnded) {
		t.Errorf("Wait says %v", err)
	}
	<-s.Done()
	if got := inhabitants(t, namespace); len(got) != 0 {
		t.Errorf("processes are left: %v", got)
	}
	if _, err := s.Start(t.Context(), Command{Argv: []string{"true"}}); !errors.Is(err, ErrEnded) {
		t.Errorf("a command in a dead sandbox: %v", err)
	}
	must(t, s.Close())
	if _, err := os.Lstat(filepath.Join(root, "usr/sbin/policy-rc.d")); !os.IsNotExist(err) {
		t.Errorf("policy-rc.d is left: %v", err)
	}
}

func TestKilledDaemonTakesEverythingAlong(t *testing.T) {
	daemon := exec.Command("/proc/self/exe", holderArgument, smallRoot(t))
	daemon.Stderr = os.Stderr
	out, err := daemon.StdoutPipe()
	must(t, err)
	must(t, daemon.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	init, err := strconv.Atoi(strings.TrimSpace(line))
	must(t, err)
	namespace := namespaceOf(t, init)
	pidfd, err := unix.PidfdOpen(init, 0)
	must(t, err)
	defer unix.Close(pidfd)

	must(t, daemon.Process.Kill())
	_ = daemon.Wait()
	// Readable when pid 1 is gone; a minute is for a machine that is busy elsewhere.
	n, err := retry(func() (int, error) {
		return unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 60_000)
	})
	must(t, err)
	if n != 1 {
		t.Fatal("the sandbox outlives its daemon")
	}
	if got := inhabitants(t, namespace); len(got) != 0 {
		t.Errorf("processes are left: %v", got)
	}
}

func TestCloseReleasesTheFileSystem(t *testing.T) {
	top := testbed.Loop(t, 256)
	device := testbed.Device(t, top)
	root := filepath.Join(top, "snapshot")
	testbed.Run(t, "cp", "-a", smallRoot(t), root)
	s := open(t, Config{Root: root})
	leaveDaemons(t, s)
	must(t, s.Close())
	must(t, unix.Unmount(top, 0))
	released(t, device)
}

// released waits until the file system of a device is mounted nowhere. The kernel refuses an exclusive open while it
// is mounted anywhere, in any namespace: also in one that somebody else on this machine just makes, and has a copy
// of all mounts until that is done.
func released(t *testing.T, device string) {
	t.Helper()
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	for deadline := time.Now().Add(time.Minute); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		fd, err = unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatalf("the file system is still mounted somewhere: %v", err)
	}
	must(t, unix.Close(fd))
}

func TestInitReapsOrphansAndIgnoresSignals(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	// Scripts of packages ask pid 1 to execute itself again, by signals.
	script(t, s, "for s in HUP INT QUIT TERM USR1 USR2 PWR; do kill -$s 1; done")
	script(t, s, "for i in 1 2 3 4 5; do (setsid sh -c 'exit 3' &); done")
	script(t, s, `while case "$(ps -eo stat=)" in *Z*) true ;; *) false ;; esac do sleep 0.01; done`)
}

func TestStartFailsWithoutATrace(t *testing.T) {
	root := smallRoot(t)
	write(t, filepath.Join(root, "usr/sbin/invoke-rc.d"), "")
	must(t, os.Remove(filepath.Join(root, "tmp")))
	before := mountsOf(t, root)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name string
		ctx  context.Context
		cfg  Config
		want string
	}{
		{"mount point missing", t.Context(), Config{Root: root}, "cannot mount /tmp: there is no such directory in " + root},
		{"root missing", t.Context(), Config{Root: root + "/no/such"}, "no such file or directory"},
		{"root is a file", t.Context(), Config{Root: "/etc/passwd"}, "not a directory"},
		{"relative root", t.Context(), Config{Root: "snapshot"}, `"snapshot" is not a clean absolute path`},
		{"empty root", t.Context(), Config{}, `"" is not a clean absolute path`},
		{"the running system", t.Context(), Config{Root: "/"}, "it is the running system (/)"},
		{"the host", t.Context(), Config{Root: root, Host: root}, "it is the running system (" + root + ")"},
		{"host missing", t.Context(), Config{Root: root, Host: "/no/such/host"}, "/no/such/host"},
		{"relative cache", t.Context(), Config{Root: root, Caches: []string{"var/cache"}}, `"var/cache" is not a clean absolute path`},
		{"cache with dots", t.Context(), Config{Root: root, Caches: []string{"/var/../etc"}}, `"/var/../etc" is not a clean absolute path`},
		{"environment", t.Context(), Config{Root: root, Env: []string{"=x"}}, "NAME=VALUE"},
		{"not an init", t.Context(), Config{Root: root, Self: "/bin/true"}, "its first process ended at once"},
		{"no executable", t.Context(), Config{Root: root, Self: "/no/such/self"}, "/no/such/self"},
		{"cancelled", canceled, Config{Root: root}, context.Canceled.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := Start(test.ctx, test.cfg)
			if s != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, %v; want an error with %q", s, err, test.want)
			}
			if got := mountsOf(t, root); got != before {
				t.Errorf("mounts changed:\n%s", got)
			}
			if _, err := os.Lstat(filepath.Join(root, "usr/sbin/policy-rc.d")); !os.IsNotExist(err) {
				t.Errorf("policy-rc.d is left: %v", err)
			}
		})
	}
}
