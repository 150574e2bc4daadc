// One transaction on the journal: records, and what all its parts share.

package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"

	"github.com/txupd/txupd/pkg/journal/record"
)

// Newest, as the start of Records, stands for the highest number.
const Newest = ^uint64(0)

// storedSchema is a member of every stored record beside those of record.Record.
const storedSchema = "schema"

// Tx is a consistent view of the journal, in Update with changes. It belongs to
// the goroutine that runs the function it was given to, and ends with it;
// everything that it returns may be kept.
type Tx struct {
	j *Journal
	b *bbolt.Tx

	meta, events, records, steps, files, filters, byPackage, byTime *bbolt.Bucket

	// dirty: something was written. failed: a write went wrong half way, so that nothing may be committed.
	dirty  bool
	failed error
}

// open looks up the buckets.
func (tx *Tx) open() (err error) {
	defer tx.guard(&err)
	for _, b := range []struct {
		name string
		at   **bbolt.Bucket
		// Keys of some buckets only ever grow: their pages are filled, not halved.
		fill float64
	}{
		{bucketMeta, &tx.meta, 0.5}, {bucketEvents, &tx.events, 0.95}, {bucketRecords, &tx.records, 0.8},
		{bucketSteps, &tx.steps, 0.5}, {bucketFiles, &tx.files, 0.95}, {bucketFilters, &tx.filters, 0.95},
		{bucketByPackage, &tx.byPackage, 0.7}, {bucketByTime, &tx.byTime, 0.95},
	} {
		*b.at = tx.b.Bucket([]byte(b.name))
		if *b.at == nil {
			return tx.damaged("the bucket %q is missing", b.name)
		}
		(*b.at).FillPercent = b.fill
	}
	return nil
}

func (tx *Tx) damaged(format string, args ...any) error {
	return &DamagedError{Path: tx.j.path, Reason: fmt.Sprintf(format, args...)}
}

// guard turns a panic of bbolt on a page that makes no sense, and a fault on a
// page that the file no longer has, into a DamagedError.
func (tx *Tx) guard(err *error) {
	if p := recover(); p != nil {
		*err = tx.damaged("%v", p)
		tx.failed = *err
	}
}

// write runs one change: after an error the transaction cannot be committed any more.
func (tx *Tx) write(change func() error) (err error) {
	if !tx.b.Writable() {
		return ErrReadOnly
	}
	if tx.failed != nil {
		return tx.failed
	}
	defer func() {
		if err != nil {
			tx.failed = err
		}
	}()
	defer tx.guard(&err)
	tx.dirty = true
	return change()
}

// seek and step move a cursor; key is nil at the end. The key is a copy; the
// value is not, and on a damaged page may be anywhere: only guarded code reads it.
func (tx *Tx) seek(c *bbolt.Cursor, key []byte) ([]byte, []byte, error) {
	return tx.step(func() ([]byte, []byte) { return c.Seek(key) })
}

func (tx *Tx) step(move func() (key, value []byte)) (key, value []byte, err error) {
	defer tx.guard(&err)
	key, value = move()
	if len(key) > bbolt.MaxKeySize {
		return nil, nil, tx.damaged("a key of %d bytes", len(key))
	}
	return bytes.Clone(key), value, nil
}

// seekLast moves to the last key that is not above key.
func (tx *Tx) seekLast(c *bbolt.Cursor, key []byte) ([]byte, []byte, error) {
	return tx.step(func() ([]byte, []byte) {
		k, v := c.Seek(key)
		switch {
		case k == nil:
			return c.Last()
		case string(k) != string(key):
			return c.Prev()
		}
		return k, v
	})
}

// Record returns what is recorded under number n, without FileChanges, or ErrNotFound.
func (tx *Tx) Record(n uint64) (rec record.Record, err error) {
	defer tx.guard(&err)
	raw, err := tx.storedRecord(n)
	if err != nil {
		return record.Record{}, err
	}
	if raw == nil {
		return record.Record{}, fmt.Errorf("snapshot %d: %w", n, ErrNotFound)
	}
	return tx.decodeRecord(n, raw)
}

