// The demo shows a newcomer, on a real Debian root in a loop file system, what
// txupd does; with -shell it then leaves them alone with it. Nothing of the
// machine that it runs on is changed, and nothing is left behind: start it with
// `make demo`, which keeps its mounts and processes apart.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/txupd/txupd/internal/testbed"
)

func main() {
	shell := flag.Bool("shell", false, "end with a shell in which txctl works on the demo's system")
	quick := flag.Bool("only-shell", false, "no tour, just the shell")
	layout := flag.String("layout", "opensuse", "layout of subvolumes: opensuse, flat, fedora or debian")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := demo(ctx, *layout, !*quick, *shell || *quick)
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "\ndemo: stopped, and cleaned up")
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// stage is where the demo plays.
type stage struct {
	machine  *testbed.Machine
	bus      *testbed.Bus
	programs testbed.Programs
}

func demo(ctx context.Context, layout string, tour, shell bool) (err error) {
	say("Building txupd, and a real Debian root with mmdebstrap (cached after the first time) …")
	bin, err := os.MkdirTemp("", "txupd-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	s := &stage{}
	if s.programs, err = testbed.BuildPrograms(ctx, bin, testbed.Release); err != nil {
		return err
	}
	tarball, err := testbed.BuildRoot(ctx, testbed.DebianWithLists(), io.Discard)
	if err != nil {
		return err
	}
	say("Putting it on a loop btrfs in the layout of %s …", layout)
	if s.machine, err = testbed.MountRoot(ctx, tarball, layout, testbed.MachineOptions{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.machine.Close()) }()
	// The clean-up must not die of the signal that asks for it, so the bus does not end with ctx.
	s.bus, err = testbed.StartBus(context.WithoutCancel(ctx), testbed.BusOptions{
		Daemon: []string{s.programs.Txupd, "--root", s.machine.Root}, Log: logFile(bin),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.bus.Close()) }()
	if tour {
		if err := s.tour(ctx); err != nil {
			return err
		}
	}
	if shell {
		return s.shell(ctx)
	}
	return nil
}

func logFile(dir string) io.Writer {
	f, err := os.Create(filepath.Join(dir, "daemon.log"))
	if err != nil {
		return io.Discard
	}
	return f
}

func say(format string, args ...any) { fmt.Printf("\n\033[1m"+format+"\033[0m\n", args...) }

// show prints a command as a person would type it, and runs it.
func (s *stage) show(ctx context.Context, words string, argv ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	say("%s", words)
	fmt.Printf("\033[36m$ %s\033[0m\n", strings.Join(quoted(argv), " "))
	program := argv[0]
	if program == "txctl" {
		program = s.programs.Txctl
	}
	cmd := exec.CommandContext(ctx, program, argv[1:]...)
	cmd.Env = s.env()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	return cmd.Run()
}

func quoted(argv []string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		if a == "" || strings.ContainsAny(a, " '\"$;&|<>") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out[i] = a
	}
	return out
}

// env has the demo's bus, and its txctl in the path.
func (s *stage) env() []string {
	return append(s.bus.Env(), "PATH="+filepath.Dir(s.programs.Txctl)+":"+os.Getenv("PATH"))
}

// shell lets a person play.
func (s *stage) shell(ctx context.Context) error {
	say("A shell for you: txctl works on the demo's system, which is mounted at %s. Leave it to clean up.", s.machine.Root)
	cmd := exec.CommandContext(ctx, "bash", "--norc", "-i")
	cmd.Env = append(s.env(), "ROOT="+s.machine.Root, "TOP="+s.machine.Top, `PS1=demo \W \$ `)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // the status of a shell is the one of its last command
	}
	return err
}
