//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled reports whether this build has failpoints.
const Enabled = true

// The file that Variable names holds either "trace FILE", and every failpoint
// that is passed is appended to FILE, one line each; or "NAME TIME KIND", and
// the failpoint does that when it is passed for that time (from 1).
var file = sync.OnceValue(func() (p plan) {
	text, err := os.ReadFile(os.Getenv(Variable))
	if err != nil {
		return p
	}
	if trace, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "trace "); ok {
		p.trace = trace
		return p
	}
	if _, err := fmt.Sscan(string(text), &p.name, &p.time, &p.kind); err != nil {
		panic(fmt.Sprintf("%s: %q is not NAME TIME KIND: %v", os.Getenv(Variable), text, err))
	}
	return p
})

type plan struct {
	trace string
	name  string
	time  int
	kind  Kind
}

var (
	mu     sync.Mutex
	passed = map[string]int{}
)

// Here is a place at which a build with failpoints can be made to fail.
func Here(name string) error {
	p := file()
	mu.Lock()
	passed[name]++
	time := passed[name]
	if p.trace != "" {
		note(p.trace, name, time)
	}
	mu.Unlock()
	if p.name != name || p.time != time {
		return nil
	}
	switch p.kind {
	case Error:
		return fmt.Errorf("failpoint %s (%d)", name, time)
	case NoSpace:
		return fmt.Errorf("failpoint %s (%d): %w", name, time, syscall.ENOSPC)
	case Panic:
		panic(fmt.Sprintf("failpoint %s (%d)", name, time))
	case Kill:
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it came
	case Pause:
		pause(os.Getenv(Variable))
		return nil
	}
	panic(fmt.Sprintf("failpoint %s: there is no kind %q", name, p.kind))
}

// pause lets a test do something at this very moment.
func pause(armed string) {
	if err := os.WriteFile(armed+".reached", nil, 0o644); err != nil {
		panic(err)
	}
	for {
		if _, err := os.Lstat(armed); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// note appends what was passed; with O_APPEND, so that several runs of the daemon follow each other.
func note(trace, name string, time int) {
	f, err := os.OpenFile(trace, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, name, time); err != nil {
		panic(err)
	}
}
