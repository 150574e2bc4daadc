// Waiting for whoever is at work.

package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// retry is for what ends without telling anybody: a rollback that failed.
const retry = 5 * time.Second

// WhileBusy calls try until it fails with something else than ErrBusy, or
// not at all. In between it waits for the end of what is in progress. busy, if
// not nil, hears of every refusal. ctx ends the waiting, never a try.
func (c *Client) WhileBusy(ctx context.Context, try func() error, busy func(error)) error {
	// First, so that an end between a refusal and the waiting is not missed.
	if err := c.follow(); err != nil {
		return err
	}
	if err := c.conn.AddMatchSignal(dbus.WithMatchSender(bus.Name), dbus.WithMatchObjectPath(bus.Path)); err != nil {
		return fmt.Errorf("cannot listen to the daemon: %w", err)
	}
	for {
		c.mu.Lock()
		seen := c.events
		// A daemon that leaves while nobody's transaction of ours runs is no failure: the next try starts it again.
		c.gone = false
		c.mu.Unlock()
		err := try()
		if !errors.Is(err, ErrBusy) {
			return err
		}
		if busy != nil {
			busy(err)
		}
		patience, stop := context.WithTimeout(ctx, retry)
		err = c.wait(patience, func() bool { return c.events != seen })
		stop()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, fault.ErrCancelled)) {
			return err
		}
	}
}
