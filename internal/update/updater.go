// Package update is the transaction: the only place that composes the store,
// the journal, the sandbox, the package manager and the engine. Everything the
// daemon can do to a system is a method here; the bus adds nothing but words.
package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/engine"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/reserve"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Deps is the world as an Updater sees it.
type Deps struct {
	Root    string // where the system that is served is mounted
	Driver  snapshot.Driver
	Search  snapshot.Searcher
	Store   *snapshot.Store
	Journal *journal.Journal
	Boot    *boot.Boot
	Config  *config.Config
	// Reserve is space for what has to work on a full file system; nil for none.
	Reserve *reserve.File
	// Misconfigured says why Config is not what the administrator wrote, but the defaults; nothing is changed then.
	Misconfigured error
	// Packages finds the package manager of the system.
	Packages func() (pkgmgr.Manager, error)
	// Self is the executable that is started as a sandbox's first process; "" is this one.
	Self string
	// BootID identifies the running boot (/proc/sys/kernel/random/boot_id).
	BootID string
	// RebootMark is the file that says that the machine has to be rebooted, "" where another system than the running one is served.
	RebootMark string
	// CommandLine is the kernel's that Root was booted with, "" where that is not known.
	CommandLine string
	// Damage says what was wrong with the journal that was set aside, "" where none was.
	Damage string
	Now    func() time.Time
	Log    *slog.Logger
	// Notify is told of everything that a listener may want to know. It must not block.
	Notify func(Event)
	// Heads are the journal's heads that were printed to the system journal, nil where that cannot be read.
	Heads func(context.Context) ([]journal.Head, error)
	// Passing: what runs is about to be left. Nothing is handed over to shared trees for it.
	Passing bool
	// Metered reports whether the network costs by what is sent; nil where that is not to be known.
	Metered func(context.Context) (bool, error)
	// Reboots keeps the reboot that is asked for; nil where Root is not what runs.
	Reboots Reboots
	// Machine is what assessing a boot needs; nothing of it is used where Root is not what was booted.
	Machine Machine
}

// EventKind says what happened.
type EventKind int

// The kinds of events.
const (
	TransactionBegan EventKind = iota
	TransactionChanged
	TransactionFinished
	CommandFinished
	Progressed
	SnapshotsChanged
	RebootSoon
)

// Event is one thing that happened.
type Event struct {
	Kind        EventKind
	Transaction *Transaction // nil for SnapshotsChanged and RebootSoon
	Command     int          // CommandFinished
	Exit        int          // CommandFinished
	Progress    bus.Progress // Progressed
	At          time.Time    // RebootSoon
	Words       string       // RebootSoon: what people are told
}

// Updater serves one root.
type Updater struct {
	Deps
	engine *engine.Engine

	mu     sync.Mutex
	found  pkgmgr.Manager // the package manager, once it was found
	holder *holder
	good   *good // what lastGood found, nil to look again
	// transactions of this run by number; those that ended stay for latecomers, up to keepEnded.
	transactions map[snapshot.Number]*Transaction
	ended        []snapshot.Number
	work         sync.WaitGroup
	active       int // work under way, until everybody was told of what came of it
	closing      bool
	// blocked keeps everything from being changed: a recorded step that this binary does not know.
	blocked error
	// troubles are what could not be resumed; the next start tries again.
	troubles []string
	// unrecorded is a commit whose switch happened and whose record is not closed yet.
	unrecorded *Transaction
	queries    sync.Mutex // one package query at a time
	comparing  sync.Mutex // one comparison at a time
	heads      printed
	assessing  sync.Mutex // one assessment at a time
	// life ends when the daemon is about to stop; tidying is what housekeeping has to do until then.
	life    context.Context
	end     context.CancelFunc
	tidying tidying
}

// keepEnded is how many ended transactions can still be asked for their result and output.
const keepEnded = 16

// holder is who keeps others from changing the system.
type holder struct {
	what  string // "transaction 7", "rollback"
	actor record.Actor
	since time.Time
	// brief: it is over in a moment, so that others wait for it.
	brief bool
	gone  chan struct{} // closed when it lets go
}

