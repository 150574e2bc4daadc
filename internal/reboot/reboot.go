// Package reboot carries out the reboots that were asked for: at their time or
// in a window, when they disturb nobody.
//
// A request is a file, so that it outlives the daemon. It belongs to one boot
// of the machine: however that ends, the request is fulfilled.
package reboot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/txupd/txupd/internal/atomicfile"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/window"
)

// Host is the machine.
type Host interface {
	// People are those who are logged in, as "alice (tty2)".
	People(context.Context) ([]string, error)
	// Inhibitors are who keeps the machine from shutting down, as "backup: nightly run".
	Inhibitors(context.Context) ([]string, error)
	// Tell writes to the terminals of all who are logged in.
	Tell(ctx context.Context, words string) error
	// Reboot begins an orderly reboot.
	Reboot(context.Context) error
	// Soft says why the machine cannot begin another root without a new kernel, nil where it can.
	Soft(context.Context) error
	// SoftReboot begins user space anew in a subvolume of the root's file system; the kernel stays.
	SoftReboot(ctx context.Context, subvolume uint64) error
}

// Fleet grants slots, of which there are fewer than machines. Both may be asked again.
type Fleet interface {
	Lock(context.Context) error
	Unlock(context.Context) error
}

// Config is what a Keeper needs.
type Config struct {
	Path      string // of the request
	BootID    string // of the kernel and the root: a soft-reboot keeps the kernel
	MachineID string
	Calendar  window.Calendar
	Sessions  bool          // wait until nobody is logged in
	Spread    time.Duration // of machines over the beginning of a window
	Deadline  time.Duration // of requests by window; 0 is none
	Notice    time.Duration // to people, before it takes place
	Host      Host
	// Method is bus.RebootAuto, bus.RebootFull or bus.RebootNone.
	Method string
	// SameKernel is the subvolume of what boots next where that needs no other kernel, else an error that says why it does.
	SameKernel func() (subvolume uint64, err error)
	// Fleet grants slots to reboot in, nil where nobody is asked. A slot is kept until Steady says that this boot is good.
	Fleet  Fleet
	Steady func() bool
	// AtWork says what the daemon is doing that a reboot would break off, "" for nothing.
	AtWork func() string
	// Soon is told, with the words that people are, when the time of the reboot is known to be near.
	Soon func(at time.Time, words string)
	Now  func() time.Time
	Log  *slog.Logger
}

// Keeper keeps one request at most.
type Keeper struct {
	Config
	mu      sync.Mutex
	request *request
	waits   string    // what kept it when it was last looked at
	warned  time.Time // when people were told that it comes
	reminds time.Time // when they are told again that it waits for them
	began   time.Time // when the machine was last told to reboot
	slot    slot
	changed chan struct{}
}

// request is what the file holds.
type request struct {
	BootID    string     `json:"boot_id"`
	Requested time.Time  `json:"requested"`
	By        string     `json:"by"`
	Reasons   []string   `json:"reasons"`
	When      string     `json:"when"`
	At        *time.Time `json:"at,omitempty"`
	Deadline  *time.Time `json:"deadline,omitempty"`
	Method    string     `json:"method,omitempty"` // that was asked for, "" for the configured one
}

// How long it takes until somebody who waits is looked at again: nobody tells
// when clocks jump, and hardly anybody when an inhibitor goes.
const (
	patience = time.Minute
	near     = 5 * time.Second
	// remind is how often people are told that a reboot waits for them.
	remind = time.Hour
	// stuck is after how long a reboot that does not come is begun again.
	stuck = 10 * time.Minute
)

// New reads the request that an earlier daemon of this boot left. A file that
// cannot be read is none, and is said.
func New(c Config) *Keeper {
	k := &Keeper{Config: c, changed: make(chan struct{}, 1)}
	k.slot.read(k)
	raw, err := os.ReadFile(c.Path)
	var q request
	if err == nil {
		err = json.Unmarshal(raw, &q)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		c.Log.Error("the request for a reboot cannot be read and is dropped", "file", c.Path, "error", err)
		k.forget()
	case q.BootID != c.BootID:
		c.Log.Info("the reboot that was asked for has taken place", "asked", q.Requested, "by", q.By, "reasons", q.Reasons)
		k.forget()
	default:
		k.request = &q
	}
	return k
}

// forget removes the file.
func (k *Keeper) forget() error {
	if err := os.Remove(k.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.Log.Error("a request for a reboot cannot be removed", "error", err)
		return err
	}
	return nil
}

