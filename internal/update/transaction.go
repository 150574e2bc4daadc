// A transaction from its beginning to its commit or end.

package update

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/engine"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Kinds of transactions.
const (
	KindBegin     = "begin"
	KindRun       = "run"
	KindShell     = "shell"
	KindPkgAdd    = "pkg-add"
	KindPkgRemove = "pkg-remove"
	KindUpdate    = "update"
	KindRollback  = "rollback"
	KindAdopt     = "adopt"
)

// DefaultExpiry is how long an open transaction may wait for its commit.
const DefaultExpiry = 24 * time.Hour

// Request is what a caller wants of a transaction.
type Request struct {
	Kind          string
	Message       string
	Tags          []string
	From          string // "" is the pending snapshot, else the booted one
	Actor         record.Actor
	KeepUnchanged bool
	// Strict: a merge of /etc with conflicts fails it.
	Strict bool
	// RestoreShared: the boot of what a rollback makes takes back what the running root handed over to shared trees.
	RestoreShared bool
	// asCommitted: not as From was last left, but as it was when it was committed.
	asCommitted bool
	// etc is bus.EtcRestore or bus.EtcKeep, of a rollback; "" merges as every transaction does.
	etc string
	// Expires: an open transaction is discarded after it; 0 means never.
	Expires time.Duration
	// decide, where given, looks at what a finished change does to packages; its error leaves the change.
	decide func([]record.PackageChange) error
	// commands that will run, known at the beginning: they are recorded with it.
	commands []Command
}

// Transaction is one change in the making. Its methods may be called from
// anywhere; one command runs at a time.
type Transaction struct {
	u      *Updater
	number snapshot.Number
	parent view
	holder *holder
	output *Output
	keep   bool     // commit even if nothing changed
	hidden []string // mounts that are no part of the root
	unseen []string // those of them that its commands do not see
	worth  bool     // what was captured of shared trees is worth a boot

	// step is held by whoever works on the snapshot: a command, the commit, the end.
	step chan struct{}

	// decide looks at the changes of packages before the commit; nil for nobody.
	decide func([]record.PackageChange) error
	over   chan struct{} // closed when it ended and everybody was told; nil in one that was resumed

	mu      sync.Mutex
	strict  bool // no conflict is accepted
	rec     record.Record
	plan    *engine.Plan
	box     *sandbox.Sandbox
	launch  chan *sandbox.Launch // the sandbox's first process, started ahead
	process *sandbox.Process
	stdin   *stdin
	cancel  context.CancelCauseFunc // of the running work, nil between
	execed  int                     // the command that Exec was asked for and that runs, while cancel is set
	running bool
	// committing: its commands are over, and it ends by itself soon.
	committing bool
	started    int // commands that were started; recorded ones beyond are planned
	finished   bool
	same       bool // ended because nothing changed
	failure    error
	files      []record.FileChange // of a commit that is not recorded yet
	now        bus.Progress
}

// State is what a transaction tells of itself.
type State struct {
	Number, Parent uint64
	Kind, Message  string
	Phase          record.Phase
	Running        bool
	Finished       bool
	Unchanged      bool
	Exit           int // of the last command that ended, -1 where none did
	Failure        error
	Warnings       []string
	Progress       bus.Progress
}

// Begin opens a transaction: when it returns, the snapshot stands under its
// number and the journal knows of it.
func (u *Updater) Begin(ctx context.Context, q Request) (*Transaction, error) {
	t, _, err := u.start(ctx, q, nil)
	return t, err
}

// maxBegins bounds how often a beginning is tried again that others got in the way of.
const maxBegins = 10

// start begins a transaction. Where ready is given it enters the transaction,
// before anybody can know of it, and ready prepares what is to be done.
func (u *Updater) start(ctx context.Context, q Request, ready func(*Transaction) error) (*Transaction, *entry, error) {
	h, done, err := u.change(ctx, "a transaction", q.Actor)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	t, err := u.begin(ctx, q, h)
	for tries := 1; again(err) && tries < maxBegins; tries++ {
		t, err = u.begin(ctx, q, h)
	}
	if err != nil {
		u.letGo(h)
		return nil, nil, err
	}
	var e *entry
	if ready != nil {
		if e, err = t.enter(context.Background()); err == nil {
			err = ready(t)
		}
		if err != nil {
			if e != nil {
				e.leave()
			}
			t.closeStdin()
			err = t.giveUp(record.Failed, err)
			u.letGo(h)
			return nil, nil, err
		}
	}
	u.remember(t)
	u.notify(Event{Kind: TransactionBegan, Transaction: t})
	return t, e, nil
}

