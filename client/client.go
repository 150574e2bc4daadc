// Package client talks to txupd over the system bus. What txctl does, any
// program can do with it.
//
// The daemon need not run: the first call starts it, and it leaves when nobody
// wants anything. Whoever changes something needs the right to (polkit; root has
// it), see [Client.OnAsking] for passwords. One transaction is in progress at a
// time: others fail with [ErrBusy], and [Client.WhileBusy] waits for their turn.
// A transaction ends with the client that began it, unless it is detached.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

// errEnded: the daemon that did the work is not the one that answers now.
var errEnded = fmt.Errorf("%w: the daemon ended in the middle; \"txctl status\" tells how it stands", fault.ErrFailed)

// errNoReply: the call reached a daemon, which may have done what it was asked for.
var errNoReply = fmt.Errorf("%w: it ended before it answered", ErrNoDaemon)

// Client is a connection to the daemon.
type Client struct {
	conn    *dbus.Conn
	signals chan *dbus.Signal

	mu       sync.Mutex
	followed bool
	gone     bool // the daemon left the bus while somebody waited
	changed  chan struct{}
	commands map[dbus.ObjectPath]map[uint32]int32 // exit statuses by transaction and command
	finished map[dbus.ObjectPath]bool
	events   uint64 // ends of transactions and commands, changes of what exists, departures of the daemon
	progress func(number uint64, p Progress)
	asking   func(context.Context) (done func())
}

// Connect connects to the system bus. The daemon is started by the first call.
func Connect(ctx context.Context) (*Client, error) {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, fmt.Errorf("%w: cannot connect to the system bus: %w", ErrNoDaemon, err)
	}
	c := &Client{
		conn: conn, signals: make(chan *dbus.Signal, 256), changed: make(chan struct{}),
		commands: map[dbus.ObjectPath]map[uint32]int32{}, finished: map[dbus.ObjectPath]bool{},
	}
	conn.Signal(c.signals)
	go c.listen()
	return c, nil
}

// Close leaves the bus; transactions that were not detached are cancelled by that.
func (c *Client) Close() error { return c.conn.Close() }

// OnProgress calls fn for every progress signal of any transaction, by its number. Set it before the first call.
func (c *Client) OnProgress(fn func(number uint64, p Progress)) { c.progress = fn }

// follow asks for the signals of transactions, once; before one is begun, so that none is missed.
func (c *Client) follow() error {
	c.mu.Lock()
	done := c.followed
	c.followed = true
	c.mu.Unlock()
	if done {
		return nil
	}
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(bus.Name), dbus.WithMatchInterface(bus.TransactionInterface)},
		{dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, bus.Name)},
	} {
		if err := c.conn.AddMatchSignal(match...); err != nil {
			return fmt.Errorf("cannot listen to the daemon: %w", err)
		}
	}
	return nil
}

func (c *Client) listen() {
	for sig := range c.signals {
		c.mu.Lock()
		switch sig.Name {
		case "org.freedesktop.DBus.NameOwnerChanged":
			var name, old, now string
			if dbus.Store(sig.Body, &name, &old, &now) == nil && name == bus.Name && old != "" && now == "" {
				c.gone = true
				c.events++
			}
		case bus.TransactionInterface + ".Finished":
			c.finished[sig.Path] = true
			c.events++
		case bus.ManagerInterface + ".TransactionFinished", bus.PropertiesInterface + ".PropertiesChanged":
			c.events++
		case bus.TransactionInterface + ".CommandFinished":
			var command uint32
			var exit int32
			if dbus.Store(sig.Body, &command, &exit) == nil {
				if c.commands[sig.Path] == nil {
					c.commands[sig.Path] = map[uint32]int32{}
				}
				c.commands[sig.Path][command] = exit
				c.events++
			}
		case bus.TransactionInterface + ".Progress":
			var p Progress
			number, err := bus.NumberIn(string(sig.Path), bus.TransactionPrefix)
			if fn := c.progress; fn != nil && err == nil && dbus.Store(sig.Body, &p.Phase, &p.Fraction, &p.Text) == nil {
				c.mu.Unlock()
				fn(number, p)
				c.mu.Lock()
			}
		}
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
	}
}

// wait blocks until ready says so. It ends early when ctx does or the daemon leaves.
func (c *Client) wait(ctx context.Context, ready func() bool) error {
	for {
		c.mu.Lock()
		ok, gone, changed := ready(), c.gone, c.changed
		c.mu.Unlock()
		switch {
		case ok:
			return nil
		case gone:
			return errEnded
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", fault.ErrCancelled, context.Cause(ctx))
		case <-c.conn.Context().Done():
			return fmt.Errorf("%w: the bus went away", fault.ErrFailed)
		}
	}
}

