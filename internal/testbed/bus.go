// A private message bus that is to txupd what the system bus is: the project's
// own policy file, root owns the name, every user may connect, and the daemon is
// started when somebody calls it.

package testbed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
)

// BusOptions say what the bus can start and where it writes.
type BusOptions struct {
	// Daemon is the command that the bus runs when somebody calls org.txupd1
	// ("…/txupd", "--root", "…"); without it there is no activation. Its
	// environment is ours, with DBUS_SYSTEM_BUS_ADDRESS.
	Daemon []string
	// Log gets what the bus and what it starts say; nil discards it.
	Log io.Writer
}

// Bus is a running private bus.
type Bus struct {
	// Address is for DBUS_SYSTEM_BUS_ADDRESS, `busctl --address=` and `gdbus … --address`.
	Address string

	dir     string
	cmd     *exec.Cmd
	exited  chan struct{}
	closing sync.Once
	closed  error
}

// stopTimeout is how long the daemon and the bus have to leave when asked to.
const stopTimeout = 30 * time.Second

// StartBus starts a bus and returns when it listens. It runs until Close, or
// until ctx ends, which kills it.
func StartBus(ctx context.Context, opts BusOptions) (*Bus, error) {
	dir, err := publicDir("txupd-bus-")
	if err != nil {
		return nil, err
	}
	b := &Bus{dir: dir, Address: "unix:path=" + filepath.Join(dir, "bus"), exited: make(chan struct{})}
	if err := b.start(ctx, opts); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("cannot start a message bus: %w", err)
	}
	return b, nil
}

// Env is our environment with this bus as the system bus.
func (b *Bus) Env() []string {
	return append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+b.Address)
}

// Close asks the daemon that owns org.txupd1 to leave, if there is one, then
// stops the bus. A daemon that does not leave is killed, which is an error. A
// second call does nothing.
func (b *Bus) Close() error {
	b.closing.Do(func() {
		daemon := b.StopDaemon()
		b.cmd.Process.Signal(unix.SIGTERM)
		<-b.exited
		b.closed = errors.Join(daemon, os.RemoveAll(b.dir))
	})
	return b.closed
}

// DaemonPID is the process that owns org.txupd1, 0 if nobody does.
func (b *Bus) DaemonPID() (int, error) {
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var owned bool
	if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, bus.Name).Store(&owned); err != nil || !owned {
		return 0, err
	}
	var pid uint32
	err = conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, bus.Name).Store(&pid)
	var gone dbus.Error
	if errors.As(err, &gone) && gone.Name == "org.freedesktop.DBus.Error.NameHasNoOwner" {
		return 0, nil
	}
	return int(pid), err
}

// StopDaemon asks the daemon that owns org.txupd1 to leave, if there is one, and waits for it.
func (b *Bus) StopDaemon() error {
	pid, err := b.DaemonPID()
	if err != nil || pid == 0 || pid == os.Getpid() {
		return err
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot watch the daemon (process %d): %w", pid, err)
	}
	defer unix.Close(handle)
	unix.PidfdSendSignal(handle, unix.SIGTERM, nil, 0)
	if ended(handle, stopTimeout) {
		return nil
	}
	unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0)
	ended(handle, stopTimeout)
	return fmt.Errorf("the daemon (process %d) did not leave within %v of SIGTERM and was killed", pid, stopTimeout)
}

// ended waits for the process behind a pidfd, which becomes readable then.
func ended(handle int, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		left := time.Until(deadline)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}, int(max(left, 0).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n == 1
	}
}

func (b *Bus) start(ctx context.Context, opts BusOptions) error {
	top, err := Checkout()
	if err != nil {
		return err
	}
	if err := b.writeConfig(filepath.Join(top, "systemd"), opts.Daemon); err != nil {
		return err
	}
	log := opts.Log
	if log == nil {
		log = io.Discard
	}
	b.cmd = exec.CommandContext(ctx, "dbus-daemon", "--config-file="+filepath.Join(b.dir, "bus.conf"), "--nofork", "--print-address", "--nosyslog", "--nopidfile")
	// What the bus starts inherits it. The race detector would wait a second at the end of each daemon for other threads to report.
	b.cmd.Env = append(b.Env(), "GORACE=atexit_sleep_ms=0")
	var said bytes.Buffer
	b.cmd.Stderr = io.MultiWriter(log, &said)
	// A daemon that outlives the bus holds its standard error: it may not keep us waiting.
	b.cmd.WaitDelay = time.Second
	address, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("%w (scripts/deps installs it)", err)
	}
	// The address comes when the bus listens.
	_, err = bufio.NewReader(address).ReadString('\n')
	go func() {
		b.cmd.Wait()
		close(b.exited)
	}()
	if err != nil {
		b.cmd.Process.Kill()
		<-b.exited
		return fmt.Errorf("dbus-daemon ended at once: %s", strings.TrimSpace(said.String()))
	}
	return nil
}

// busConfig has the rules of the system bus's own configuration. The type is
// another one: with "system" dbus-daemon starts services by a setuid helper.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>testbed</type>
  <listen>%s</listen>
  <auth>EXTERNAL</auth>
  <servicedir>%s</servicedir>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.login1"/>
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.login1"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Debug.Stats"/>
  </policy>
  <include ignore_missing="yes">/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include>
  <include>%s</include>
</busconfig>
`

// writeConfig writes the configuration with the policy of the project, and its
// activation file with the command replaced.
func (b *Bus) writeConfig(project string, daemon []string) error {
	services := filepath.Join(b.dir, "services")
	if err := os.Mkdir(services, 0o755); err != nil {
		return err
	}
	if len(daemon) > 0 {
		installed, err := os.ReadFile(filepath.Join(project, bus.Name+".service"))
		if err != nil {
			return err
		}
		ours := ""
		for line := range strings.Lines(string(installed)) {
			switch key, _, _ := strings.Cut(line, "="); key {
			case "Exec":
				ours += "Exec=" + execLine(daemon) + "\n"
			case "SystemdService": // there is no systemd on this bus
			default:
				ours += line
			}
		}
		if err := os.WriteFile(filepath.Join(services, bus.Name+".service"), []byte(ours), 0o644); err != nil {
			return err
		}
	}
	config := fmt.Sprintf(busConfig, escape(b.Address), escape(services), escape(filepath.Join(project, bus.Name+".conf")))
	return os.WriteFile(filepath.Join(b.dir, "bus.conf"), []byte(config), 0o644)
}

// execLine quotes argv as dbus-daemon reads it: shell words in a desktop entry.
func execLine(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		words[i] = strings.ReplaceAll(quote(arg), `\`, `\\`)
	}
	return strings.Join(words, " ")
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

// PrivateBus is StartBus for tests: what the bus and the daemon say goes to the
// test's output, and the test fails if the daemon does not leave.
func PrivateBus(t testing.TB, opts BusOptions) *Bus {
	t.Helper()
	NeedTools(t, "dbus-daemon")
	if opts.Log == nil {
		opts.Log = t.Output()
	}
	// Not the test's context, which ends before its cleanups run.
	b, err := StartBus(context.WithoutCancel(t.Context()), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}
