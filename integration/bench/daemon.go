// What the daemon and its command cost by themselves.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

func (s *stage) status() error {
	took, err := s.measure(func() (time.Duration, error) {
		return timed(func() error { return s.txctl("status") })
	})
	if err != nil {
		return err
	}
	nothing, err := s.measure(func() (time.Duration, error) {
		return timed(func() error { return exec.Command("true").Run() })
	})
	if err != nil {
		return err
	}
	report("txctl status : starting any process", took.median(), nothing.median(), "bar 20 ms")
	return nil
}

func (s *stage) txctl(args ...string) error {
	out, err := exec.Command(s.programs.Txctl, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("txctl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// memory is what the daemon has resident after some work.
func (s *stage) memory() error {
	for range 5 {
		if _, err := s.transactionOnce(false, emptyCommand); err != nil {
			return err
		}
	}
	pid, err := s.bus.DaemonPID()
	if err != nil {
		return err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				return err
			}
			value("resident memory of the idle daemon", fmt.Sprintf("%.1f M", float64(kib)/1024), "bar 25 MiB")
		}
	}
	return nil
}
