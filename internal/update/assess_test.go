// The assessment of boots, on a real btrfs: "booted" is what is mounted, the
// checks and the reboot are functions of the test.

package update_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/health"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// bench is a machine that can be booted into its default subvolume.
type bench struct {
	*testing.T
	device, root string
	boots        int
	config       *config.Config
	packages     pkgmgr.Manager // nil for none
	driver       snapshot.Driver
	clock        func() time.Time

	u       *update.Updater
	journal *journal.Journal

	ended    chan struct{} // transactions
	finished chan struct{} // commands

	// what the running system shows
	failed     []string
	incomplete string
	baseline   health.Baseline
	// what was done to it
	rebooted int
	forced   bool
	waits    int // how often the checks are found running
	said     []string
	asked    update.HealthRequest
}

func newBench(t *testing.T) *bench {
	b := unstartedBench(t, testbed.Layout(t, "flat"))
	b.start()
	return b
}

func unstartedBench(t *testing.T, root string) *bench {
	b := &bench{
		T: t, device: testbed.Device(t, root), root: root, config: config.Default(), baseline: health.Baseline{Known: true},
		driver: btrfs.Driver{}, clock: time.Now, ended: make(chan struct{}, 16), finished: make(chan struct{}, 16),
	}
	t.Cleanup(b.stop)
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// boot mounts what boots next, at a place of its own, and starts the daemon there.
func (b *bench) boot() {
	b.Helper()
	b.stop()
	b.root = filepath.Join(b.TempDir(), "root")
	testbed.Mount(b, b.device, b.root, "")
	testbed.Mount(b, b.device, filepath.Join(b.root, ".snapshots"), "subvol=@snapshots")
	b.start()
}

func (b *bench) stop() {
	if b.u == nil {
		return
	}
	b.u.Close()
	b.must(b.journal.Close())
	b.u = nil
}

func (b *bench) start() {
	b.Helper()
	b.prepare()
	b.must(b.u.Resume(b.Context()))
}

// prepare makes an updater that has done nothing yet.
func (b *bench) prepare() {
	b.Helper()
	b.boots++
	store, err := snapshot.Open(b.root, b.driver, snapshot.Options{})
	b.must(err)
	state, err := store.StateDir()
	b.must(err)
	b.journal, err = journal.Open(filepath.Join(state, "journal.db"), journal.Options{Now: b.clock})
	b.must(err)
	b.u = update.New(update.Deps{
		Root: b.root, Driver: b.driver, Search: &btrfs.Searcher{}, Store: store, Journal: b.journal,
		Boot: boot.New(boot.Host{Root: b.root, CommandLine: "quiet"}), Config: b.config, CommandLine: "quiet",
		Packages: func() (pkgmgr.Manager, error) {
			if b.packages == nil {
				return nil, os.ErrNotExist
			}
			return b.packages, nil
		},
		BootID: "boot-" + strings.Repeat("i", b.boots), Now: b.clock, Log: slog.New(slog.DiscardHandler),
		Notify: func(e update.Event) {
			switch e.Kind {
			case update.TransactionFinished:
				b.ended <- struct{}{}
			case update.CommandFinished:
				b.finished <- struct{}{}
			}
		},
		Machine: update.Machine{
			Check: func(_ context.Context, q update.HealthRequest) health.Report {
				b.asked = q
				r := health.Report{Healthy: len(b.failed) == 0, Failed: b.failed}
				r.Results = []health.Result{{Name: "10-web", Kind: health.Required, OK: r.Healthy, Took: time.Second}}
				return r
			},
			Look:     func(context.Context) (health.Baseline, error) { return b.baseline, nil },
			Complete: func(context.Context) (bool, string, error) { return b.incomplete == "", b.incomplete, nil },
			Finishing: func(context.Context) (bool, error) {
				b.waits--
				return b.waits >= 0, nil
			},
			Reboot: func(force bool) error {
				b.rebooted++
				b.forced = force
				return nil
			},
			Announce: func(words string) { b.said = append(b.said, words) },
		},
	})
}

// commit makes a snapshot, which boots next.
func (b *bench) commit(message string) snapshot.Number {
	b.Helper()
	t, err := b.u.Begin(b.Context(), update.Request{Kind: update.KindBegin, Message: message})
	b.must(err)
	dir, err := b.u.Store.Locate(b.identity(t.Number()))
	b.must(err)
	b.must(os.WriteFile(filepath.Join(dir, "usr", "made"), []byte(message), 0o644))
	b.must(t.Commit(update.CommitOptions{}))
	<-b.ended
	if s := t.State(); s.Phase != record.Committed {
		b.Fatalf("the transaction ended as %s: %v", s.Phase, s.Failure)
	}
	return t.Number()
}

func (b *bench) identity(n snapshot.Number) snapshot.Identity {
	b.Helper()
	made, err := b.u.Store.Made(n)
	b.must(err)
	return made[snapshot.RoleSnapshot]
}

func (b *bench) assess(moment string) bus.Assessment {
	b.Helper()
	doc, err := b.u.Assess(b.Context(), moment)
	b.must(err)
	return doc
}

// judged runs a whole boot's assessment.
func (b *bench) judged() bus.Assessment {
	b.Helper()
	b.assess(update.AssessCheck)
	return b.assess(update.AssessVerdict)
}

func (b *bench) status() bus.Status {
	b.Helper()
	st, err := b.u.Status(b.Context())
	b.must(err)
	return st
}

func (b *bench) record(n snapshot.Number) record.Record {
	b.Helper()
	rec, err := b.u.Show(n)
	b.must(err)
	return rec
}

func TestAGoodBootMakesTheLastGoodSnapshot(t *testing.T) {
	b := newBench(t)
	b.baseline = health.Baseline{Known: true, Network: true, FailedUnits: []string{"old.service"}}
	n := b.commit("first")
	b.boot()
	if got := b.assess(update.AssessCheck); got.Boot != "" || got.Verdict != record.Untried {
		t.Errorf("the checks alone gave a verdict: %+v", got)
	}
	if want := (update.HealthRequest{Snapshot: uint64(n), Trial: true, Before: b.baseline}); b.asked.Snapshot != want.Snapshot ||
		!b.asked.Trial || !b.asked.Before.Network || !slices.Equal(b.asked.Before.FailedUnits, want.Before.FailedUnits) {
		t.Errorf("the checks were told %+v", b.asked)
	}
	if got := b.assess(update.AssessVerdict); got.Boot != record.Good || got.LeftFor != nil {
		t.Errorf("the verdict is %+v", got)
	}
	if got := b.assess(update.AssessDeadline); got.Boot != record.Good {
		t.Errorf("asked again: %+v", got)
	}
	st := b.status()
	if st.LastGood == nil || st.LastGood.Number != uint64(n) || b.rebooted != 0 {
		t.Errorf("the status is %+v, %d reboots", st, b.rebooted)
	}
	rec := b.record(n)
	if len(rec.Boots) != 1 || rec.Boots[0].Verdict != record.Good || len(rec.Boots[0].Checks) != 1 || rec.Boots[0].Checks[0].Duration != 1 {
		t.Errorf("the boots are %+v", rec.Boots)
	}

	// What was good before and runs well once more is the last good one again.
	if _, err := b.u.Rollback(t.Context(), "0", record.Actor{}); err != nil {
		t.Fatal(err)
	}
	b.boot()
	if got := b.judged(); got.Number != 0 || got.Boot != record.Good {
		t.Errorf("the verdict on 0 is %+v", got)
	}
	if st := b.status(); st.LastGood == nil || st.LastGood.Number != 0 {
		t.Errorf("after a good boot of 0 the last good one is %+v", st.LastGood)
	}
}

func TestABadBootIsLeftAsOftenAsConfigured(t *testing.T) {
	b := newBench(t)
	b.config.Boot.AutomaticRollbacks = 2
	for i := range 2 {
		n := b.commit("bad")
		b.boot()
		b.failed = []string{"10-web: exit 1"}
		got := b.judged()
		if got.Boot != record.Bad || got.LeftFor == nil || *got.LeftFor != 0 || b.rebooted != i+1 {
			t.Fatalf("bad snapshot %d: %+v, %d reboots", n, got, b.rebooted)
		}
		if len(b.said) != i+1 || !strings.Contains(b.said[i], "10-web: exit 1") || !strings.Contains(b.said[i], "rebooting into snapshot 0") {
			t.Errorf("the console says %q", b.said)
		}
		b.boot()
		b.failed = nil
		if st := b.status(); st.Booted.Number != 0 || st.Pending != nil || !strings.Contains(strings.Join(st.Warnings, "\n"), "10-web: exit 1") {
			t.Errorf("after the reboot: %+v", st)
		}
		b.judged()
	}
	n := b.commit("bad again")
	b.boot()
	b.failed = []string{"10-web: exit 1"}
	got := b.judged()
	if got.LeftFor != nil || b.rebooted != 2 || !strings.Contains(got.Note, "stays up") {
		t.Errorf("the third in a row: %+v, %d reboots", got, b.rebooted)
	}
	if rec := b.record(n); rec.Verdict != record.Bad || rec.Boots[0].Left {
		t.Errorf("its record: %s, %+v", rec.Verdict, rec.Boots)
	}
	// A person goes back, another one turns out good, and the count begins anew.
	if _, err := b.u.Rollback(t.Context(), "0", record.Actor{}); err != nil {
		t.Fatal(err)
	}
	b.boot()
	b.failed = nil
	b.commit("good")
	b.boot()
	if got := b.judged(); got.Boot != record.Good {
		t.Fatalf("the good one is %+v", got)
	}
	if w := b.status().Warnings; slices.ContainsFunc(w, func(s string) bool { return strings.Contains(s, "10-web") }) {
		t.Errorf("old news: %q", w)
	}
	b.commit("bad once more")
	b.boot()
	b.failed = []string{"10-web: exit 1"}
	if got := b.judged(); got.LeftFor == nil || b.rebooted != 3 {
		t.Errorf("after a good one: %+v, %d reboots", got, b.rebooted)
	}
}

func TestWhatMakesABootBad(t *testing.T) {
	for name, c := range map[string]struct {
		failed     []string
		incomplete string
		moment     string
		why        string
	}{
		"another unit's check":      {nil, "boot-complete.target is inactive", update.AssessVerdict, "boot-complete.target is inactive"},
		"it never ends":             {nil, "boot-complete.target is inactive", update.AssessDeadline, "did not complete in time"},
		"the emergency shell":       {nil, "", update.AssessEmergency, "emergency shell"},
		"a check of ours":           {[]string{"10-web: exit 1"}, "boot-complete.target is inactive", update.AssessVerdict, "failed: 10-web: exit 1"},
		"late, but it did complete": {nil, "", update.AssessDeadline, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.commit("x")
			b.boot()
			b.failed, b.incomplete, b.waits = c.failed, c.incomplete, 2
			if c.moment != update.AssessEmergency {
				b.assess(update.AssessCheck)
			}
			got := b.assess(c.moment)
			if c.why == "" {
				if got.Boot != record.Good {
					t.Errorf("the verdict is %+v", got)
				}
				return
			}
			if got.Boot != record.Bad || !strings.Contains(got.Why, c.why) || b.rebooted != 1 || b.forced != (c.moment == update.AssessEmergency) {
				t.Errorf("the verdict is %+v, %d reboots", got, b.rebooted)
			}
		})
	}
}

