// The full check: the chain of events, and everything that is derived from it.

package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"
)

// Problem kinds.
const (
	Edited    = "edited"    // an event's bytes are not those that were written
	Removed   = "removed"   // events are missing
	Reordered = "reordered" // an event is not in its place
	Mismatch  = "mismatch"  // a record, path list or index is not what the events say
	Damaged   = "damaged"   // a page or value cannot be read
)

// Problem is one thing that Verify found.
type Problem struct {
	Kind   string `json:"kind"`
	Seq    uint64 `json:"seq,omitempty"`    // the event, 0 where it is about none
	Number uint64 `json:"number,omitempty"` // the record, where it is about one
	Text   string `json:"text"`
}

// Report is what Verify looked at and found.
type Report struct {
	Events   uint64    `json:"events"`
	Records  uint64    `json:"records"`
	Lists    uint64    `json:"path_lists"`
	Head     Head      `json:"head"`
	Problems []Problem `json:"problems"`
}

// OK reports whether nothing is wrong.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// Verify checks every page, the whole chain of events, that replaying it gives
// the records, that path lists have the hashes that it names, and the indexes.
// What is wrong is in the report; an error means that it could not look. One
// who can write the file can make a chain anew: VerifyHead finds that out with
// a head that was kept elsewhere. Reads and writes go on meanwhile.
func (j *Journal) Verify(ctx context.Context) (Report, error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, pages, err := j.pinned()
	if err != nil {
		return Report{}, err
	}
	defer j.end(tx)
	v := &verifier{tx: tx}
	if err := pages.check(true); err != nil {
		v.problem(Damaged, 0, 0, "%v", err)
		return v.report, nil // what stands on such pages means nothing
	}
	if err := tx.open(); err != nil {
		v.problem(Damaged, 0, 0, "%v", err)
		return v.report, nil
	}
	if pages.torn {
		v.problem(Damaged, 0, 0, "one of the two meta pages is invalid: the last change may be lost")
	}
	if err := v.run(ctx); err != nil {
		return Report{}, fmt.Errorf("cannot verify the journal %s: %w", j.path, err)
	}
	return v.report, nil
}

// pinned begins a read transaction and finds the pages that belong to it, which bbolt does not write to while it lasts.
func (j *Journal) pinned() (*Tx, *filePages, error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	b, err := j.begin(false)
	if err != nil {
		return nil, nil, err
	}
	tx := &Tx{j: j, b: b}
	info, err := j.file.Stat()
	var pages *filePages
	if err == nil {
		pages, err = readMeta(j.file, info.Size())
	}
	if err == nil && pages.txid != uint64(b.ID()) {
		err = fmt.Errorf("its newest meta page is of change %d, in memory is %d", pages.txid, b.ID())
	}
	if err != nil {
		j.end(tx)
		return nil, nil, tx.damaged("%v", err)
	}
	return tx, pages, nil
}

type verifier struct {
	tx     *Tx
	report Report
	// projections are the records that the events give.
	projections map[uint64][]byte
	// stored is what the indexes should be made of.
	stored       map[uint64]indexed
	wrongRecords bool
}

func (v *verifier) problem(kind string, seq, number uint64, format string, args ...any) {
	v.report.Problems = append(v.report.Problems, Problem{Kind: kind, Seq: seq, Number: number, Text: fmt.Sprintf(format, args...)})
}

func (v *verifier) run(ctx context.Context) (err error) {
	defer v.tx.guard(&err)
	head, err := v.tx.Head()
	if err != nil {
		v.problem(Damaged, 0, 0, "%v", err)
		return nil
	}
	v.report.Head = head
	v.projections, v.stored = map[uint64][]byte{}, map[uint64]indexed{}
	c := newChain(v.tx.j.id)
	c.each = v.replay
	if err := c.run(ctx, v.tx); err != nil {
		return err
	}
	c.finish(head)
	v.report.Events = c.count
	v.report.Problems = append(v.report.Problems, c.problems...)

	for _, part := range []func(context.Context) error{v.records, v.lists, v.indexes, v.working} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// replay applies one event to the record that it is about.
func (v *verifier) replay(e Event) {
	if len(e.Patch) == 0 {
		return
	}
	var patch object
	err := json.Unmarshal(e.Patch, &patch)
	var next []byte
	if err == nil {
		next, err = applyPatch(v.projections[e.Number], patch)
	}
	if err != nil {
		v.problem(Damaged, e.Seq, e.Number, "event %d: its patch cannot be applied: %v", e.Seq, err)
		return
	}
	v.projections[e.Number] = next
}

// records compares each stored record with what the events give.
func (v *verifier) records(ctx context.Context) error {
	before := len(v.report.Problems)
	defer func() { v.wrongRecords = len(v.report.Problems) > before }()
	seen := map[uint64]bool{}
	c := v.tx.records.Cursor()
	key, value, err := v.tx.step(c.First)
	for ; key != nil && err == nil; key, value, err = v.tx.step(c.Next) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, ok := keyNumber(key)
		if !ok {
			v.problem(Damaged, 0, 0, "a record is stored under the key %x", key)
			continue
		}
		seen[n] = true
		v.report.Records++
		raw, err := v.tx.unpackAt(key, value)
		if err != nil {
			v.problem(Damaged, 0, n, "record %d: %v", n, err)
			continue
		}
		if rec, err := v.tx.decodeRecord(n, raw); err != nil {
			v.problem(Damaged, 0, n, "%v", err)
		} else {
			v.stored[n] = indexed{Created: rec.Created, PackageChanges: rec.PackageChanges}
		}
		want, ok := v.projections[n]
		switch {
		case !ok:
			v.problem(Mismatch, 0, n, "record %d: no event tells of it", n)
		case !sameJSON(raw, want):
			v.problem(Mismatch, 0, n, "record %d is not what its events say", n)
		}
	}
	if err != nil {
		v.problem(Damaged, 0, 0, "%v", err)
	}
	for n := range v.projections {
		if !seen[n] {
			v.problem(Mismatch, 0, n, "record %d is missing; its events are there", n)
		}
	}
	return nil
}

