// What the demo shows, in the order in which a person would ask.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func (s *stage) tour(ctx context.Context) error {
	hello := filepath.Join(s.machine.Root, "usr/bin/hello")
	steps := []func() error{
		func() error { return s.show(ctx, "What runs, and what boots next?", "txctl", "status") },
		func() error {
			return s.show(ctx, "Install a real package. The running system is not touched: it goes into a fork of it.",
				"txctl", "pkg", "add", "-m", "everybody wants to be greeted", "hello")
		},
		func() error {
			say("The running root does not have it …")
			fmt.Printf("\033[36m$ ls %s\033[0m\n", hello)
			if _, err := os.Stat(hello); err == nil {
				return errors.New("the running root was changed")
			}
			fmt.Println("no such file")
			return nil
		},
		func() error { return s.show(ctx, "… and boots as it is until you reboot:", "txctl", "status") },
		func() error { return s.show(ctx, "Who changed what, and why?", "txctl", "show", "pending") },
		func() error {
			return s.show(ctx, "A second change stacks on the first, which is not lost: a shell injects a file.",
				"sh", "-c", "echo 'echo tuned > /etc/demo.conf' | txctl shell -m 'tune the demo'")
		},
		func() error { return s.show(ctx, "Both are in what boots next:", "txctl", "list") },
		func() error {
			return s.show(ctx, "A command that fails leaves nothing behind:", "sh", "-c",
				"txctl run -- sh -c 'rm -rf /usr/share; exit 3'; echo \"exit status $?\"; txctl list | tail -n 2")
		},
		func() error {
			return s.show(ctx, "Change your mind: the running snapshot boots next again.", "txctl", "rollback", "booted")
		},
		func() error { return s.show(ctx, "Nothing was lost by that:", "txctl", "status") },
		func() error { return s.show(ctx, "Take the greeting after all:", "txctl", "rollback", s.first()) },
		s.reboot,
		func() error { return s.show(ctx, "What runs now?", "txctl", "status") },
		func() error { return s.show(ctx, "And the changelog of it all:", "txctl", "log") },
	}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	say("That was the tour. %s", "\"make demo-shell\" lets you try for yourself.")
	return nil
}

// first is the number of the first transaction: the adopted root of this layout has the one before.
func (s *stage) first() string {
	if _, err := os.Stat(filepath.Join(s.machine.Root, ".snapshots/1/snapshot")); err == nil {
		if _, err := os.Stat(filepath.Join(s.machine.Root, ".snapshots/1/record.json")); err != nil {
			return "2"
		}
	}
	return "1"
}

// reboot mounts what boots next, as a boot would, and runs the new package in it.
func (s *stage) reboot() error {
	say("\"Reboot\": the daemon leaves, and the default subvolume is mounted. The package runs:")
	if err := s.bus.StopDaemon(); err != nil {
		return err
	}
	if err := s.machine.Reboot(); err != nil {
		return err
	}
	fmt.Printf("\033[36m$ hello\033[0m\n")
	cmd := exec.Command("chroot", s.machine.Root, "/usr/bin/hello")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
