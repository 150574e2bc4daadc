// Opening, reading and changing the journal's file.

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/txupd/txupd/internal/failpoint"
)

// The buckets of major schema 1.
const (
	bucketMeta      = "meta"
	bucketEvents    = "events"
	bucketRecords   = "records"
	bucketSteps     = "steps"
	bucketFiles     = "files"
	bucketFilters   = "files/filter"
	bucketByPackage = "index/package"
	bucketByTime    = "index/time"
)

var buckets = []string{
	bucketMeta, bucketEvents, bucketRecords, bucketSteps, bucketFiles, bucketFilters, bucketByPackage, bucketByTime,
}

const (
	defaultTimeout = 2 * time.Second
	// The map is made larger than the file at once, so that writers need not wait for readers to move it.
	mapSize = 64 << 20
	// The file grows by so much at a time, which costs an fsync.
	growStep = 1 << 20
	// Up to this size every page is read on each opening; beyond it only the
	// branch pages are, and Verify reads the rest.
	fullCheckSize = 16 << 20
	// So many of the last events are checked on each opening.
	tailEvents = 64
)

// Options of Open. The zero value is good.
type Options struct {
	// Timeout is how long to wait for another process to let go of the journal, 2 s for 0.
	Timeout time.Duration
	// Now is the clock that events are stamped with, time.Now for nil.
	Now func() time.Time
	// Logger gets what is odd but no error; nil for nobody.
	Logger *slog.Logger
	// Room is asked for space where a change found none, and reports whether
	// there is more now: then the change is tried once more. Nil has none to give.
	Room func() bool
}

func (o Options) withDefaults() Options {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Room == nil {
		o.Room = func() bool { return false }
	}
	return o
}

// Journal is an open journal; safe for concurrent use.
type Journal struct {
	path    string
	now     func() time.Time
	log     *slog.Logger
	db      *bbolt.DB
	file    *os.File // db's own, for reads beside it
	pack    *packer
	id      string
	commits atomic.Uint64
	room    func() bool
	// writing is held from begin to the end of a commit, so that Verify finds
	// the meta page of the state that it looks at.
	writing sync.Mutex
	// allocated is up to where the file is known to have blocks. Under writing.
	allocated int64
	// stuck is set where bbolt panicked while it rolled back, and so kept its lock.
	stuck atomic.Bool
}

// Open opens the journal at path, which it creates if there is none; the
// directory must exist. The file is checked first: its length, meta pages,
// branch pages and free pages, the buckets and the last events; up to 16 MiB
// also every other page. Errors: *DamagedError (then SetAside), ErrLocked,
// ErrNewer, ErrOlder.
func Open(path string, o Options) (*Journal, error) {
	o = o.withDefaults()
	f, err := lockOrCreate(path, o.Timeout)
	if err != nil {
		return nil, fmt.Errorf("cannot open the journal: %w", err)
	}
	j, err := openLocked(path, f, o)
	if err != nil {
		f.Close() // bbolt may have closed it already
		return nil, fmt.Errorf("cannot open the journal: %w", err)
	}
	return j, nil
}

// openLocked opens the file f at path, which is locked.
func openLocked(path string, f *os.File, o Options) (*Journal, error) {
	if err := inspect(path, f, o.Logger); err != nil {
		return nil, err
	}
	pack, err := newPacker()
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, now: o.Now, log: o.Logger, file: f, pack: pack, room: o.Room}
	if err := j.openDB(); err != nil {
		pack.close()
		return nil, err
	}
	if err := j.checkContent(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// inspect checks the pages of a locked file before bbolt maps it.
func inspect(path string, f *os.File, log *slog.Logger) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	pages, err := readMeta(f, info.Size())
	if err == nil {
		err = pages.check(info.Size() <= fullCheckSize)
	}
	if err != nil {
		return &DamagedError{Path: path, Reason: err.Error()}
	}
	if pages.torn {
		log.Warn("one of the journal's two meta pages is invalid: the last change may be lost", "path", path)
	}
	return nil
}

// openDB lets bbolt map the file that is open already.
func (j *Journal) openDB() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &DamagedError{Path: j.path, Reason: fmt.Sprint(p)}
		}
	}()
	// The lock belongs to the open file, so that bbolt gets it at once.
	same := func(string, int, os.FileMode) (*os.File, error) { return j.file, nil }
	j.db, err = bbolt.Open(j.path, 0o600, &bbolt.Options{
		Timeout:         time.Second,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapSize,
		OpenFile:        same,
	})
	if err == nil {
		// The large map would make bbolt grow the file by 16 MiB at a time, where a
		// change is larger than what is allocated ahead of it.
		j.db.AllocSize = growStep
	}
	return err
}