// Ask asks for a reboot. Where one is asked for already, the earlier time
// counts, and both reasons are kept. method "" is the configured one; where
// that is none, nothing is asked for.
func (k *Keeper) Ask(ctx context.Context, when string, at time.Time, method, by, reason string) error {
	now := k.Now()
	q := request{BootID: k.BootID, Requested: now, By: by, When: when, Reasons: []string{}, Method: method}
	switch when {
	case bus.RebootNow:
	case bus.RebootAt:
		if !at.After(now) {
			return fmt.Errorf("%w: the time of the reboot, %s, is over", fault.ErrInvalidArgument, at.Format(time.RFC3339))
		}
		if at.Sub(now) > 366*24*time.Hour {
			return fmt.Errorf("%w: the time of the reboot, %s, is more than a year away", fault.ErrInvalidArgument, at.Format(time.RFC3339))
		}
		q.At = &at
	case bus.RebootWindow:
		if k.Deadline > 0 {
			deadline := now.Add(k.Deadline)
			q.Deadline = &deadline
		}
	default:
		return fmt.Errorf("%w: a reboot is asked for %s, %s or in a %s, not %q", fault.ErrInvalidArgument, bus.RebootNow, bus.RebootAt, bus.RebootWindow, when)
	}
	if again, err := k.methodOf(ctx, &q); err != nil || again == bus.RebootNone {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if before := k.request; before != nil {
		q.Requested, q.By, q.Reasons = before.Requested, before.By, slices.Clone(before.Reasons)
		if k.next(*before, now).Before(k.next(q, now)) {
			q.When, q.At = before.When, before.At
		}
		if before.Deadline != nil {
			q.Deadline = before.Deadline
		}
		if q.Method == "" {
			q.Method = before.Method
		}
	}
	if reason != "" && !slices.Contains(q.Reasons, reason) {
		q.Reasons = append(q.Reasons, reason)
	}
	raw, err := json.Marshal(q)
	if err == nil {
		err = atomicfile.Write(k.Path, raw)
	}
	if err != nil {
		return fmt.Errorf("cannot record the request for a reboot: %w", err)
	}
	k.request, k.waits, k.warned, k.reminds, k.began = &q, "", time.Time{}, time.Time{}, time.Time{}
	k.Log.Info("a reboot is asked for", "when", q.When, "by", by, "reason", reason)
	select {
	case k.changed <- struct{}{}:
	default:
	}
	return nil
}

// Cancel takes the request back; where there is none it is an error of kind NotFound.
func (k *Keeper) Cancel(by string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.request == nil {
		return fmt.Errorf("%w: no reboot is asked for", fault.ErrNotFound)
	}
	if !k.began.IsZero() {
		return fmt.Errorf("%w: the reboot has begun", fault.ErrStale)
	}
	if err := k.forget(); err != nil {
		return err
	}
	k.request = nil
	k.Log.Info("a reboot is no longer asked for", "by", by)
	return nil
}

// Status is the request that there is, nil for none.
func (k *Keeper) Status(ctx context.Context) *bus.Reboot {
	k.mu.Lock()
	q, waits := k.request, k.waits
	k.mu.Unlock()
	if q == nil {
		return nil
	}
	_, method, why := k.way(ctx, q)
	return &bus.Reboot{
		Requested: q.Requested, By: q.By, Reasons: q.Reasons, When: q.When, At: q.At, Deadline: q.Deadline,
		Next: k.next(*q, k.Now()), Waits: waits, Method: method, Why: why,
	}
}

// Pending reports whether there is something to be done, so that the daemon stays.
func (k *Keeper) Pending() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.request != nil || k.slot.since != ""
}

// next is when the reboot is to take place, from now on; now where it may.
func (k *Keeper) next(q request, now time.Time) time.Time {
	at := now
	switch q.When {
	case bus.RebootAt:
		at = *q.At
	case bus.RebootWindow:
		at = k.opening(now)
	}
	if q.Deadline != nil && q.Deadline.Before(at) {
		at = *q.Deadline
	}
	if at.Before(now) {
		return now
	}
	return at
}

// opening is when this machine's part of a window begins, now where it has.
func (k *Keeper) opening(now time.Time) time.Time {
	for from := now; ; {
		span := k.Calendar.Next(from)
		if span == (window.Span{}) {
			return now
		}
		open := span.Open.Add(k.share(min(k.Spread, span.Close.Sub(span.Open)/2)))
		switch {
		case open.After(now):
			return open
		case span.Contains(now):
			return now
		}
		from = span.Close
	}
}