// call calls one method; errors come back as errors of package fault.
func (c *Client) call(ctx context.Context, path, method string, args []any, into ...any) error {
	err := c.authorised(ctx, path, method, args).Store(into...)
	var e dbus.Error
	if !errors.As(err, &e) {
		return err
	}
	message := e.Error()
	switch {
	case strings.HasPrefix(e.Name, fault.Prefix):
		return fault.FromName(e.Name, message)
	case e.Name == "org.freedesktop.DBus.Error.ServiceUnknown":
		return fmt.Errorf("%w: nothing on the bus is called %s, and nothing can start it", ErrNoDaemon, bus.Name)
	case strings.HasPrefix(e.Name, "org.freedesktop.DBus.Error.Spawn.") || e.Name == "org.freedesktop.DBus.Error.TimedOut" ||
		strings.HasPrefix(e.Name, "org.freedesktop.systemd1."):
		return fmt.Errorf("%w: it does not start: %s", ErrNoDaemon, message)
	case e.Name == "org.freedesktop.DBus.Error.NoReply":
		return errNoReply
	case e.Name == "org.freedesktop.DBus.Error.UnknownObject" || e.Name == "org.freedesktop.DBus.Error.NoSuchObject":
		return fmt.Errorf("%w: %s", fault.ErrNotFound, message)
	case e.Name == "org.freedesktop.DBus.Error.AccessDenied" || e.Name == errInteractive:
		return fmt.Errorf("%w: %s", fault.ErrNotAuthorized, message)
	}
	return fmt.Errorf("%w: %s (%s)", fault.ErrFailed, message, e.Name)
}

func (c *Client) manager(ctx context.Context, method string, args []any, into ...any) error {
	return c.call(ctx, bus.Path, bus.ManagerInterface+"."+method, args, into...)
}

// read asks once more where a daemon that ended took the question with it: the
// bus starts another.
func (c *Client) read(ctx context.Context, method string, args []any, into ...any) error {
	err := c.manager(ctx, method, args, into...)
	if errors.Is(err, errNoReply) {
		err = c.manager(ctx, method, args, into...)
	}
	return err
}

type options = map[string]dbus.Variant

// Status answers what runs and what boots next.
func (c *Client) Status(ctx context.Context) (doc Status, err error) {
	return doc, c.text(ctx, "Status", &doc)
}

// Config answers every setting that is in force.
func (c *Client) Config(ctx context.Context) (doc Config, err error) {
	return doc, c.text(ctx, "Config", &doc)
}

// Repair ends what was interrupted, and rebuilds what is derived.
func (c *Client) Repair(ctx context.Context) (doc Repair, err error) {
	return doc, c.text(ctx, "Repair", &doc)
}

// GC deletes the snapshots that the rules let go; a dry run says which.
func (c *Client) GC(ctx context.Context, dryRun bool) (doc GC, err error) {
	o := options{}
	if dryRun {
		o[bus.OptDryRun] = dbus.MakeVariant(true)
	}
	return doc, c.told(ctx, "GC", []any{o}, &doc)
}

// Auto updates the system as the policy of the configuration says, and returns when that is over.
func (c *Client) Auto(ctx context.Context) (doc Auto, err error) {
	return doc, c.told(ctx, "Auto", []any{options{}}, &doc)
}

// Reboot asks for a reboot: bus.RebootNow, bus.RebootAt with its time, or bus.RebootWindow.
// method is bus.RebootAuto, RebootFull, RebootSoft, or "" for the configured one; reason may be "".
func (c *Client) Reboot(ctx context.Context, when string, at time.Time, method, reason string) (doc RebootStatus, err error) {
	o := options{}
	if reason != "" {
		o[bus.OptMessage] = dbus.MakeVariant(reason)
	}
	if method != "" {
		o[bus.OptMethod] = dbus.MakeVariant(method)
	}
	var seconds int64
	if !at.IsZero() {
		seconds = at.Unix()
	}
	return doc, c.told(ctx, "Reboot", []any{when, seconds, o}, &doc)
}

// CancelReboot takes the request for a reboot back.
func (c *Client) CancelReboot(ctx context.Context) error {
	return c.manager(ctx, "CancelReboot", []any{options{}})
}

// Metrics answers the state in numbers.
func (c *Client) Metrics(ctx context.Context) (doc Metrics, err error) {
	return doc, c.text(ctx, "Metrics", &doc)
}