func TestASnapshotThatWasGoodIsNotLeft(t *testing.T) {
	b := newBench(t)
	n := b.commit("x")
	b.boot()
	b.judged()
	b.boot()
	b.failed = []string{"network: no default route"}
	got := b.judged()
	if got.Boot != record.Bad || got.Verdict != record.Good || got.LeftFor != nil || b.rebooted != 0 {
		t.Errorf("the verdict is %+v, %d reboots", got, b.rebooted)
	}
	if w := strings.Join(b.status().Warnings, "\n"); !strings.Contains(w, "no default route") {
		t.Errorf("the warnings are %q", w)
	}
	if rec := b.record(n); len(rec.Boots) != 2 || rec.Boots[1].Verdict != record.Bad {
		t.Errorf("its boots: %+v", rec.Boots)
	}
}

func TestAnOpenTransactionDoesNotKeepABadSnapshot(t *testing.T) {
	b := newBench(t)
	n := b.commit("bad")
	b.boot()
	open, err := b.u.Begin(t.Context(), update.Request{Kind: update.KindBegin, Message: "waits"})
	if err != nil {
		t.Fatal(err)
	}
	b.failed = []string{"10-web: exit 1"}
	if got := b.judged(); got.LeftFor == nil || b.rebooted != 1 {
		t.Fatalf("the verdict on %d is %+v", n, got)
	}
	if st := b.status(); st.Transaction == nil || st.Transaction.Number != uint64(open.Number()) {
		t.Errorf("the open transaction: %+v", st.Transaction)
	}
	if err := open.Discard(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNothingIsDecidedOnARootThatNobodyKnows(t *testing.T) {
	b := newBench(t)
	b.commit("x")
	b.stop()
	other := filepath.Join(filepath.Dir(b.root), "other")
	testbed.Mount(t, b.device, filepath.Dir(b.root)+"/all", "subvolid=5")
	b.must(btrfs.Driver{}.Fork(b.root, filepath.Join(filepath.Dir(b.root), "all", "by-hand"), false))
	testbed.Mount(t, b.device, other, "subvol=by-hand")
	testbed.Mount(t, b.device, filepath.Join(other, ".snapshots"), "subvol=@snapshots")
	b.root = other
	b.start()
	b.failed = []string{"10-web: exit 1"}
	if got := b.judged(); got.Note == "" || b.rebooted != 0 {
		t.Errorf("the verdict is %+v, %d reboots", got, b.rebooted)
	}
}