// share is this machine's part of a time: always the same, and another than others'.
func (k *Keeper) share(of time.Duration) time.Duration {
	if of <= 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "reboot %s", k.MachineID)
	return time.Duration(h.Sum64() % uint64(of)).Truncate(time.Second)
}

// Run carries out what is asked for, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for {
		timer := time.NewTimer(k.look(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-k.changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// look reboots if it is time, and says when to look again.
func (k *Keeper) look(ctx context.Context) time.Duration {
	k.mu.Lock()
	q, began, warned, reminds := k.request, k.began, k.warned, k.reminds
	k.mu.Unlock()
	now := k.Now()
	if q == nil {
		return k.giveBack(ctx, now)
	}
	if !began.IsZero() && now.Sub(began) < stuck {
		return near // it is under way
	}
	if at := k.next(*q, now); at.After(now) {
		k.giveBack(ctx, now)
		k.waiting(q, "")
		return min(patience, at.Sub(now))
	}
	// At its deadline, or where somebody wants it now or at that time, people are told and not asked.
	forced := q.When != bus.RebootWindow || q.Deadline != nil && !now.Before(*q.Deadline)
	people, held, err := k.disturbed(ctx)
	if err != nil || held != "" || len(people) > 0 && k.Sessions && !forced {
		k.giveBack(ctx, now) // nobody else waits for those who are logged in here
	}
	switch {
	case err != nil:
		k.waiting(q, err.Error())
		return near
	case held != "":
		k.waiting(q, held)
		return near
	case len(people) > 0 && k.Sessions && !forced:
		k.waiting(q, "logged in: "+strings.Join(people, ", "))
		if now.Before(reminds) {
			return near
		}
		words := "An update of this machine waits for its reboot. It takes place when nobody is logged in"
		if q.Deadline != nil {
			words += ", at the latest on " + q.Deadline.Local().Format("Monday, 2 January at 15:04")
		}
		k.tell(ctx, q, now, words+". \"txctl reboot --now\" does it at once.")
		k.mark(q, func() { k.reminds = now.Add(remind) })
		return near
	case len(people) > 0 && q.When != bus.RebootNow && k.Notice > 0:
		if warned.IsZero() {
			warned = now
			k.tell(ctx, q, now.Add(k.Notice), fmt.Sprintf("This machine reboots in %s. Please save your work.", k.Notice))
			k.mark(q, func() { k.warned = warned })
		}
		if now.Before(warned.Add(k.Notice)) {
			k.waiting(q, "those who are logged in were told that it comes")
			return min(near, k.Notice)
		}
	}
	if again, err := k.take(ctx, now); err != nil {
		k.waiting(q, err.Error())
		return again
	} else if again > 0 {
		return again // somebody may have come while the server was asked
	}
	k.mark(q, func() { k.began, k.waits = now, "" })
	if err := k.begin(ctx, q, now); err != nil {
		k.Log.Error("the machine does not reboot", "error", err)
		k.mark(q, func() { k.began, k.waits = time.Time{}, err.Error() })
		return patience
	}
	return near
}

// disturbed is whom a reboot would disturb, and what it must not break off.
func (k *Keeper) disturbed(ctx context.Context) (people []string, held string, err error) {
	if work := k.AtWork(); work != "" {
		return nil, work, nil
	}
	inhibitors, err := k.Host.Inhibitors(ctx)
	if err != nil {
		return nil, "", err
	}
	if len(inhibitors) > 0 {
		return nil, "held by " + strings.Join(inhibitors, ", "), nil
	}
	people, err = k.Host.People(ctx)
	return people, "", err
}

// tell tells people and programs. That nobody could be told keeps no reboot.
func (k *Keeper) tell(ctx context.Context, q *request, at time.Time, words string) {
	if len(q.Reasons) > 0 {
		words += " Why: " + strings.Join(q.Reasons, "; ") + "."
	}
	k.Soon(at, words)
	if err := k.Host.Tell(ctx, words); err != nil {
		k.Log.Warn("those who are logged in cannot be told of the reboot", "error", err)
	}
}

// mark changes what is known of the request, if it is still the same.
func (k *Keeper) mark(q *request, change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.request == q {
		change()
	}
}

// waiting says what keeps the reboot, once for each thing.
func (k *Keeper) waiting(q *request, what string) {
	k.mark(q, func() {
		if k.waits != what && what != "" {
			k.Log.Info("a reboot waits", "for", what)
		}
		k.waits = what
	})
}
