// Verify against somebody who changes the file with tools of his own, and the
// law that the events give the records.

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/journal/record"
)

// tenEvents makes a journal with two records, a path list and ten events.
func tenEvents(t *testing.T) *Journal {
	t.Helper()
	j := newJournal(t)
	update(t, j, func(tx *Tx) error {
		for n := uint64(1); n <= 2; n++ {
			if err := tx.Put("begin", &record.Actor{Name: "ada"}, sample(n)); err != nil {
				return err
			}
		}
		return tx.PutFiles(1, someFiles())
	})
	for i := range 7 {
		update(t, j, func(tx *Tx) error {
			rec := sample(1)
			rec.Message = fmt.Sprintf("message %d", i)
			return tx.Put("note", &record.Actor{Name: "bea"}, rec)
		})
	}
	return j
}

// tamper writes to the file as somebody who knows its format can.
func tamper(t *testing.T, j *Journal, fn func(tx *Tx) error) {
	t.Helper()
	update(t, j, func(tx *Tx) error {
		tx.dirty = true
		return fn(tx)
	})
}

// rewrite replaces text in a stored event, with a checksum that fits.
func rewrite(tx *Tx, seq uint64, old, new string) error {
	key := numberKey(seq)
	payload, err := tx.j.pack.unpack(key, tx.events.Get(key))
	if err != nil {
		return err
	}
	if !bytes.Contains(payload, []byte(old)) {
		return fmt.Errorf("no %q in %s", old, payload)
	}
	return tx.events.Put(key, tx.j.pack.pack(key, bytes.ReplaceAll(payload, []byte(old), []byte(new))))
}

// rechain makes the whole chain anew, so that it fits again.
func rechain(tx *Tx) error {
	head := Head{Journal: tx.j.id, Hash: genesis(tx.j.id)}
	for key := numberKey(1); tx.events.Get(key) != nil; key = numberKey(head.Seq + 1) {
		payload, err := tx.j.pack.unpack(key, tx.events.Get(key))
		if err != nil {
			return err
		}
		e, err := decodeEvent(payload)
		if err != nil {
			return err
		}
		if err := rewrite(tx, e.Seq, e.Prev, head.Hash); err != nil {
			return err
		}
		head.Seq, head.Hash = e.Seq, sum(tx.events.Get(key))
	}
	return tx.putMetaJSON(metaHead, head)
}

