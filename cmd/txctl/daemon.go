// The daemon as the verbs use it.

package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// daemon is what a connection to it can do.
type daemon interface {
	Status(context.Context) (bus.Status, error)
	List(context.Context) (bus.List, error)
	Show(context.Context, uint64) (record.Record, error)
	Log(context.Context, client.LogFilter) (bus.Log, error)
	ShowNow(context.Context, uint64) (bus.Shown, error)
	Tree(context.Context) (bus.List, error)
	Blame(ctx context.Context, subject string, limit uint64) (bus.Blame, error)
	Diff(ctx context.Context, from, to string, o client.DiffOptions) (bus.Diff, error)
	Etc(ctx context.Context, snapshot string) (bus.Etc, error)
	EtcDiff(ctx context.Context, snapshot string, o client.DiffOptions) (bus.EtcDiff, error)
	EtcSides(ctx context.Context, path, snapshot string) (bus.EtcSides, error)
	EtcResolve(ctx context.Context, path string, r client.Resolution) (bus.EtcResolved, error)
	Annotate(context.Context, uint64, client.Annotation) error
	Output(context.Context, uint64) (io.ReadCloser, error)
	Transcript(context.Context, uint64) (io.ReadCloser, error)
	Grep(ctx context.Context, text string, ignoreCase bool, limit uint64) (bus.Grep, error)
	Verify(ctx context.Context, head string) (bus.Verification, error)
	JournalExport(context.Context) (io.ReadCloser, error)
	PackageList(ctx context.Context, from string) (bus.Packages, error)
	PackageNames(ctx context.Context, prefix string) (bus.PackageNames, error)
	Version(context.Context) (string, error)
	Rollback(context.Context, int64, client.RollbackOptions) (uint64, error)
	BootOnce(context.Context, int64) error
	Doctor(context.Context) (bus.Doctor, error)
	Repair(context.Context) (bus.Repair, error)
	Config(context.Context) (bus.Config, error)
	Setup(context.Context) ([]string, error)
	Delete(context.Context, uint64) error
	GC(ctx context.Context, dryRun bool) (bus.GC, error)
	Auto(context.Context) (bus.Auto, error)
	Reboot(ctx context.Context, when string, at time.Time, method, reason string) (bus.RebootStatus, error)
	CancelReboot(context.Context) error
	RebootStatus(context.Context) (bus.RebootStatus, error)
	Metrics(context.Context) (bus.Metrics, error)
	Watch(context.Context, func(bus.Event)) error
	WhileBusy(ctx context.Context, try func() error, busy func(error)) error
	Close() error

	Begin(context.Context, client.About) (transaction, error)
	Run(context.Context, []string, client.About, client.Input) (transaction, error)
	Shell(context.Context, []string, client.About, client.Input) (transaction, error)
	PackageAdd(context.Context, []string, client.About) (transaction, error)
	PackageRemove(context.Context, []string, client.About) (transaction, error)
	Update(context.Context, client.About) (transaction, error)
	Transaction(context.Context, uint64) (transaction, error)
}

// transaction is what can be done with one.
type transaction interface {
	Number() uint64
	State(context.Context) (client.State, error)
	Attach(ctx context.Context, command *uint32) (client.Streams, error)
	Exec(context.Context, []string, client.Input, bool) (uint32, error)
	WaitCommand(context.Context, uint32) (int32, error)
	Resize(ctx context.Context, rows, columns uint16) error
	Commit(context.Context, client.About) error
	Discard(context.Context) error
	Cancel(context.Context) error
	Wait(context.Context) (bus.Outcome, error)
}

var (
	_ daemon      = onBus{}
	_ transaction = (*client.Transaction)(nil)
)

// onBus is the real one.
type onBus struct{ *client.Client }

// one keeps a failed call from becoming a transaction that is nil and yet is none.
func one(t *client.Transaction, err error) (transaction, error) {
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (d onBus) Begin(ctx context.Context, a client.About) (transaction, error) {
	return one(d.Client.Begin(ctx, a))
}

func (d onBus) Run(ctx context.Context, argv []string, a client.About, in client.Input) (transaction, error) {
	return one(d.Client.Run(ctx, argv, a, in))
}

func (d onBus) Shell(ctx context.Context, argv []string, a client.About, in client.Input) (transaction, error) {
	return one(d.Client.Shell(ctx, argv, a, in))
}

func (d onBus) PackageAdd(ctx context.Context, names []string, a client.About) (transaction, error) {
	return one(d.Client.PackageAdd(ctx, names, a))
}

func (d onBus) PackageRemove(ctx context.Context, names []string, a client.About) (transaction, error) {
	return one(d.Client.PackageRemove(ctx, names, a))
}

func (d onBus) Update(ctx context.Context, a client.About) (transaction, error) {
	return one(d.Client.Update(ctx, a))
}

func (d onBus) Transaction(ctx context.Context, n uint64) (transaction, error) {
	return one(d.Client.Transaction(ctx, n))
}

// connectionAdvice is what to do where the daemon cannot be reached.
func connectionAdvice(err error) string {
	if errors.Is(err, client.ErrNoDaemon) {
		return "is it installed, and does the system bus run? \"systemctl status txupd\" and \"journalctl -u txupd\" tell more"
	}
	return ""
}

// locked calls start, with --wait until nobody else is at work. Only the
// waiting ends with the first signal: a call that is under way has to be known
// of to be cancelled.
func (a *app) locked(d daemon, start func() error) error {
	if !a.wait {
		return start()
	}
	said := ""
	return d.WhileBusy(a.asked, start, func(err error) {
		// The same one some seconds later is no news.
		who, _, _ := strings.Cut(err.Error(), ", since")
		if said != who {
			said = who
			a.say("waiting: %v", err)
		}
	})
}
