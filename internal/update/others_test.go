// Clocks that jump, and other tools that take our numbers, on a real btrfs.

package update_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// clock is one that somebody sets. It has no monotonic reading, like one that a
// record was read with. Housekeeping reads it beside the test.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) now() time.Time { return *c.at.Load() }

func (c *clock) set(text string) {
	at, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	at = at.UTC()
	c.at.Store(&at)
}

// at makes the bench go by a clock from now on.
func (b *bench) at(c *clock) {
	b.clock = c.now
	b.stop()
	b.start()
}

// verdicts marks snapshots good, in this order.
func (b *bench) good(numbers ...snapshot.Number) {
	b.Helper()
	for i, n := range numbers {
		b.must(b.journal.Update(func(tx *journal.Tx) error {
			rec, err := tx.Record(uint64(n))
			if err != nil {
				return err
			}
			rec.Verdict, rec.VerdictSequence = record.Good, uint64(10+i)
			return tx.Put("good", nil, rec)
		}))
	}
	b.stop() // verdicts are remembered
	b.start()
}

func TestTheClockGoesBackBetweenTransactions(t *testing.T) {
	b := newBench(t)
	var c clock
	c.set("2026-11-23 12:00")
	b.at(&c)
	first := b.commit("before")
	c.set("1970-01-01 00:01") // a machine without a battery
	second := b.commit("after")
	if second <= first {
		t.Errorf("numbers went from %d to %d", first, second)
	}
	b.good(second, first)
	st := b.status()
	if st.LastGood == nil || st.LastGood.Number != uint64(first) {
		t.Errorf("the last good one is %+v, want %d: verdicts have a sequence", st.LastGood, first)
	}
	if st.Pending == nil || st.Pending.Number != uint64(second) {
		t.Errorf("pending is %+v, want %d", st.Pending, second)
	}
	// What is asked for by time is told by what the clock said then.
	recs, err := b.u.Records(update.LogRequest{Until: c.now().Add(time.Hour)})
	b.must(err)
	if len(recs) != 1 || recs[0].Number != uint64(second) {
		t.Errorf("recorded until 1970: %+v", recs)
	}
	report, err := b.journal.Verify(t.Context())
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %+v, %v", report.Problems, err)
	}
}

func TestTheClockGoesBackInTheMiddleOfATransaction(t *testing.T) {
	b := newBench(t)
	var c clock
	c.set("2026-11-23 12:00")
	b.at(&c)
	tx, err := b.u.Begin(t.Context(), update.Request{Kind: update.KindBegin, Message: "jump", Expires: time.Hour})
	b.must(err)
	dir, err := b.u.Store.Locate(b.identity(tx.Number()))
	b.must(err)
	b.must(os.WriteFile(filepath.Join(dir, "usr", "made"), nil, 0o644))
	c.set("2020-01-01 00:00")
	if _, err := b.u.Begin(t.Context(), update.Request{Kind: update.KindBegin}); !errors.Is(err, fault.ErrBusy) || strings.Contains(err.Error(), "since -") {
		t.Errorf("somebody else meanwhile: %v", err)
	}
	b.must(tx.Commit(update.CommitOptions{}))
	<-b.ended
	if s := tx.State(); s.Phase != record.Committed {
		t.Fatalf("the commit ended as %s: %v", s.Phase, s.Failure)
	}
	st := b.status()
	if st.Pending == nil || st.Pending.Number != uint64(tx.Number()) {
		t.Errorf("pending is %+v", st.Pending)
	}
}

// TestAnOpenTransactionExpiresByTheClockAlone: back, it waits for longer; forward
// over its time, it is discarded when the next one begins, and the one that is
// being worked on never.
func TestAnOpenTransactionExpiresByTheClockAlone(t *testing.T) {
	b := newBench(t)
	var c clock
	open := func() *update.Transaction {
		t.Helper()
		c.set("2026-11-23 12:00")
		b.at(&c)
		tx, err := b.u.Begin(t.Context(), update.Request{Kind: update.KindBegin, Expires: time.Hour})
		b.must(err)
		return tx
	}
	busy := func(when string) {
		t.Helper()
		if _, err := b.u.Begin(t.Context(), update.Request{Kind: update.KindBegin}); !errors.Is(err, fault.ErrBusy) {
			t.Errorf("%s: another one began: %v", when, err)
		}
	}
	first := open()
	c.set("2026-11-23 12:59")
	busy("before its time")
	c.set("2001-01-01 00:00")
	busy("a long time before its beginning")
	b.stop()
	b.start()
	busy("and after the daemon was started anew")
	c.set("2026-11-23 13:01")
	second, err := b.u.Begin(t.Context(), update.Request{Kind: update.KindBegin})
	b.must(err)
	<-b.ended
	if rec := b.record(first.Number()); rec.Phase != record.Discarded {
		t.Errorf("transaction %d is %s", first.Number(), rec.Phase)
	}
	b.must(second.Discard(t.Context()))
	<-b.ended

	third := open()
	c.set("2036-01-01 00:00")
	b.stop()
	b.start() // the jump happened while no daemon ran
	if rec := b.record(third.Number()); rec.Phase != record.Discarded {
		t.Errorf("transaction %d is %s", third.Number(), rec.Phase)
	}
	if _, err := os.Lstat(b.u.Store.Dir(third.Number())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// thief is a driver beside which another tool takes the next number, each time
// just before we would.
type thief struct {
	btrfs.Driver
	snapshots string
	left      int
	stolen    []string
}

func (d *thief) Fork(src, dst string, readOnly bool) error {
	if err := d.Driver.Fork(src, dst, readOnly); err != nil || d.left == 0 || filepath.Base(dst) != string(snapshot.RoleSnapshot) {
		return err
	}
	d.left--
	names, err := os.ReadDir(d.snapshots)
	if err != nil {
		return err
	}
	last := uint64(0)
	for _, n := range names {
		var number uint64
		if _, err := fmt.Sscan(n.Name(), &number); err == nil {
			last = max(last, number)
		}
	}
	mine := filepath.Join(d.snapshots, fmt.Sprint(last+1))
	d.stolen = append(d.stolen, mine)
	return os.Mkdir(mine, 0o755)
}

func TestOthersTakeOurNumberInBetween(t *testing.T) {
	b := newBench(t)
	d := &thief{snapshots: filepath.Join(b.root, ".snapshots")}
	b.driver = d
	b.stop()
	b.start()
	d.left = 5
	n := b.commit("at last")
	if len(d.stolen) != 5 || uint64(n) < 6 {
		t.Errorf("committed as %d, stolen are %q", n, d.stolen)
	}
	for _, dir := range d.stolen {
		if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
			t.Errorf("in %s are %v, %v", dir, names, err)
		}
	}
	// For ever: then it is said, and nothing is left but what the other tool has.
	d.left = 1000
	if _, err := b.u.Begin(t.Context(), update.Request{Kind: update.KindBegin}); err == nil || !strings.Contains(err.Error(), "another tool took its number") {
		t.Errorf("began: %v", err)
	}
	orphans, err := b.u.Store.Orphans()
	if err != nil || len(orphans) > 0 {
		t.Errorf("left are %+v, %v", orphans, err)
	}
	if got := len(d.stolen); got < 10 || got > 30 {
		t.Errorf("%d numbers were tried", got)
	}
}
