// What users of the journal notice: what was put is there, also after it was
// closed, and nobody else gets at it meanwhile.

package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/pkg/journal/record"
)

// ticking is a clock that goes on by a second each time it is asked.
func ticking() func() time.Time {
	var mu sync.Mutex
	t := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		t = t.Add(time.Second)
		return t
	}
}

func openAt(t testing.TB, path string) *Journal {
	t.Helper()
	j, err := Open(path, Options{Now: ticking(), Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func newJournal(t testing.TB) *Journal {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "journal.db"))
}

func update(t testing.TB, j *Journal, fn func(*Tx) error) {
	t.Helper()
	if err := j.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, j *Journal, fn func(*Tx) error) {
	t.Helper()
	if err := j.View(fn); err != nil {
		t.Fatal(err)
	}
}

// sample is a record with something in every corner.
func sample(n uint64) record.Record {
	created := time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC).Add(time.Duration(n) * time.Hour)
	parent := n - 1
	return record.Record{
		Number: n, UUID: fmt.Sprintf("00000000-0000-0000-0000-%012d", n), Phase: record.Open, Verdict: record.Untried,
		Parent: &parent, Created: created, Kind: "pkg-add", Message: "install <htop> & co", Tags: []string{"test"},
		Actor:    record.Actor{UID: 1000, Name: "ada", BusName: ":1.7"},
		Commands: []record.Command{{Argv: []string{"apt-get", "install", "htop"}, Started: created, Duration: 1.5}},
		PackageChanges: []record.PackageChange{
			{Name: "htop", Arch: "amd64", Change: record.Added, New: "3.2.2-2", Reason: "requested"},
			{Name: fmt.Sprintf("lib%d", n), Arch: "amd64", Change: record.Upgraded, Old: "1", New: "2"},
		},
		Packages:   record.PackageCounts{Added: 1, Upgraded: 1},
		Subvolumes: map[string]record.Subvolume{"snapshot": {ID: 300 + n, UUID: "u"}, "base": {ID: 200 + n, UUID: "b"}},
		Boots:      []record.Boot{},
	}
}

func someFiles() []record.FileChange {
	return []record.FileChange{
		{Path: "/usr/bin/htop", Change: record.Added, Owner: "htop"},
		{Path: "/etc/motd", Change: record.Modified},
		{Path: "/usr/share/doc/htop/copyright", Change: record.Added, Owner: "htop"},
	}
}

func TestRecordsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openAt(t, path)
	update(t, j, func(tx *Tx) error {
		for n := uint64(1); n <= 3; n++ {
			if err := tx.Put("begin", &record.Actor{UID: 0}, sample(n)); err != nil {
				return err
			}
		}
		if err := tx.PutMeta("last-good", []byte("2")); err != nil {
			return err
		}
		if err := tx.PutSteps(3, []byte(`[{"Kind":"fork"}]`)); err != nil {
			return err
		}
		return tx.PutFiles(2, someFiles())
	})
	id := j.ID()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	j = openAt(t, path)
	if j.ID() != id {
		t.Errorf("id %q became %q", id, j.ID())
	}
	view(t, j, func(tx *Tx) error {
		for n := uint64(1); n <= 3; n++ {
			rec, err := tx.Record(n)
			if diff := cmp.Diff(sample(n), rec); err != nil || diff != "" {
				t.Errorf("record %d: %v %s", n, err, diff)
			}
		}
		if v, err := tx.Meta("last-good"); string(v) != "2" || err != nil {
			t.Errorf("meta: %q %v", v, err)
		}
		if v, err := tx.Meta("schema"); v != nil || err != nil {
			t.Errorf("the journal's own values show: %q %v", v, err)
		}
		if v, err := tx.Steps(3); string(v) != `[{"Kind":"fork"}]` || err != nil {
			t.Errorf("steps: %q %v", v, err)
		}
		if v, err := tx.Unfinished(); !cmp.Equal(v, []uint64{3}) || err != nil {
			t.Errorf("unfinished: %v %v", v, err)
		}
		if n, err := tx.LastNumber(); n != 3 || err != nil {
			t.Errorf("last number: %d %v", n, err)
		}
		want := []record.FileChange{someFiles()[1], someFiles()[0], someFiles()[2]}
		if got, err := tx.Files(2); err != nil || !cmp.Equal(got, want) {
			t.Errorf("files: %v %v", err, cmp.Diff(want, got))
		}
		return nil
	})
}