// checkContent looks at what every use depends on: schema, buckets, the end of the chain.
func (j *Journal) checkContent() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	b, err := j.begin(false)
	if err != nil {
		return err
	}
	tx := &Tx{j: j, b: b}
	defer j.end(tx)
	defer tx.guard(&err)
	// The schema first: a newer major one may have other buckets.
	if err := tx.checkSchema(); err != nil {
		return err
	}
	if err := tx.open(); err != nil {
		return err
	}
	if err := tx.metaJSON(metaID, &j.id); err != nil {
		return err
	}
	head, err := tx.Head()
	if err != nil {
		return err
	}
	c := newChain(j.id)
	if head.Seq > tailEvents {
		c.skipTo(head.Seq - tailEvents)
	}
	if err := c.run(context.Background(), tx); err != nil {
		return err
	}
	c.finish(head)
	if len(c.problems) > 0 {
		return tx.damaged("%s", c.problems[0].Text)
	}
	_, err = tx.LastNumber()
	return err
}

// ID names this journal: one that is made anew has another.
func (j *Journal) ID() string { return j.id }

// Commits returns how many changes were made durable since Open.
func (j *Journal) Commits() uint64 { return j.commits.Load() }

// View calls fn with the journal as it is at this moment; changes meanwhile do not show.
func (j *Journal) View(fn func(*Tx) error) error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	b, err := j.begin(false)
	if err != nil {
		return err
	}
	tx := &Tx{j: j, b: b}
	defer j.end(tx)
	if err := tx.open(); err != nil {
		return err
	}
	return fn(tx)
}

// Update calls fn and then makes all that it changed durable in one step, or,
// if it returns an error, none of it. Where it changed nothing, nothing is
// written. Where there was no space fn may be called again.
func (j *Journal) Update(fn func(*Tx) error) error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	j.writing.Lock()
	defer j.writing.Unlock()
	id, err := j.update(fn)
	if errors.Is(err, syscall.ENOSPC) && j.room() {
		err = j.again(id, fn)
	}
	return err
}

// update is one attempt; id is that of bbolt's transaction.
func (j *Journal) update(fn func(*Tx) error) (id int, err error) {
	b, err := j.begin(true)
	if err != nil {
		return 0, err
	}
	id = b.ID()
	tx := &Tx{j: j, b: b}
	defer j.end(tx)
	if err := tx.open(); err != nil {
		return id, err
	}
	if err := fn(tx); err != nil {
		return id, err
	}
	if tx.failed != nil {
		return id, tx.failed
	}
	if !tx.dirty {
		return id, nil
	}
	j.allocate(b.Size())
	size := j.size()
	if err := failpoint.Around("journal/commit", func() error {
		err := tx.commit()
		if err != nil && !j.holds(id) {
			j.shrink(size)
		}
		return err
	}); err != nil {
		return id, fmt.Errorf("cannot write the journal %s: %w", j.path, err)
	}
	j.commits.Add(1)
	return id, nil
}

func (j *Journal) begin(writable bool) (b *bbolt.Tx, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &DamagedError{Path: j.path, Reason: fmt.Sprint(p)}
		}
	}()
	if j.stuck.Load() {
		return nil, &DamagedError{Path: j.path, Reason: "it failed under an earlier change"}
	}
	if b, err = j.db.Begin(writable); err != nil {
		return nil, fmt.Errorf("cannot read the journal %s: %w", j.path, err)
	}
	return b, nil
}

func (tx *Tx) commit() (err error) {
	defer tx.guard(&err)
	return asNoSpace(tx.b.Commit())
}

// end rolls back what was not committed, and lets go of bbolt's locks also after a panic.
func (j *Journal) end(tx *Tx) {
	var err error
	defer func() {
		if err != nil && !errors.Is(err, bolterrors.ErrTxClosed) {
			j.stuck.Store(true)
			j.log.Error("cannot end a transaction on the journal", "path", j.path, "err", err)
		}
	}()
	defer tx.guard(&err)
	err = tx.b.Rollback()
}

// Close waits for what is going on and closes the journal.
func (j *Journal) Close() error {
	defer j.pack.close()
	if j.stuck.Load() { // bbolt would wait for its own lock for ever
		return j.file.Close()
	}
	if err := j.db.Close(); err != nil {
		return fmt.Errorf("cannot close the journal %s: %w", j.path, err)
	}
	return nil
}