// New makes an Updater. Call Resume before anything else.
func New(d Deps) *Updater {
	u := &Updater{Deps: d, transactions: map[snapshot.Number]*Transaction{}}
	u.life, u.end = context.WithCancel(context.Background())
	u.engine = engine.New(u.kinds())
	return u
}

// change takes the one lock for a change of any kind, or says who has it. What
// an earlier change left to be recorded is recorded first. done tells that the
// call is over; the lock is let go apart from it, because a transaction keeps it.
func (u *Updater) change(ctx context.Context, what string, actor record.Actor) (h *holder, done func(), err error) {
	if err := u.configured(); err != nil {
		return nil, nil, err
	}
	return u.changeAnyhow(ctx, what, actor)
}

// configured refuses what must not go by the defaults where the administrator wanted something else.
func (u *Updater) configured() error {
	if err := u.Misconfigured; err != nil {
		return fmt.Errorf("%w: the configuration cannot be read: %w", fault.ErrNotSupported, err)
	}
	return nil
}

// changeAnyhow is change where the configuration is not asked.
func (u *Updater) changeAnyhow(ctx context.Context, what string, actor record.Actor) (h *holder, done func(), err error) {
	if err := u.expire(ctx); err != nil {
		return nil, nil, err
	}
	if h, err = u.holdSoon(ctx, what, actor); err != nil {
		return nil, nil, err
	}
	if err := u.reconcile(); err != nil {
		u.letGo(h)
		u.work.Done()
		return nil, nil, err
	}
	return h, u.work.Done, nil
}

// holdSoon is hold, and waits for what is over in a moment.
func (u *Updater) holdSoon(ctx context.Context, what string, actor record.Actor) (*holder, error) {
	for {
		h, err := u.hold(what, actor)
		var busy *busyError
		if !errors.As(err, &busy) || busy.moment == nil {
			return h, err
		}
		select {
		case <-busy.moment:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// busyError says who keeps others from changing the system.
type busyError struct {
	words  string
	moment <-chan struct{} // closed when it is over, nil where that takes more than a moment
}

func (e *busyError) Error() string { return e.words }
func (e *busyError) Unwrap() error { return fault.ErrBusy }

// hold takes the lock and counts the call as work under way.
func (u *Updater) hold(what string, actor record.Actor) (*holder, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closing {
		return nil, fmt.Errorf("%w: the daemon is stopping", fault.ErrBusy)
	}
	if u.blocked != nil {
		return nil, fmt.Errorf("%w: %w", fault.ErrNotSupported, u.blocked)
	}
	if h := u.holder; h != nil {
		busy := &busyError{words: fmt.Sprintf("%v: %s of %s, since %s", fault.ErrBusy, h.what, actorName(h.actor), age(u.Now().Sub(h.since)))}
		if h.brief {
			busy.moment = h.gone
		}
		return nil, busy
	}
	u.holder = &holder{what: what, actor: actor, since: u.Now(), gone: make(chan struct{})}
	u.work.Add(1)
	return u.holder, nil
}

// briefly says that the holder will let go in a moment.
func (u *Updater) briefly(h *holder) {
	u.mu.Lock()
	defer u.mu.Unlock()
	h.brief = true
}

// rename says more exactly what the holder does.
func (u *Updater) rename(h *holder, what string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	h.what = what
}

func (u *Updater) letGo(h *holder) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.holder == h {
		u.holder = nil
		close(h.gone)
		h.gone = make(chan struct{}) // an assessment gives the lock back to a transaction
	}
}

func age(d time.Duration) string {
	if d < time.Second {
		return "a moment"
	}
	return d.Round(time.Second).String()
}

// Transaction returns the transaction with that number if this run of the daemon knows it.
func (u *Updater) Transaction(n snapshot.Number) (*Transaction, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	t, ok := u.transactions[n]
	if !ok {
		return nil, fmt.Errorf("transaction %d is not in progress: %w", n, fault.ErrNotFound)
	}
	return t, nil
}

// Current returns the transaction in progress, or nil.
func (u *Updater) Current() *Transaction {
	// A transaction is never asked under our lock: it takes ours under its own.
	u.mu.Lock()
	all := slices.Collect(maps.Values(u.transactions))
	u.mu.Unlock()
	for _, t := range all {
		if !t.State().Finished {
			return t
		}
	}
	return nil
}

// Busy reports whether anything is being done or waits in an open transaction
// that has processes: what must keep the daemon from leaving when idle.
func (u *Updater) Busy() bool {
	u.mu.Lock()
	active, held := u.active > 0, u.holder != nil
	u.mu.Unlock()
	if t := u.Current(); t != nil && !active {
		return t.inSandbox()
	}
	return active || held
}

// beginWork counts work on a transaction, until endWork; no more begins when the daemon stops.
func (u *Updater) beginWork() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closing {
		return fmt.Errorf("%w: the daemon is stopping", fault.ErrBusy)
	}
	u.active++
	u.work.Add(1)
	return nil
}

func (u *Updater) endWork() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.active--
	u.work.Done()
}