func (u *Updater) begin(ctx context.Context, q Request, h *holder) (*Transaction, error) {
	parent, err := u.parentOf(q.From)
	if err != nil {
		return nil, err
	}
	if q.asCommitted {
		if parent.subvolume, err = u.committedImage(parent); err != nil {
			return nil, err
		}
	}
	f, err := u.facts()
	if err != nil {
		return nil, err
	}
	if err := u.check(ctx, f, parent); err != nil {
		return nil, err
	}
	around, err := u.outside()
	if err != nil {
		return nil, err
	}
	over, err := u.waiting(parent.rec)
	if err != nil {
		return nil, err
	}
	atBegin, err := u.Driver.Default(u.Root)
	if err != nil {
		return nil, err
	}
	n, err := u.nextNumber()
	if err != nil {
		return nil, err
	}
	etc, err := u.etcLineOf(q, parent)
	if err != nil {
		return nil, err
	}
	u.rename(h, fmt.Sprintf("transaction %d (%s)", n, q.Kind))
	parentNumber := uint64(parent.number)
	rec := record.Record{
		Number: uint64(n), UUID: uuid.NewString(), Phase: record.Open, Verdict: record.Untried,
		Parent: &parentNumber, ParentUUID: parent.subvolume.UUID.String(),
		Created: u.Now().UTC(), Actor: q.Actor, Kind: q.Kind, Message: q.Message, Tags: append([]string{}, q.Tags...),
		Warnings: around.words, EtcOf: etc.of, EtcGeneration: etc.since, EtcKept: u.keptIn(parent), SharedBelow: over,
	}
	for _, c := range q.commands {
		rec.Commands = append(rec.Commands, c.planned())
	}
	if q.Expires > 0 {
		at := rec.Created.Add(q.Expires)
		rec.Expires = &at
	}
	t := &Transaction{
		u: u, number: n, parent: parent, holder: h, keep: q.KeepUnchanged, strict: q.Strict, hidden: around.mounts, unseen: around.unseen,
		output: newOutput(u.logDir(), u.Config.Log, u.Now), step: make(chan struct{}, 1), rec: rec, plan: &engine.Plan{},
		decide: q.decide, over: make(chan struct{}),
	}
	data := makeData{UUID: rec.UUID, Number: n, Parent: parent.subvolume.ID, Record: &rec, Live: etc.live}
	small := t.made()
	// All that will be done is known now, and recorded at once.
	err = errors.Join(t.plan.Intend(stepPrepare, data), t.plan.Intend(stepPublish, small))
	if around.shown {
		err = errors.Join(err, t.intendCapture())
	}
	err = errors.Join(err, t.plan.Intend(stepSeal, small))
	if f.Mode == boot.FollowsMenu {
		err = errors.Join(err, t.plan.Intend(stepStage, small))
	}
	if err := errors.Join(err, u.intendSwitch(t.plan, f, switchData{Number: n, UUID: rec.UUID, From: atBegin})); err != nil {
		return nil, err
	}
	if len(q.commands) > 0 {
		t.launchAhead()
	}
	if err := t.save("begin"); err != nil {
		t.leave()
		return nil, err
	}
	if err := u.engine.Do(ctx, t.plan, stepPublish); err != nil {
		return nil, t.giveUp(record.Failed, fmt.Errorf("cannot begin transaction %d: %w", n, classify(err)))
	}
	if err := u.undisturbed(parent); err != nil {
		return nil, t.giveUp(record.Failed, fmt.Errorf("cannot begin transaction %d: %w", n, err))
	}
	if f.Mode == boot.FollowsMenu {
		if _, err := u.refreshEntry(); err != nil { // what the first trial falls back to
			return nil, t.giveUp(record.Failed, err)
		}
		// Where kernels lie on a partition of their own, the package manager shall see them.
		if err := u.Boot.Populate(ctx, u.Store.Path(n, snapshot.RoleSnapshot)); err != nil {
			return nil, t.giveUp(record.Failed, fmt.Errorf("cannot begin transaction %d: %w", n, classify(err)))
		}
	}
	if q.Kind == KindBegin {
		// It may wait across restarts and power cuts: what it is made of has to be known then, and to be there.
		if err := errors.Join(t.learnSubvolumes(), u.Driver.Sync(u.Root), t.save("opened")); err != nil {
			return nil, t.giveUp(record.Failed, err)
		}
	}
	return t, nil
}

// made is the data of the steps that make the snapshot, but for its beginning.
func (t *Transaction) made() makeData {
	return makeData{UUID: t.rec.UUID, Number: t.number, Seal: t.u.Store.Layout().ReadOnlyRoots}
}

