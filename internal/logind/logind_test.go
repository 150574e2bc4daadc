package logind

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// manager is a logind that only hands out locks, as the real one does: one end of a pipe.
type manager struct {
	asked chan [4]string
	pipe  chan [2]int
}

// Inhibit is the method of org.freedesktop.login1.Manager.
func (m *manager) Inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	m.asked <- [4]string{what, who, why, mode}
	m.pipe <- p
	return dbus.UnixFD(p[1]), nil
}

// TestDelayIsHeldUntilReleased: what logind watches is closed by release, and not before.
func TestDelayIsHeldUntilReleased(t *testing.T) {
	testbed.NeedRoot(t)
	b := testbed.PrivateBus(t, testbed.BusOptions{})
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", b.Address)
	if _, err := Delay("testing"); err == nil {
		t.Error("it is held where there is no logind")
	}
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := &manager{asked: make(chan [4]string, 1), pipe: make(chan [2]int, 1)}
	if err := conn.Export(m, "/org/freedesktop/login1", "org.freedesktop.login1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.login1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	release, err := Delay("testing")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-m.asked; got != [4]string{"shutdown", "txupd", "testing", "delay"} {
		t.Errorf("asked for %q", got)
	}
	pipe := <-m.pipe
	lock := os.NewFile(uintptr(pipe[0]), "lock")
	defer lock.Close()
	// The one that was sent is the last that is open.
	if err := unix.Close(pipe[1]); err != nil {
		t.Fatal(err)
	}
	if err := lock.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it is not held: %v", err)
	}
	release()
	if err := lock.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("it is still held: %v", err)
	}
}
