// Command agent runs in the guest of a machine test and does what the harness
// asks. It starts before anything that a test could break, and is no part of txupd.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed/machine/wire"
)

func main() { os.Exit(run(os.Stderr)) }

func run(stderr io.Writer) int {
	port, err := openPort()
	if err != nil {
		fmt.Fprintln(stderr, "agent:", err)
		return 1
	}
	defer port.Close()
	boot, err := thisBoot()
	if err != nil {
		fmt.Fprintln(stderr, "agent:", err)
		return 1
	}
	a := &agent{boot: boot, out: port, commands: map[uint64]int{}}
	if err := a.serve(port); err != nil {
		fmt.Fprintln(stderr, "agent:", err)
		return 1
	}
	return 0
}

// openPort finds the port by its name. udev may not run yet, so not by its link.
func openPort() (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		text, err := os.ReadFile(file)
		if err == nil && strings.TrimSpace(string(text)) == wire.Port {
			device := "/dev/" + filepath.Base(filepath.Dir(file))
			return os.OpenFile(device, os.O_RDWR|unix.O_CLOEXEC, 0)
		}
	}
	return nil, fmt.Errorf("there is no port %s among %d", wire.Port, len(names))
}

func thisBoot() (*wire.Boot, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	root, err := rootSubvolume()
	if err != nil {
		return nil, err
	}
	return &wire.Boot{
		// A soft-reboot keeps the kernel and its id.
		ID: strings.TrimSpace(string(id)) + " " + root, CommandLine: strings.TrimSpace(string(line)),
		Kernel: strings.TrimSpace(string(release)), Root: root,
	}, nil
}

// rootSubvolume reads the fourth field of the line of / in mountinfo.
func rootSubvolume() (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	root := ""
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/" {
			root = fields[3] // the last one is on top
		}
	}
	return root, nil
}

type agent struct {
	boot *wire.Boot

	sending sync.Mutex
	out     io.Writer

	mu       sync.Mutex
	commands map[uint64]int // process groups by id
}

// say writes one event. The port blocks while nobody reads it, and so do we.
func (a *agent) say(e wire.Event) {
	line, err := json.Marshal(e)
	if err != nil { // strings and bytes: it cannot fail
		return
	}
	a.sending.Lock()
	defer a.sending.Unlock()
	// What a former boot began to say may have no end: the first newline is its.
	_, _ = a.out.Write(append(append([]byte{'\n'}, line...), '\n'))
}

// serve answers requests until the port breaks.
func (a *agent) serve(in io.Reader) error {
	a.say(wire.Event{Boot: a.boot})
	lines := bufio.NewReaderSize(in, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		var r wire.Request
		if json.Unmarshal(line, &r) != nil {
			continue // the rest of what was meant for a former boot
		}
		if r.Op == wire.Hello {
			a.say(wire.Event{Boot: a.boot})
		} else if r.Boot == a.boot.ID {
			a.answer(r)
		}
	}
}

func (a *agent) answer(r wire.Request) {
	switch r.Op {
	case wire.Run:
		a.start(r)
		return
	case wire.Kill:
		a.kill(r.ID)
		return
	}
	e := wire.Event{ID: r.ID, Done: true}
	var err error
	switch r.Op {
	case wire.Read:
		e.Data, err = os.ReadFile(r.Path)
	case wire.Write:
		err = replace(r.Path, r.Data, os.FileMode(r.Mode))
	case wire.Clock:
		spec := unix.NsecToTimespec(r.UnixNano)
		err = unix.ClockSettime(unix.CLOCK_REALTIME, &spec)
	default:
		err = fmt.Errorf("no request %q", r.Op)
	}
	if err != nil {
		e.Error, e.Missing = err.Error(), os.IsNotExist(err)
	}
	a.say(e)
}

// replace writes a file beside path and renames it.
func replace(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".agent-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