func TestVerifyNamesWhatWasTamperedWith(t *testing.T) {
	move := func(b *bbolt.Bucket, from, to uint64) error {
		return b.Put(numberKey(to), bytes.Clone(b.Get(numberKey(from))))
	}
	for _, c := range []struct {
		name   string
		tamper func(tx *Tx) error
		want   []Problem // Text is what must be in it
	}{
		{"nothing", func(tx *Tx) error { return nil }, nil},
		{"an event edited", func(tx *Tx) error { return rewrite(tx, 5, `"name":"bea"`, `"name":"eve"`) },
			[]Problem{{Kind: Edited, Seq: 5, Text: "event 5 was changed"}}},
		{"an event edited without its checksum", func(tx *Tx) error {
			stored := bytes.Clone(tx.events.Get(numberKey(5)))
			stored[40]++
			return tx.events.Put(numberKey(5), stored)
		}, []Problem{{Kind: Edited, Seq: 5, Text: "event 5 was changed"}}},
		{"the first event edited", func(tx *Tx) error { return rewrite(tx, 1, `"name":"ada"`, `"name":"eve"`) },
			[]Problem{{Kind: Edited, Seq: 1, Text: "event 1 was changed"}, {Kind: Mismatch, Number: 1}}},
		{"the last event edited", func(tx *Tx) error { return rewrite(tx, 10, `"name":"bea"`, `"name":"eve"`) },
			[]Problem{{Kind: Edited, Seq: 10, Text: "event 10 was changed"}}},
		{"the chain of another journal", func(tx *Tx) error { return tx.putMetaJSON(metaID, "other") },
			[]Problem{{Kind: Edited, Seq: 1, Text: "does not begin this journal"}}},
		{"an event removed", func(tx *Tx) error { return tx.events.Delete(numberKey(7)) },
			[]Problem{{Kind: Removed, Seq: 7, Text: "event 7 was removed"}}},
		{"the first two removed", func(tx *Tx) error {
			return errors.Join(tx.events.Delete(numberKey(1)), tx.events.Delete(numberKey(2)))
		}, []Problem{{Kind: Removed, Seq: 1, Text: "events 1 to 2 were removed"}, {Kind: Mismatch, Number: 1}, {Kind: Mismatch, Number: 2}}},
		{"the last two removed", func(tx *Tx) error {
			return errors.Join(tx.events.Delete(numberKey(9)), tx.events.Delete(numberKey(10)))
		}, []Problem{{Kind: Removed, Seq: 9, Text: "events 9 to 10 were removed"}, {Kind: Mismatch, Number: 1}}},
		{"two events swapped", func(tx *Tx) error {
			six := bytes.Clone(tx.events.Get(numberKey(6)))
			return errors.Join(move(tx.events, 7, 6), tx.events.Put(numberKey(7), six))
		}, []Problem{{Kind: Edited, Seq: 6}, {Kind: Edited, Seq: 7}}},
		{"two events swapped, with checksums", func(tx *Tx) error {
			payload := map[uint64][]byte{}
			for seq := uint64(6); seq <= 7; seq++ {
				payload[seq], _ = tx.j.pack.unpack(numberKey(seq), tx.events.Get(numberKey(seq)))
			}
			return errors.Join(tx.events.Put(numberKey(6), tx.j.pack.pack(numberKey(6), payload[7])),
				tx.events.Put(numberKey(7), tx.j.pack.pack(numberKey(7), payload[6])))
		}, []Problem{{Kind: Reordered, Seq: 6, Text: "event 7 stands in the place of event 6"}, {Kind: Reordered, Seq: 7}}},
		{"a record edited", func(tx *Tx) error {
			raw, err := tx.storedRecord(2)
			if err != nil {
				return err
			}
			return tx.records.Put(numberKey(2), tx.j.pack.pack(numberKey(2), bytes.ReplaceAll(raw, []byte("htop"), []byte("btop"))))
		}, []Problem{{Kind: Mismatch, Number: 2, Text: "record 2 is not what its events say"}}},
		{"a record removed", func(tx *Tx) error { return tx.records.Delete(numberKey(2)) },
			[]Problem{{Kind: Mismatch, Number: 2, Text: "record 2 is missing"}}},
		{"a path list edited", func(tx *Tx) error {
			raw, err := encodePaths(sortedByPath(someFiles()[:2]))
			if err != nil {
				return err
			}
			return putBlob(tx.files, 1, tx.j.pack.pack(numberKey(1), raw))
		}, []Problem{{Kind: Mismatch, Number: 1, Text: "files of snapshot 1"}}},
		{"a path list removed", func(tx *Tx) error { return tx.files.Delete(blobKey(1, 0)) },
			[]Problem{{Kind: Mismatch, Number: 1, Text: "files of snapshot 1 are missing"}}},
		{"a filter emptied", func(tx *Tx) error {
			return tx.filters.Put(numberKey(1), packFilter(numberKey(1), []byte{filterFormat}))
		},
			[]Problem{{Kind: Mismatch, Number: 1, Text: "filter"}}},
		{"taken out of the index by package", func(tx *Tx) error { return tx.indexPackage("htop", 2, false) },
			[]Problem{{Kind: Mismatch, Text: `index of package "htop"`}}},
		{"added to the index by package", func(tx *Tx) error { return tx.indexPackage("emacs", 2, true) },
			[]Problem{{Kind: Mismatch, Text: "index by package"}}},
		{"taken out of the index by time", func(tx *Tx) error { return tx.byTime.Delete(timeKey(sample(2).Created, 2)) },
			[]Problem{{Kind: Mismatch, Text: "index by time"}, {Kind: Mismatch}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := tenEvents(t)
			tamper(t, j, c.tamper)
			if c.name == "the chain of another journal" {
				j.id = "other"
			}
			r, err := j.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			same := len(r.Problems) == len(c.want)
			for i := range min(len(r.Problems), len(c.want)) {
				got, want := r.Problems[i], c.want[i]
				same = same && got.Kind == want.Kind && got.Seq == want.Seq && strings.Contains(got.Text, want.Text)
			}
			if !same || r.OK() != (len(c.want) == 0) {
				t.Errorf("found %+v\nwant  %+v", r.Problems, c.want)
			}
		})
	}
}