// storedRecord returns the JSON of record n, nil for none.
func (tx *Tx) storedRecord(n uint64) (raw []byte, err error) {
	defer tx.guard(&err)
	key := numberKey(n)
	stored := tx.records.Get(key)
	if stored == nil {
		return nil, nil
	}
	if raw, err = tx.j.pack.unpack(key, stored); err != nil {
		return nil, tx.damaged("record %d: %v", n, err)
	}
	return raw, nil
}

func (tx *Tx) decodeRecord(n uint64, raw []byte) (record.Record, error) {
	var rec record.Record
	if err := json.Unmarshal(raw, &rec); err != nil {
		return record.Record{}, tx.damaged("record %d: %v", n, err)
	}
	if rec.Number != n {
		return record.Record{}, tx.damaged("record %d says that it is %d", n, rec.Number)
	}
	return rec, nil
}

// Records iterates over records by number from the given one on: upwards, or
// downwards with newestFirst (start with Newest). FileChanges are not filled
// in. It reads only what is iterated over. The caller must not write meanwhile.
func (tx *Tx) Records(from uint64, newestFirst bool) iter.Seq2[record.Record, error] {
	return func(yield func(record.Record, error) bool) {
		c := tx.records.Cursor()
		start, move := tx.seek, c.Next
		if newestFirst {
			start, move = tx.seekLast, c.Prev
		}
		key, value, err := start(c, numberKey(from))
		for ; key != nil || err != nil; key, value, err = tx.step(move) {
			var rec record.Record
			if err == nil {
				rec, err = tx.recordAt(key, value)
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

func (tx *Tx) recordAt(key, stored []byte) (rec record.Record, err error) {
	defer tx.guard(&err)
	n, ok := keyNumber(key)
	if !ok {
		return record.Record{}, tx.damaged("a record is stored under the key %x", key)
	}
	raw, err := tx.j.pack.unpack(key, stored)
	if err != nil {
		return record.Record{}, tx.damaged("record %d: %v", n, err)
	}
	return tx.decodeRecord(n, raw)
}

// LastNumber returns the highest number that was ever recorded, 0 if there is none.
func (tx *Tx) LastNumber() (n uint64, err error) {
	key, _, err := tx.step(tx.records.Cursor().Last)
	if err != nil || key == nil {
		return 0, err
	}
	n, ok := keyNumber(key)
	if !ok {
		return 0, tx.damaged("a record is stored under the key %x", key)
	}
	return n, nil
}

// Put records rec under its number, new or changed, and appends an event of
// that kind that says what changed; actor is who changed it, nil for txupd
// itself. rec.FileChanges is ignored: PutFiles keeps those. Of a record that is
// there notes, tags and pin stay as they are, because whoever puts it may have
// read it before they were changed: Annotate changes them. So do members of the
// stored record that this version does not know.
func (tx *Tx) Put(kind string, actor *record.Actor, rec record.Record) error {
	err := tx.write(func() error {
		if kind == "" {
			return errors.New("internal error: an event without a kind")
		}
		old, err := tx.storedRecord(rec.Number)
		if err != nil {
			return err
		}
		if old != nil {
			if err := tx.keepAnnotations(old, &rec); err != nil {
				return err
			}
		}
		patch, err := diffRecord(old, rec)
		if err != nil {
			return err
		}
		if old == nil {
			patch[storedSchema] = json.RawMessage(fmt.Sprint(schemaMajor))
		}
		if err := tx.index(old, patch, rec); err != nil {
			return err
		}
		return tx.patch(kind, actor, rec.Number, old, patch)
	})
	if err != nil {
		return fmt.Errorf("cannot record snapshot %d: %w", rec.Number, err)
	}
	return nil
}

// patch appends the event and writes the projection.
func (tx *Tx) patch(kind string, actor *record.Actor, n uint64, old []byte, patch object) error {
	change, err := encodeJSON(patch)
	if err != nil {
		return err
	}
	if err := tx.appendEvent(Event{Kind: kind, Number: n, Actor: actor, Patch: change}); err != nil {
		return err
	}
	if len(patch) == 0 {
		return nil
	}
	raw, err := applyPatch(old, patch)
	if err != nil {
		return err
	}
	key := numberKey(n)
	return tx.records.Put(key, tx.j.pack.pack(key, raw))
}