// expire discards an open transaction that waited too long for its commit.
func (u *Updater) expire(ctx context.Context) error {
	t := u.Current()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	late := t.rec.Expires != nil && u.Now().After(*t.rec.Expires) && !t.running
	t.mu.Unlock()
	if !late {
		return nil
	}
	u.Log.Info("discarding an open transaction that was not committed in time", "transaction", t.number)
	err := t.Discard(ctx)
	if errors.Is(err, fault.ErrNotFound) || errors.Is(err, fault.ErrBusy) {
		return nil // somebody was faster, or works on it after all
	}
	return err
}

// nextNumber is above every number that was ever recorded and every one that stands under .snapshots.
func (u *Updater) nextNumber() (snapshot.Number, error) {
	var last uint64
	if err := u.Journal.View(func(tx *journal.Tx) (err error) {
		last, err = tx.LastNumber()
		return err
	}); err != nil {
		return 0, err
	}
	return u.Store.NextNumber(snapshot.Number(last))
}

// learnSubvolumes notes the ids and uuids of what was made, so that nothing else is ever deleted in their place.
func (t *Transaction) learnSubvolumes() error {
	made, err := t.u.Store.Made(t.number)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec.Subvolumes = recorded(made)
	return nil
}

// save makes the record and the plan durable in one journal commit.
func (t *Transaction) save(event string) error {
	t.mu.Lock()
	rec := t.rec
	steps, err := t.plan.Encode()
	t.mu.Unlock()
	if err != nil {
		return err
	}
	err = t.u.Journal.Update(func(tx *journal.Tx) error {
		if err := tx.Put(event, &rec.Actor, rec); err != nil {
			return err
		}
		return tx.PutSteps(rec.Number, steps)
	})
	if err != nil {
		return fmt.Errorf("cannot record transaction %d: %w", t.number, err)
	}
	t.plan.Recorded()
	return nil
}

// Number is the transaction's, and its snapshot's.
func (t *Transaction) Number() snapshot.Number { return t.number }

// Actor is who began it.
func (t *Transaction) Actor() record.Actor {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rec.Actor
}

// State tells how it stands.
func (t *Transaction) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := State{
		Number: t.rec.Number, Parent: uint64(t.parent.number), Kind: t.rec.Kind, Message: t.rec.Message, Phase: t.rec.Phase,
		Running: t.running, Finished: t.finished, Unchanged: t.same, Exit: -1, Failure: t.failure,
		Warnings: append([]string{}, t.rec.Warnings...), Progress: t.now,
	}
	for _, c := range t.rec.Commands {
		if c.Exit != record.NoExit {
			s.Exit = c.Exit
		}
	}
	return s
}

func (t *Transaction) describe() *bus.Transaction {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &bus.Transaction{
		Number: t.rec.Number, Parent: uint64(t.parent.number), Kind: t.rec.Kind, Message: t.rec.Message,
		Actor: t.rec.Actor, Since: t.rec.Created, Expires: t.rec.Expires, Running: t.running,
	}
}

func (t *Transaction) endsSoon() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.committing
}

func (t *Transaction) inSandbox() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.box != nil && !t.finished
}

// enter makes the caller the only one that works on the transaction, until it
// leaves. One of one go is entered for all its life.
func (t *Transaction) enter(ctx context.Context) (*entry, error) {
	select {
	case t.step <- struct{}{}:
	default:
		return nil, fmt.Errorf("%w: transaction %d is at work", fault.ErrBusy, t.number)
	}
	if err := t.u.beginWork(); err != nil {
		<-t.step
		return nil, err
	}
	t.mu.Lock()
	finished := t.finished
	e := &entry{t: t}
	e.ctx, e.cancel = context.WithCancelCause(ctx)
	if !finished {
		t.cancel, t.running, t.execed = e.cancel, true, noCommand
	}
	t.mu.Unlock()
	if finished {
		e.cancel(nil)
		<-t.step
		t.u.endWork()
		return nil, fmt.Errorf("transaction %d has ended: %w", t.number, fault.ErrNotFound)
	}
	return e, nil
}

// entry is somebody's turn to work on a transaction.
type entry struct {
	t      *Transaction
	ctx    context.Context // ended by Cancel
	cancel context.CancelCauseFunc
}

func (e *entry) leave() {
	t := e.t
	t.mu.Lock()
	t.cancel, t.running, t.execed = nil, false, noCommand
	t.mu.Unlock()
	e.cancel(nil)
	<-t.step
	t.u.notify(Event{Kind: TransactionChanged, Transaction: t})
	t.u.endWork()
}