func TestAHeadKeptElsewhereFindsAChainMadeAnew(t *testing.T) {
	j := tenEvents(t)
	var early, late Head
	view(t, j, func(tx *Tx) (err error) { late, err = tx.Head(); return err })
	view(t, j, func(tx *Tx) error {
		for e, err := range tx.Events(3) {
			if err != nil {
				return err
			}
			early = Head{Journal: j.ID(), Seq: e.Seq, Hash: e.Hash}
			break
		}
		return nil
	})
	start := Head{Journal: j.ID(), Hash: genesis(j.ID())}
	for _, h := range []Head{start, early, late} {
		if err := j.VerifyHead(h); err != nil {
			t.Errorf("head %d of an honest journal: %v", h.Seq, err)
		}
	}
	if err := j.VerifyHead(Head{Journal: "before", Seq: 1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("the head of another journal: %v", err)
	}

	tamper(t, j, func(tx *Tx) error {
		if err := rewrite(tx, 5, `"name":"bea"`, `"name":"eve"`); err != nil {
			return err
		}
		return rechain(tx)
	})
	checkSound(t, j) // from within it cannot be seen
	if err := j.VerifyHead(late); !errors.Is(err, ErrChain) {
		t.Errorf("a chain made anew: %v", err)
	}
	if err := j.VerifyHead(early); err != nil {
		t.Errorf("what was not touched: %v", err)
	}

	tamper(t, j, func(tx *Tx) error {
		return errors.Join(tx.events.Delete(numberKey(10)), tx.events.Delete(numberKey(9)), rechain(tx))
	})
	if err := j.VerifyHead(late); !errors.Is(err, ErrChain) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a chain cut short: %v", err)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	j := tenEvents(t)
	ctx, cancel := contextCancelled(t)
	defer cancel()
	if _, err := j.Verify(ctx); err == nil {
		t.Error("it went on")
	}
}

// However a journal is used: replaying the events gives the records, the
// indexes are what a scan finds, and Verify agrees.
func TestEventsGiveTheRecords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		j := newJournal(t)
		defer j.Close()
		model := map[uint64]record.Record{}
		files := map[uint64][]record.FileChange{}
		for range rapid.IntRange(1, 12).Draw(rt, "updates") {
			fail := rapid.IntRange(0, 9).Draw(rt, "fail") == 0
			newModel, newFiles := map[uint64]record.Record{}, map[uint64][]record.FileChange{}
			err := j.Update(func(tx *Tx) error {
				for range rapid.IntRange(0, 4).Draw(rt, "changes") {
					n := rapid.SampledFrom([]uint64{0, 1, 2, 255, 256, 1000}).Draw(rt, "number")
					_, old := model[n]
					_, new := newModel[n]
					if (old || new) && rapid.Bool().Draw(rt, "files") {
						changes := drawChanges(rt)
						newFiles[n] = changes
						if err := tx.PutFiles(n, changes); err != nil {
							return err
						}
						continue
					}
					rec, was := drawRecord(rt, n), model[n]
					if new {
						was = newModel[n]
					}
					a := record.Annotations{Notes: rec.Notes, Tags: rec.Tags, Pinned: rec.Pinned}
					if old || new {
						// Put keeps what was annotated, whatever the record says of it.
						rec.Notes, rec.Tags, rec.Pinned = was.Notes, was.Tags, was.Pinned
					}
					newModel[n] = rec
					put := rec
					put.Tags, put.Pinned = a.Tags, a.Pinned
					if err := tx.Put("change", nil, put); err != nil {
						return err
					}
					if (old || new) && rapid.Bool().Draw(rt, "annotate") {
						a.Notes = append(was.Notes[:len(was.Notes):len(was.Notes)], record.Note{Text: "seen"})
						got, err := tx.Annotate("note", nil, n, func(now *record.Annotations) error {
							*now = a
							return nil
						})
						if err != nil {
							return err
						}
						rec.Notes, rec.Tags, rec.Pinned = a.Notes, a.Tags, a.Pinned
						newModel[n] = rec
						if len(got.Notes) != len(a.Notes) || got.Pinned != a.Pinned {
							return fmt.Errorf("annotated as %+v, not %+v", got, a)
						}
					}
				}
				if fail {
					return errors.New("given up")
				}
				return nil
			})
			if (err != nil) != fail {
				rt.Fatal(err)
			}
			if fail {
				continue
			}
			for n, rec := range newModel {
				model[n] = rec
			}
			for n, changes := range newFiles {
				files[n] = changes
			}
		}
		if err := j.View(func(tx *Tx) error { return agree(tx, model, files) }); err != nil {
			rt.Fatal(err)
		}
		r, err := j.Verify(t.Context())
		if err != nil || !r.OK() || r.Records != uint64(len(model)) || r.Lists != uint64(len(files)) {
			rt.Fatalf("%v %+v", err, r)
		}
	})
}

