// Running one check.

package health

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

const (
	keptOutput = 8 << 10         // bytes, the last ones
	grace      = 2 * time.Second // between SIGTERM and SIGKILL
	// What a check leaves behind may hold its output open, and a process may be
	// stuck in the kernel: neither may keep us waiting.
	drain = time.Second
	stuck = 5 * time.Second
)

// environment is what every check gets: built, not inherited.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"USER=root",
	"LOGNAME=root",
	"SHELL=/bin/sh",
	"LANG=C.UTF-8",
}

// script runs a check until its end, its own limit, or that of all (ctx).
func (r *runner) script(ctx context.Context, s script) Result {
	if s.broken != "" {
		return Result{Exit: NoExit, Error: s.broken}
	}
	ended := fmt.Sprintf("did not end within %s", seconds(r.Timeout))
	if end, ok := ctx.Deadline(); ok && time.Until(end) < r.Timeout {
		ended = fmt.Sprintf("did not end within the %s that all checks have together", seconds(r.Total))
	}
	if ctx.Err() != nil {
		return Result{Exit: NoExit, Error: fmt.Sprintf("was not run: the %s that all checks have together were over", seconds(r.Total))}
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var output tail
	cmd := exec.Cmd{
		Path: s.path, Args: []string{s.path}, Dir: "/", Env: append(append([]string{}, environment...), r.Env...),
		Stdout: &output, Stderr: &output, WaitDelay: drain,
		// A session of its own, so that what it starts ends with it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return Result{Exit: NoExit, Error: "cannot be started: " + reason(err)}
	}
	cut, gone := supervise(ctx, cmd.Process.Pid)
	if !gone {
		go cmd.Wait() // nobody else will
		return Result{Exit: NoExit, Output: output.text(), Error: ended + ", and cannot be killed"}
	}
	err := cmd.Wait()
	result := Result{Exit: exitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)), Output: output.text()}
	var failed *exec.ExitError
	switch {
	case cut:
		result.Error = ended
	case errors.As(err, &failed):
		result.Error = failed.Error()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		result.Error = "its output cannot be read: " + reason(err)
	default:
		result.OK = true
	}
	return result
}

// supervise waits for the leader of a process group and ends the whole group
// with it, or when ctx ends. cut tells that ctx did; gone is false where the
// leader survives even that.
func supervise(ctx context.Context, leader int) (cut, gone bool) {
	// The leader is waited for but not reaped: as long as it is not, nobody
	// else can get its number, and only its own group is killed.
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		for errors.Is(unix.Waitid(unix.P_PID, leader, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		}
	}()
	select {
	case <-exited:
	case <-ctx.Done():
		cut = true
		unix.Kill(-leader, unix.SIGTERM)
		within(exited, grace)
	}
	unix.Kill(-leader, unix.SIGKILL)
	return cut, within(exited, stuck)
}

func within(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

func exitStatus(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	last []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if len(p) > keptOutput {
		p = p[len(p)-keptOutput:]
	}
	if over := len(t.last) + len(p) - keptOutput; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	t.last = append(t.last, p...)
	return n, nil
}

// text is valid UTF-8, whatever was written, and still no longer than keptOutput.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.last), "?")
}

// maxLine is what a line of a report has room for (characters).
const maxLine = 200

// lastLine is the last line that says something, without what a terminal would obey.
func lastLine(output string) string {
	for _, line := range slices.Backward(strings.Split(output, "\n")) {
		said := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return ' '
		}, line)))
		if len(said) > maxLine {
			said = append(said[:maxLine], '…')
		}
		if len(said) > 0 {
			return string(said)
		}
	}
	return ""
}
