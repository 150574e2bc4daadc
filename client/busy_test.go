package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/testbed"
)

// connected is a client on a private bus, and a connection that may play the daemon.
func connected(t *testing.T) (*client.Client, *dbus.Conn) {
	t.Helper()
	private := testbed.PrivateBus(t, testbed.BusOptions{})
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", private.Address)
	played, err := dbus.Connect(private.Address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		played.Close()
	})
	return c, played
}

func take(t *testing.T, conn *dbus.Conn) {
	t.Helper()
	if r, err := conn.RequestName(bus.Name, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("cannot play the daemon: %v, %v", r, err)
	}
}

func TestWhileBusyTriesAgainWhenATransactionEnds(t *testing.T) {
	c, played := connected(t)
	take(t, played)
	tries, refusals := 0, 0
	err := c.WhileBusy(t.Context(), func() error {
		if tries++; tries < 3 {
			return fmt.Errorf("%w: transaction 7", fault.ErrBusy)
		}
		return nil
	}, func(error) {
		refusals++
		// The end comes right after the refusal: it must not be missed.
		if err := played.Emit(bus.Path, bus.ManagerInterface+".TransactionFinished", dbus.ObjectPath(bus.TransactionPath(7)), "committed"); err != nil {
			t.Error(err)
		}
	})
	if err != nil || tries != 3 || refusals != 2 {
		t.Errorf("%d tries, %d refusals, %v", tries, refusals, err)
	}
}

func TestWhileBusyOutlivesADaemonThatLeaves(t *testing.T) {
	c, played := connected(t)
	take(t, played)
	tries := 0
	err := c.WhileBusy(t.Context(), func() error {
		if tries++; tries < 2 {
			return fault.ErrBusy
		}
		return nil
	}, func(error) {
		if _, err := played.ReleaseName(bus.Name); err != nil {
			t.Error(err)
		}
	})
	if err != nil || tries != 2 {
		t.Errorf("%d tries, %v", tries, err)
	}
}

func TestWhileBusyEndsWithItsContext(t *testing.T) {
	c, _ := connected(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.WhileBusy(ctx, func() error { return fault.ErrBusy }, func(error) { cancel() })
	if !errors.Is(err, fault.ErrCancelled) {
		t.Errorf("%v", err)
	}
}

func TestNobodyOnTheBusIsSaidSo(t *testing.T) {
	c, _ := connected(t)
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrNoDaemon) || fault.Exit(err) != 1 {
		t.Errorf("%v", err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+t.TempDir()+"/nothing")
	if _, err := client.Connect(t.Context()); !errors.Is(err, client.ErrNoDaemon) {
		t.Errorf("%v", err)
	}
}