// agree compares the journal with a model.
func agree(tx *Tx, model map[uint64]record.Record, files map[uint64][]record.FileChange) error {
	replayed := map[uint64][]byte{}
	v := verifier{tx: tx, projections: replayed}
	for e, err := range tx.Events(1) {
		if err != nil {
			return err
		}
		v.replay(e)
	}
	packages := map[string][]uint64{"htop": nil, "vim": nil, "libc6": nil, "l": nil, "": nil, "no": nil}
	type stamped struct {
		at time.Time
		n  uint64
	}
	var times []stamped
	for n, want := range model {
		raw, err := tx.storedRecord(n)
		if err != nil || !bytes.Equal(raw, replayed[n]) {
			return fmt.Errorf("record %d (%v) is\n%s, replayed\n%s", n, err, raw, replayed[n])
		}
		got, err := tx.Record(n)
		if err != nil || fmt.Sprintf("%+v", got) == "" || !equalRecords(got, want) {
			return fmt.Errorf("record %d (%v) is\n%+v, want\n%+v", n, err, got, want)
		}
		for _, name := range packageNames(want.PackageChanges) {
			packages[name] = append(packages[name], n)
		}
		times = append(times, stamped{want.Created, n})
	}
	for name, want := range packages {
		slices.Sort(want)
		slices.Reverse(want)
		if got, err := tx.ByPackage(name); err != nil || !slices.Equal(got, want) {
			return fmt.Errorf("package %q: %v %v, want %v", name, got, err, want)
		}
	}
	slices.SortFunc(times, func(a, b stamped) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return int(int64(b.n) - int64(a.n))
	})
	var order []uint64
	for _, s := range times {
		order = append(order, s.n)
	}
	if got, err := tx.ByTime(time.Time{}, time.Time{}); err != nil || !slices.Equal(got, order) {
		return fmt.Errorf("by time: %v %v, want %v", got, err, order)
	}
	for n, want := range files {
		if got, err := tx.Files(n); err != nil || !slices.Equal(got, sortedByPath(want)) {
			return fmt.Errorf("files of %d: %v %v, want %v", n, got, err, want)
		}
	}
	return nil
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"seq":1,"time":"2026-01-02T03:04:05Z","kind":"begin","number":1,"patch":{"a":{"b":null}},"prev":"`+genesis("x")+`"}`), []byte(`{"a":[1]}`))
	f.Add([]byte(`{"seq":2,"patch":[1],"prev":""}`), []byte(`{}`))
	f.Add([]byte(`{"patch":{"commands":[{"argv":null}],"tags":null,"n":12345678901234567890},"prev":"`+genesis("y")+`"}`), []byte(`{"tags":["x"],"n":{}}`))
	f.Fuzz(func(t *testing.T, payload, stored []byte) {
		e, err := decodeEvent(payload)
		if err != nil || len(e.Patch) == 0 {
			return
		}
		v := verifier{projections: map[uint64][]byte{e.Number: stored}}
		v.replay(e)
		if !v.report.OK() {
			return
		}
		once := v.projections[e.Number]
		v.replay(e) // a merge patch changes nothing the second time
		if !bytes.Equal(once, v.projections[e.Number]) {
			t.Fatalf("%s on %s: %s, then %s", e.Patch, stored, once, v.projections[e.Number])
		}
		if _, err := diffRecord(once, sample(1)); err == nil {
			if _, err := reread(object{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