// RebootStatus answers which reboot is asked for.
func (c *Client) RebootStatus(ctx context.Context) (doc RebootStatus, err error) {
	return doc, c.text(ctx, "RebootStatus", &doc)
}

// Doctor answers how the machine boots.
func (c *Client) Doctor(ctx context.Context) (doc Doctor, err error) {
	return doc, c.text(ctx, "Doctor", &doc)
}

// List describes every snapshot.
func (c *Client) List(ctx context.Context) (doc List, err error) {
	return doc, c.text(ctx, "List", &doc)
}

// text reads an answer that is a JSON text.
func (c *Client) text(ctx context.Context, method string, into any) error {
	var raw string
	if err := c.read(ctx, method, []any{options{}}, &raw); err != nil {
		return err
	}
	return json.Unmarshal([]byte(raw), into)
}

// told is text for what is not asked twice, since it changes something.
func (c *Client) told(ctx context.Context, method string, args []any, into any) error {
	var raw string
	if err := c.manager(ctx, method, args, &raw); err != nil {
		return err
	}
	return json.Unmarshal([]byte(raw), into)
}

// Show returns one record.
func (c *Client) Show(ctx context.Context, n uint64) (doc record.Record, err error) {
	return doc, c.document(ctx, "Show", []any{n, options{}}, &doc)
}

// PackageList lists the packages of a snapshot: a number or word, "" for the pending one, else the booted one.
func (c *Client) PackageList(ctx context.Context, from string) (doc Packages, err error) {
	o := options{}
	if from != "" {
		o[bus.OptFrom] = dbus.MakeVariant(from)
	}
	return doc, c.document(ctx, "PackageList", []any{o}, &doc)
}

// PackageNames lists the names of packages that begin with prefix and that the
// repositories had when their lists were read last.
func (c *Client) PackageNames(ctx context.Context, prefix string) (doc PackageNames, err error) {
	return doc, c.document(ctx, "PackageNames", []any{prefix, options{}}, &doc)
}

// document reads an answer that comes as a file.
func (c *Client) document(ctx context.Context, method string, args []any, into any) error {
	var fd dbus.UnixFD
	if err := c.read(ctx, method, args, &fd); err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), method)
	defer f.Close()
	return json.NewDecoder(f).Decode(into)
}

// Version is the daemon's.
func (c *Client) Version(ctx context.Context) (version string, err error) {
	var v dbus.Variant
	if err := c.call(ctx, bus.Path, bus.PropertiesInterface+".Get", []any{bus.ManagerInterface, "Version"}, &v); err != nil {
		return "", err
	}
	return version, v.Store(&version)
}

// RollbackOptions change a rollback.
type RollbackOptions struct {
	// AsCommitted makes a new snapshot of what it was when it was committed.
	AsCommitted bool
	// KeepEtc makes a new snapshot, into whose /etc what was edited in the running one is merged.
	KeepEtc bool
	// RestoreShared takes back, at the boot of it, what the running root handed over to shared trees.
	RestoreShared bool
	Message       *string
}

// Rollback makes a snapshot what boots next; a negative number lets the daemon choose.
func (c *Client) Rollback(ctx context.Context, n int64, o RollbackOptions) (now uint64, err error) {
	given := options{}
	if o.AsCommitted {
		given[bus.OptAsCommitted] = dbus.MakeVariant(true)
	}
	if o.KeepEtc {
		given[bus.OptEtc] = dbus.MakeVariant(bus.EtcKeep)
	}
	if o.RestoreShared {
		given[bus.OptRestoreShared] = dbus.MakeVariant(true)
	}
	if o.Message != nil {
		given[bus.OptMessage] = dbus.MakeVariant(*o.Message)
	}
	return now, c.manager(ctx, "Rollback", []any{n, given}, &now)
}

// BootOnce boots a snapshot one time; a negative number takes that back.
func (c *Client) BootOnce(ctx context.Context, n int64) error {
	return c.manager(ctx, "BootOnce", []any{n, options{}})
}

// Setup makes the boot loader read our menu, and returns what was done for it.
func (c *Client) Setup(ctx context.Context) (done []string, err error) {
	return done, c.manager(ctx, "Setup", []any{options{}}, &done)
}

// Assess brings the assessment of this boot one step on.
func (c *Client) Assess(ctx context.Context, moment string) (doc Assessment, err error) {
	return doc, c.told(ctx, "Assess", []any{moment, options{}}, &doc)
}

// Delete removes a snapshot.
func (c *Client) Delete(ctx context.Context, n uint64) error {
	return c.manager(ctx, "Delete", []any{n, options{}})
}