// Cancel ends what runs: the command is killed, a transaction of one command
// is given up. It does nothing once the commit point has passed.
func (t *Transaction) Cancel(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cancel != nil {
		t.cancel(fmt.Errorf("%w: %w", fault.ErrCancelled, why))
	}
}

// noCommand: what runs was not asked for by Exec.
const noCommand = -1

// CancelCommand ends a command that Exec started, if that is what runs.
func (t *Transaction) CancelCommand(index int, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cancel != nil && t.execed == index {
		t.cancel(fmt.Errorf("%w: %w", fault.ErrCancelled, why))
	}
}

// leave ends the sandbox of an open transaction and lets the transaction be, for the next run of the daemon.
func (t *Transaction) leave() {
	t.mu.Lock()
	box, launch := t.box, t.launch
	t.box, t.launch = nil, nil
	t.mu.Unlock()
	if launch != nil {
		if l := <-launch; l != nil {
			l.Close()
		}
	}
	if box != nil {
		if err := box.Close(); err != nil {
			t.u.Log.Error("cannot end the sandbox", "transaction", t.number, "error", err)
		}
	}
}

// Discard gives the transaction up at its owner's wish.
func (t *Transaction) Discard(ctx context.Context) error {
	e, err := t.enter(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer e.leave()
	return t.abandon(record.Discarded)
}

// abandon undoes everything and ends the transaction at somebody's wish.
func (t *Transaction) abandon(phase record.Phase) error {
	err := t.undo(phase, nil)
	t.end(err)
	return err
}

// giveUp undoes everything and returns cause, with what could not be undone.
func (t *Transaction) giveUp(phase record.Phase, cause error) error {
	return errors.Join(cause, t.undo(phase, cause))
}

// undo undoes every step and records how the transaction ended: cause is why,
// nil where somebody wanted it so. What could not be undone is returned; it
// stays recorded, and the next start tries again.
func (t *Transaction) undo(phase record.Phase, cause error) error {
	t.leave()
	t.output.finish()
	if err := t.output.save(fmt.Sprint(t.number)); err != nil {
		t.u.Log.Error("cannot keep the log", "transaction", t.number, "error", err)
	}
	t.u.makeRoom()
	undone := t.u.engine.Undo(context.Background(), t.plan)
	if undone == nil {
		// Durable before the steps are forgotten: a power cut must not bring back what nobody knows of.
		undone = t.u.Driver.Sync(t.u.Root)
	}
	if undone != nil {
		undone = fmt.Errorf("cannot undo everything of transaction %d; the next start tries again: %w", t.number, undone)
		t.u.Log.Error(undone.Error())
	}
	now := t.u.Now().UTC()
	t.mu.Lock()
	t.rec.Phase, t.rec.Finished, t.rec.Expires = phase, &now, nil
	t.forgetPlanned()
	if cause != nil {
		// Everybody may read the record: lines of output that follow are for who asked, and in the log.
		t.rec.Error, _, _ = strings.Cut(cause.Error(), "\n")
		t.rec.ErrorCode = fault.Name(cause)
	}
	rec := t.rec
	steps, err := t.plan.Encode()
	t.mu.Unlock()
	err = errors.Join(err, t.u.Journal.Update(func(tx *journal.Tx) error {
		if err := tx.Put(string(phase), &rec.Actor, rec); err != nil {
			return err
		}
		if undone != nil {
			return tx.PutSteps(rec.Number, steps)
		}
		return tx.DeleteSteps(rec.Number)
	}))
	if err != nil {
		err = fmt.Errorf("cannot record the end of transaction %d: %w", t.number, err)
	}
	return errors.Join(undone, err)
}

// forgetPlanned drops commands that were planned and never came to run. t.mu is held.
func (t *Transaction) forgetPlanned() { t.rec.Commands = t.rec.Commands[:t.started] }

// end marks the transaction ended, lets the next one in, and tells everybody.
func (t *Transaction) end(failure error) {
	t.mu.Lock()
	first := !t.finished
	t.finished, t.failure, t.running = true, failure, false
	t.mu.Unlock()
	if first && t.over != nil {
		defer close(t.over)
	}
	t.u.letGo(t.holder)
	t.u.retire(t)
	t.u.notify(Event{Kind: TransactionFinished, Transaction: t})
	if t.State().Phase == record.Committed {
		t.u.notify(Event{Kind: SnapshotsChanged}) // after the end, because looking at all of them takes its time
		t.u.tidy()
	}
}