// reconcile closes the record of a commit that could not be recorded.
func (u *Updater) reconcile() error {
	u.mu.Lock()
	t := u.unrecorded
	u.mu.Unlock()
	if t == nil {
		return nil
	}
	happened, err := u.engine.Committed(context.Background(), t.plan)
	if err != nil {
		return err
	}
	if !happened {
		err = t.undo(record.Failed, t.State().Failure)
	} else if err = u.Driver.Sync(u.Root); err == nil {
		err = t.recordCommitted(t.files)
	}
	if err != nil {
		return fmt.Errorf("transaction %d is not recorded yet: %w", t.number, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unrecorded = nil
	return nil
}

func (u *Updater) stopping() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.closing
}

func (u *Updater) remember(t *Transaction) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.transactions[t.number] = t
}

// retire keeps the ended transaction for latecomers and drops the oldest of them.
func (u *Updater) retire(t *Transaction) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = append(u.ended, t.number)
	for len(u.ended) > keepEnded {
		old := u.ended[0]
		u.ended = u.ended[1:]
		if gone := u.transactions[old]; gone != nil {
			gone.output.forget()
			delete(u.transactions, old)
		}
	}
}

// Close ends the running command, gives up transactions of one command, leaves
// open ones as they are, lets a commit come to its end, and returns when nothing
// runs any more.
func (u *Updater) Close() {
	u.mu.Lock()
	u.closing = true
	u.mu.Unlock()
	u.end()
	if t := u.Current(); t != nil && !t.endsSoon() {
		t.Cancel(errors.New("the daemon was stopped"))
		t.leave()
	}
	u.work.Wait()
}

func (u *Updater) notify(e Event) {
	if e.Kind == TransactionFinished || e.Kind == SnapshotsChanged {
		u.printHead()
		u.markPending()
	}
	if slices.Contains([]EventKind{TransactionBegan, TransactionFinished, SnapshotsChanged}, e.Kind) {
		u.publishMetrics()
	}
	if u.Notify != nil {
		u.Notify(e)
	}
}

// parentOf chooses what a transaction starts from: the snapshot that a word or
// number names, and for "" the pending one, else the booted one.
func (u *Updater) parentOf(from string) (view, error) {
	r, err := u.roles()
	if err != nil {
		return view{}, err
	}
	return r.choose(from)
}

// manager finds the package manager, once: a system does not change its own.
func (u *Updater) manager() (pkgmgr.Manager, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.found != nil {
		return u.found, nil
	}
	m, err := u.Packages()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fault.ErrNotSupported, err)
	}
	u.found = m
	return m, nil
}

// logDir is where the output of commands is kept.
func (u *Updater) logDir() string {
	return filepath.Join(u.Store.Layout().SnapshotsDir, ".txupd", "log")
}

// startSandbox fills in what all sandboxes have in common.
func (u *Updater) startSandbox(ctx context.Context, cfg sandbox.Config) (*sandbox.Sandbox, error) {
	cfg.Host, cfg.Self = u.Root, u.Self
	if m, err := u.manager(); err == nil {
		cfg.Caches = m.Caches()
	}
	s, err := sandbox.Start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot start the sandbox: %w", err)
	}
	return s, nil
}
