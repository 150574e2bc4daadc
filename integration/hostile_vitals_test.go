// What the daemon must keep whatever callers do: its life, its answers, and
// nothing of theirs.

package integration

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
)

// vitals are what the kernel tells of a process.
type vitals struct {
	pid, files, threads int
	memory              int // resident, KiB
}

func (s *system) vitals() vitals {
	s.t.Helper()
	v := vitals{pid: s.daemonPID()}
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.pid))
	if err != nil {
		s.t.Fatalf("the daemon is gone: %v\n%s", err, s.log)
	}
	v.files = len(names)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch key {
		case "Threads":
			v.threads = n
		case "VmRSS":
			v.memory = n
		}
	}
	return v
}

// survives runs an attack twice: the daemon stays the same process, answers
// somebody else all along, and the second time finds it as the first time left it.
func (s *system) survives(what string, attack func()) {
	s.t.Helper()
	s.status()
	start := s.vitals()
	var left [2]vitals
	for round := range left {
		stop := s.probe(what)
		attack()
		stop()
		var v vitals
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			if v = s.vitals(); v.files <= start.files || time.Now().After(deadline) {
				break
			}
		}
		if v.files > start.files {
			s.t.Errorf("%s: %d descriptors are open, %d were before", what, v.files, start.files)
		}
		if v.pid != start.pid {
			s.t.Fatalf("%s: the daemon was %d and is %d\n%s", what, start.pid, v.pid, s.log)
		}
		left[round] = v
	}
	// The runtime gives memory back when it likes, and the race detector's comes on top: only growth tells a leak.
	const slack = 64 << 10
	if left[1].memory > left[0].memory+slack {
		s.t.Errorf("%s: the daemon has %d KiB after the first time, %d after the second", what, left[0].memory, left[1].memory)
	}
	if left[1].threads > start.threads+64 {
		s.t.Errorf("%s: the daemon has %d threads, %d before", what, left[1].threads, start.threads)
	}
	s.t.Logf("%s: before %+v, after once %+v, after twice %+v", what, start, left[0], left[1])
}

// probe asks for the status all along, as somebody else, until stop.
func (s *system) probe(what string) (stop func()) {
	s.t.Helper()
	conn, err := dbus.Connect(s.bus.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	var probing sync.WaitGroup
	var asked int
	var longest time.Duration
	probing.Go(func() {
		for {
			began := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), patience/4)
			err := conn.Object(bus.Name, bus.Path).CallWithContext(ctx, bus.ManagerInterface+".Status", 0, map[string]dbus.Variant{}).Err
			cancel()
			if err != nil {
				s.t.Errorf("%s: the status is not to be had: %v", what, err)
				return
			}
			asked++
			longest = max(longest, time.Since(began))
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() {
		close(done)
		probing.Wait()
		conn.Close()
		s.t.Logf("%s: the status was asked for %d times, the longest answer took %v", what, asked, longest.Round(time.Millisecond))
	}
}
