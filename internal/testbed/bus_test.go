package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
)

// The bus starts this test binary as its daemon.
const serveArgument = "serve on the system bus"

func TestMain(m *testing.M) {
	if slices.Contains(os.Args, serveArgument) {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

type echo struct{}

func (echo) Echo(text string) (string, *dbus.Error) { return text, nil }

func (echo) Take(fd dbus.UnixFD) *dbus.Error { return nil }

func serve() error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.Export(echo{}, bus.Path, bus.ManagerInterface)
	conn.Export(introspect.NewIntrospectable(&introspect.Node{Name: bus.Path, Interfaces: []introspect.Interface{
		introspect.IntrospectData, {Name: bus.ManagerInterface, Methods: introspect.Methods(echo{})},
	}}), bus.Path, bus.IntrospectInterface)
	if _, err := conn.RequestName(bus.Name, dbus.NameFlagDoNotQueue); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "serving with", strings.Join(os.Args[1:], "|"))
	<-terminated
	return nil
}

func activatable(t *testing.T) *Bus {
	return PrivateBus(t, BusOptions{Daemon: []string{os.Args[0], serveArgument, `it's a "test" \ $HOME`}})
}

func TestAnybodyCallsTheDaemonWhichTheBusStarts(t *testing.T) {
	NeedTools(t, "busctl", "gdbus", "setpriv")
	b := activatable(t)
	if pid, err := b.DaemonPID(); pid != 0 || err != nil {
		t.Fatalf("before any call the daemon is %d, %v", pid, err)
	}
	nobody := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	out := Run(t, append(nobody, "busctl", "--address="+b.Address, "call", bus.Name, bus.Path, bus.ManagerInterface, "Echo", "s", "hello")...)
	if out != "s \"hello\"\n" {
		t.Errorf("an unprivileged call gave %q", out)
	}
	out = Run(t, append(nobody, "gdbus", "introspect", "--address="+b.Address, "--dest="+bus.Name, "--object-path="+bus.Path)...)
	if !strings.Contains(out, "interface "+bus.ManagerInterface) {
		t.Errorf("gdbus introspect gave %q", out)
	}
	if out = Run(t, "busctl", "--address="+b.Address, "list"); !strings.Contains(out, bus.Name) {
		t.Errorf("busctl list gave %q", out)
	}
	pid, err := b.DaemonPID()
	if err != nil || pid == 0 {
		t.Fatalf("after a call the daemon is %d, %v", pid, err)
	}
	arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if want := serveArgument + "\x00" + `it's a "test" \ $HOME` + "\x00"; err != nil || !strings.HasSuffix(string(arguments), want) {
		t.Errorf("the daemon was started as %q, %v; want the arguments %q", arguments, err, want)
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(handle)
	if err := b.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	if !ended(handle, 0) {
		t.Error("the daemon outlives the bus")
	}
	if _, err := os.Stat(strings.TrimPrefix(b.Address, "unix:path=")); err == nil {
		t.Error("the socket is still there")
	}
}

func TestPolicyKeepsDescriptorsAndImpostorsAway(t *testing.T) {
	NeedTools(t, "busctl", "setpriv")
	b := activatable(t)
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	manager := conn.Object(bus.Name, bus.Path)
	if err := manager.Call(bus.ManagerInterface+".Echo", 0, "x").Err; err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	err = manager.Call(bus.ManagerInterface+".Take", 0, dbus.UnixFD(null.Fd())).Err
	var refused dbus.Error
	if !errors.As(err, &refused) || refused.Name != "org.freedesktop.DBus.Error.AccessDenied" {
		t.Errorf("a message with a descriptor was answered with %v; the bus has to refuse it", err)
	}
	out, err := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "busctl", "--address="+b.Address, "call",
		"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName", "su", bus.Name, "4").CombinedOutput()
	if err == nil {
		t.Errorf("an unprivileged user owns %s: %s", bus.Name, out)
	}
}

func TestBusSaysWhyItDoesNotStart(t *testing.T) {
	NeedTools(t, "dbus-daemon")
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), strings.Repeat("x", 120)))
	if err := os.Mkdir(os.Getenv("TMPDIR"), 0o755); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := StartBus(t.Context(), BusOptions{}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a socket path that is too long gave %v after %v", err, time.Since(start))
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