// sameJSON compares by meaning: a newer version may write members in another order.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err1 := parseTree(a)
	y, err2 := parseTree(b)
	return err1 == nil && err2 == nil && reflect.DeepEqual(x, y)
}

// lists compares the path lists with the hashes in the records, and their filters with them.
func (v *verifier) lists(ctx context.Context) error {
	wanted := map[uint64]fileList{}
	for n, raw := range v.projections {
		l, ok, err := listOf(raw)
		switch {
		case err != nil:
			v.problem(Damaged, 0, n, "record %d: %v", n, err)
		case ok:
			wanted[n] = l
		}
	}
	seen, last := false, uint64(0)
	c := v.tx.files.Cursor()
	key, _, err := v.tx.step(c.First)
	for ; key != nil && err == nil; key, _, err = v.tx.step(c.Next) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(key) != blobKeySize {
			v.problem(Damaged, 0, 0, "a path list is stored under the key %x", key)
			continue
		}
		n, _ := keyNumber(key[:8])
		if seen && n == last {
			continue
		}
		seen, last = true, n
		v.report.Lists++
		value := getBlob(v.tx.files, n)
		want, ok := wanted[n]
		delete(wanted, n)
		switch {
		case !ok:
			v.problem(Mismatch, 0, n, "the files of snapshot %d: no event tells of them", n)
		case sum(value) != want.SHA256:
			v.problem(Mismatch, 0, n, "the files of snapshot %d do not have the hash that was recorded", n)
		default:
			v.list(n)
		}
	}
	if err != nil {
		v.problem(Damaged, 0, 0, "%v", err)
	}
	for n := range wanted {
		v.problem(Mismatch, 0, n, "the files of snapshot %d are missing", n)
	}
	return nil
}

// list checks that one list can be read, and its filter.
func (v *verifier) list(n uint64) {
	changes, err := v.tx.Files(n)
	if err != nil {
		v.problem(Damaged, 0, n, "%v", err)
		return
	}
	key := numberKey(n)
	stored := v.tx.filters.Get(key)
	if stored == nil {
		v.problem(Mismatch, 0, n, "the filter over the files of snapshot %d is missing", n)
		return
	}
	filter, err := v.tx.j.pack.filterOf(key, stored)
	switch {
	case err != nil:
		v.problem(Damaged, 0, n, "the filter over the files of snapshot %d: %v", n, err)
	case len(filter) > 0 && filter[0] == filterFormat && !bytes.Equal(filter, buildFilter(changes)):
		v.problem(Mismatch, 0, n, "the filter over the files of snapshot %d does not fit them", n)
	}
}

// indexes compares both with what the records give. Where a record is wrong
// itself that would only say so once more.
func (v *verifier) indexes(ctx context.Context) error {
	if v.wrongRecords {
		return nil
	}
	times, packages := map[string]bool{}, map[string]map[uint64]bool{}
	for n, r := range v.stored {
		times[string(timeKey(r.Created, n))] = true
		for _, name := range packageNames(r.PackageChanges) {
			if packages[name] == nil {
				packages[name] = map[uint64]bool{}
			}
			packages[name][n] = true
		}
	}
	numbers, err := v.tx.ByTime(time.Time{}, time.Time{})
	if err != nil {
		v.problem(Damaged, 0, 0, "%v", err)
	}
	for key := range times {
		if v.tx.byTime.Get([]byte(key)) == nil {
			v.problem(Mismatch, 0, 0, "the index by time lacks a record")
		}
	}
	if len(numbers) != len(times) {
		v.problem(Mismatch, 0, 0, "the index by time has %d entries for %d records", len(numbers), len(times))
	}
	for name, want := range packages {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := v.tx.ByPackage(name)
		if err != nil {
			v.problem(Damaged, 0, 0, "%v", err)
			continue
		}
		ok := len(got) == len(want)
		for _, n := range got {
			ok = ok && want[n]
		}
		if !ok {
			v.problem(Mismatch, 0, 0, "the index of package %q is not what the records say", name)
		}
	}
	c := v.tx.byPackage.Cursor()
	key, _, err := v.tx.step(c.First)
	for ; key != nil && err == nil; key, _, err = v.tx.step(c.Next) {
		if len(key) < 8 || packages[string(key[8:])] == nil {
			v.problem(Mismatch, 0, 0, "the index by package has the key %x, which no record gives", key)
		}
	}
	if err != nil {
		v.problem(Damaged, 0, 0, "%v", err)
	}
	return nil
}

// working reads steps and small values, which have checksums but no events.
func (v *verifier) working(ctx context.Context) error {
	numbers, err := v.tx.Unfinished()
	if err != nil {
		v.problem(Damaged, 0, 0, "%v", err)
	}
	for _, n := range numbers {
		if _, err := v.tx.Steps(n); err != nil {
			v.problem(Damaged, 0, n, "%v", err)
		}
	}
	c := v.tx.meta.Cursor()
	key, value, err := v.tx.step(c.First)
	for ; key != nil && err == nil; key, value, err = v.tx.step(c.Next) {
		if _, err := v.tx.unpackAt(key, value); err != nil {
			v.problem(Damaged, 0, 0, "the value of %q: %v", key, err)
		}
	}
	if err != nil {
		v.problem(Damaged, 0, 0, "%v", err)
	}
	return ctx.Err()
}