func TestUnknownNumberIsNotFound(t *testing.T) {
	j := newJournal(t)
	view(t, j, func(tx *Tx) error {
		if _, err := tx.Record(7); !errors.Is(err, ErrNotFound) {
			t.Errorf("record: %v", err)
		}
		if files, err := tx.Files(7); files != nil || err != nil {
			t.Errorf("files: %v %v", files, err)
		}
		if steps, err := tx.Steps(7); steps != nil || err != nil {
			t.Errorf("steps: %v %v", steps, err)
		}
		if n, err := tx.LastNumber(); n != 0 || err != nil {
			t.Errorf("last number: %v %v", n, err)
		}
		if err := tx.Put("begin", nil, sample(1)); !errors.Is(err, ErrReadOnly) {
			t.Errorf("put in a view: %v", err)
		}
		return nil
	})
	err := j.Update(func(tx *Tx) error { return tx.PutFiles(7, someFiles()) })
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("files of no record: %v", err)
	}
}

func TestRecordsGoBothWaysFromANumber(t *testing.T) {
	j := newJournal(t)
	update(t, j, func(tx *Tx) error {
		for _, n := range []uint64{0, 3, 4, 9} {
			if err := tx.Put("begin", nil, sample(n)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		name   string
		from   uint64
		newest bool
		want   []uint64
	}{
		{"up from the first", 0, false, []uint64{0, 3, 4, 9}},
		{"up from a gap", 1, false, []uint64{3, 4, 9}},
		{"up from beyond", 10, false, nil},
		{"down from the newest", Newest, true, []uint64{9, 4, 3, 0}},
		{"down from a gap", 8, true, []uint64{4, 3, 0}},
		{"down from one", 3, true, []uint64{3, 0}},
		{"down from zero", 0, true, []uint64{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []uint64
			view(t, j, func(tx *Tx) error {
				for rec, err := range tx.Records(c.from, c.newest) {
					if err != nil {
						return err
					}
					got = append(got, rec.Number)
				}
				return nil
			})
			if !cmp.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestIndexesFollowTheRecord(t *testing.T) {
	j := newJournal(t)
	for n := uint64(1); n <= 600; n += 100 {
		update(t, j, func(tx *Tx) error { return tx.Put("begin", nil, sample(n)) })
	}
	changed := sample(201)
	changed.PackageChanges = []record.PackageChange{{Name: "vim"}, {Name: "lib201"}}
	changed.Created = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	update(t, j, func(tx *Tx) error { return tx.Put("commit", nil, changed) })
	for name, want := range map[string][]uint64{
		"htop": {501, 401, 301, 101, 1}, "vim": {201}, "lib201": {201}, "lib": nil, "": nil,
	} {
		view(t, j, func(tx *Tx) error {
			got, err := tx.ByPackage(name)
			if err != nil || !cmp.Equal(got, want) {
				t.Errorf("%q: %v %v, want %v", name, got, err, want)
			}
			return nil
		})
	}
	day := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		name         string
		since, until time.Time
		want         []uint64
	}{
		{"all", time.Time{}, time.Time{}, []uint64{201, 501, 401, 301, 101, 1}},
		{"since", day(20), time.Time{}, []uint64{201, 501, 401}},
		{"until", time.Time{}, day(10), []uint64{101, 1}},
		{"between", day(10), day(20), []uint64{301}},
		{"the very moment", sample(101).Created, sample(101).Created.Add(1), []uint64{101}},
		{"empty", day(1), day(1), nil},
	} {
		view(t, j, func(tx *Tx) error {
			got, err := tx.ByTime(c.since, c.until)
			if err != nil || !cmp.Equal(got, c.want) {
				t.Errorf("%s: %v %v, want %v", c.name, got, err, c.want)
			}
			return nil
		})
	}
}

func TestTimesBeforeTheEpochSortRight(t *testing.T) {
	times := []time.Time{{}, time.Unix(-1, 0), time.Unix(-1, 5), time.Unix(0, 0), time.Unix(1<<40, 0)}
	for i := 1; i < len(times); i++ {
		if a, b := string(timeKey(times[i-1], math.MaxUint64)), string(timeKey(times[i], 0)); a >= b {
			t.Errorf("%v does not sort before %v", times[i-1], times[i])
		}
	}
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	j := newJournal(t)
	update(t, j, func(tx *Tx) error { return tx.Put("begin", nil, sample(1)) })
	commits := j.Commits()
	boom := errors.New("boom")
	err := j.Update(func(tx *Tx) error {
		if err := tx.Put("begin", nil, sample(2)); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("update: %v", err)
	}
	bad := sample(3)
	bad.PackageChanges = []record.PackageChange{{Name: strings.Repeat("x", maxPackageName+1)}}
	err = j.Update(func(tx *Tx) error {
		tx.Put("begin", nil, bad) // an error that the caller does not look at
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "package name") {
		t.Errorf("a change half done was committed: %v", err)
	}
	update(t, j, func(tx *Tx) error { _, err := tx.Record(1); return err }) // writes nothing
	if j.Commits() != commits {
		t.Errorf("%d commits, were %d", j.Commits(), commits)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the caller's panic was swallowed")
			}
		}()
		j.Update(func(tx *Tx) error { panic("the caller's") })
	}()
	view(t, j, func(tx *Tx) error {
		if n, err := tx.LastNumber(); n != 1 || err != nil {
			t.Errorf("last number %d %v", n, err)
		}
		return nil
	})
	checkSound(t, j)
}

func checkSound(t testing.TB, j *Journal) {
	t.Helper()
	r, err := j.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Errorf("%s: %s", p.Kind, p.Text)
	}
}

func TestStepsMustBeJSON(t *testing.T) {
	j := newJournal(t)
	if err := j.Update(func(tx *Tx) error { return tx.PutSteps(1, []byte("{")) }); err == nil {
		t.Error("half a document was stored")
	}
	if err := j.Update(func(tx *Tx) error { return tx.Put("", nil, sample(1)) }); err == nil {
		t.Error("an event without a kind was stored")
	}
}

func TestReadersGoOnWhileAWriterWrites(t *testing.T) {
	j := newJournal(t)
	update(t, j, func(tx *Tx) error { return tx.Put("begin", nil, sample(1)) })
	done := make(chan error)
	go func() {
		for n := uint64(2); n < 60; n++ {
			err := j.Update(func(tx *Tx) error {
				if err := tx.Put("begin", nil, sample(n)); err != nil {
					return err
				}
				return tx.PutFiles(n, someFiles())
			})
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
			checkSound(t, j)
		}
	}
}

func TestEventsTellWhoDidWhat(t *testing.T) {
	j := newJournal(t)
	rec := sample(1)
	update(t, j, func(tx *Tx) error { return tx.Put("begin", &rec.Actor, rec) })
	update(t, j, func(tx *Tx) error {
		_, err := tx.Annotate("tag", &record.Actor{Name: "eve"}, 1, func(a *record.Annotations) error {
			a.Tags = append(a.Tags, "keep")
			return nil
		})
		return err
	})
	update(t, j, func(tx *Tx) error { return tx.Put("boot", nil, rec) })
	var got []Event
	view(t, j, func(tx *Tx) error {
		for e, err := range tx.Events(2) {
			if err != nil {
				return err
			}
			got = append(got, e)
		}
		return nil
	})
	if len(got) != 2 || got[0].Seq != 2 || got[1].Prev != got[0].Hash {
		t.Fatalf("events %+v", got)
	}
	if e := got[0]; e.Kind != "tag" || e.Actor.Name != "eve" || e.Number != 1 || string(e.Patch) != `{"tags":["test","keep"]}` {
		t.Errorf("event %+v, patch %s", e, e.Patch)
	}
	if e := got[1]; e.Actor != nil || !json.Valid(e.Patch) || string(e.Patch) != "{}" {
		t.Errorf("an event that changes nothing: %+v, patch %s", e, e.Patch)
	}
}

// TestWhatBelongsToNoRecordIsInTheLog: told once, in the chain, and no record comes of it.
func TestWhatBelongsToNoRecordIsInTheLog(t *testing.T) {
	j := newJournal(t)
	update(t, j, func(tx *Tx) error { return tx.Tell("repaired", &record.Actor{Name: "ada"}, []string{"one", "two"}) })
	checkSound(t, j)
	view(t, j, func(tx *Tx) error {
		for e, err := range tx.Events(1) {
			if err != nil || e.Kind != "repaired" || e.Actor.Name != "ada" || !slices.Equal(e.Words, []string{"one", "two"}) {
				t.Errorf("%+v, %v", e, err)
			}
		}
		if last, err := tx.LastNumber(); err != nil || last != 0 {
			t.Errorf("the last record is %d, %v", last, err)
		}
		return nil
	})
}
