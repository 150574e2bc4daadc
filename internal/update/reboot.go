// Reboots that are asked for. When and how they take place is the keeper's.

package update

import (
	"context"
	"fmt"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Reboots keeps the reboot that is asked for.
type Reboots interface {
	Ask(ctx context.Context, when string, at time.Time, method, by, reason string) error
	Cancel(by string) error
	Status(context.Context) *bus.Reboot // nil for none
	Pending() bool                      // there is something to be done yet
}

// rebooting is where reboots are kept; only what runs here can be rebooted.
func (u *Updater) rebooting() (Reboots, error) {
	if u.Reboots == nil {
		return nil, fmt.Errorf("%w: the system at %s is not the one that runs here", fault.ErrNotSupported, u.Root)
	}
	return u.Reboots, nil
}

// AskReboot asks for a reboot: now, at a time, or in a window. Where the machine
// is not to be rebooted by us, and method does not say otherwise, the mark says
// that somebody has to.
func (u *Updater) AskReboot(ctx context.Context, when string, at time.Time, method string, actor record.Actor, reason string) (bus.RebootStatus, error) {
	if err := u.configured(); err != nil {
		return bus.RebootStatus{}, err
	}
	r, err := u.rebooting()
	if err != nil {
		return bus.RebootStatus{}, err
	}
	if err := r.Ask(ctx, when, at, method, actorName(actor), reason); err != nil {
		return bus.RebootStatus{}, err
	}
	if method == "" && u.Config.Reboot.Method == bus.RebootNone {
		if err := u.markAsked(reason); err != nil {
			return bus.RebootStatus{}, err
		}
		return bus.RebootStatus{Marked: bus.RebootMark}, nil
	}
	return bus.RebootStatus{Reboot: r.Status(ctx)}, nil
}

// CancelReboot takes the request back.
func (u *Updater) CancelReboot(actor record.Actor) error {
	r, err := u.rebooting()
	if err != nil {
		return err
	}
	return r.Cancel(actorName(actor))
}

// Reboot is the one that is asked for, if there is one.
func (u *Updater) Reboot(ctx context.Context) bus.RebootStatus {
	if u.Reboots == nil {
		return bus.RebootStatus{}
	}
	return bus.RebootStatus{Reboot: u.Reboots.Status(ctx)}
}

// RebootPending reports that the daemon has to stay for a reboot, or for what is left of one.
func (u *Updater) RebootPending() bool { return u.Reboots != nil && u.Reboots.Pending() }

// Steady reports that this boot is good.
func (u *Updater) Steady() bool {
	r, err := u.roles()
	return err == nil && (r.booted.foreign || r.booted.rec.Verdict == record.Good)
}

// AtWork says what a reboot would break off, "" for nothing. An open
// transaction in which no command runs outlives it.
func (u *Updater) AtWork() string {
	if !u.Busy() {
		return ""
	}
	if t := u.Current(); t != nil {
		return fmt.Sprintf("transaction %d is under way", t.Number())
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.holder != nil {
		return u.holder.what + " is under way"
	}
	return "the daemon is at work"
}

// actorName names who it was.
func actorName(a record.Actor) string {
	if a.Name != "" {
		return a.Name
	}
	return fmt.Sprintf("uid %d", a.UID)
}
