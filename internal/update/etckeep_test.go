// Going back with what was edited, on a real btrfs.

package update_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// twoReleases makes two snapshots, of which the second one runs. Each has the
// configuration of its packages, and what was edited while it ran.
func (b *bench) twoReleases() (first, second snapshot.Number) {
	b.Helper()
	release := func(text string) snapshot.Number {
		t, err := b.edited(update.Request{Message: text}, update.CommitOptions{}, func(n snapshot.Number) {
			b.write(b.in(n, "etc/package.conf"), text+"\n")
			b.write(b.in(n, "etc/tuned.conf"), "1\n2\n3\n4\n"+text+"\n")
			b.write(b.in(n, "etc/only-"+text), text+"\n")
		})
		b.must(err)
		return t.Number()
	}
	first = release("first")
	b.boot()
	b.write(b.file("etc/early"), "under the first\n")
	second = release("second")
	b.boot()
	b.write(b.file("etc/late"), "under the second\n")
	b.write(b.file("etc/tuned.conf"), "ONE\n2\n3\n4\nsecond\n")
	b.must(os.Remove(b.file("etc/early")))
	return first, second
}

func (b *bench) back(to snapshot.Number, asCommitted bool) snapshot.Number {
	b.Helper()
	n, err := b.u.RollbackKeepingEtc(b.Context(), update.Request{From: itoa(to), Actor: record.Actor{Name: "anna"}}, asCommitted)
	b.must(err)
	<-b.ended
	return n
}

func TestRollbackKeepsWhatWasEditedAndNotWhatPackagesChanged(t *testing.T) {
	b := newBench(t)
	first, second := b.twoReleases()
	n := b.back(first, false)
	b.holds(b.in(n, "etc/package.conf"), "first\n")
	b.lacks(b.in(n, "etc/only-second"))
	b.holds(b.in(n, "etc/late"), "under the second\n")
	b.holds(b.in(n, "etc/tuned.conf"), "ONE\n2\n3\n4\nfirst\n")
	b.lacks(b.in(n, "etc/early")) // made while the first ran, removed while the second did
	// The one that it was made of is as it was left.
	b.holds(b.in(first, "etc/early"), "under the first\n")
	b.holds(b.in(first, "etc/tuned.conf"), "1\n2\n3\n4\nfirst\n")
	rec := b.record(n)
	if rec.Kind != update.KindRollback || rec.Parent == nil || *rec.Parent != uint64(first) || rec.Actor.Name != "anna" || !strings.Contains(rec.Message, "with the running /etc") {
		t.Errorf("recorded is %+v", rec)
	}
	if len(rec.EtcDecisions) != 3 {
		t.Errorf("decided is %+v", rec.EtcDecisions)
	}
	if st := b.status(); st.Default.Number != uint64(n) {
		t.Errorf("%d boots next", st.Default.Number)
	}
	// What is edited from now on comes along too.
	b.write(b.file("etc/later"), "before the reboot\n")
	doc, err := b.u.Etc(b.Context(), "")
	b.must(err)
	if words := decided(doc.Plan); !doc.Merged || len(words) != 1 || words[0] != "theirs /etc/later" {
		t.Errorf("the reboot is told to do %q (%q)", words, doc.Why)
	}
	_, err = b.u.AtShutdown(context.Background())
	b.must(err)
	b.holds(b.in(n, "etc/later"), "before the reboot\n")
	b.holds(b.in(n, "etc/package.conf"), "first\n")
	// And it can be taken back.
	if _, err := b.u.Rollback(b.Context(), itoa(second), record.Actor{}); err != nil || b.status().Pending != nil {
		t.Errorf("back again: %v", err)
	}
}

func TestRollbackKeepsOverWhatItWasWhenItWasCommitted(t *testing.T) {
	b := newBench(t)
	first, _ := b.twoReleases()
	b.write(b.in(first, "etc/package.conf"), "broken since\n")
	n := b.back(first, true)
	b.holds(b.in(n, "etc/package.conf"), "first\n")
	b.holds(b.in(n, "etc/late"), "under the second\n")
	b.lacks(b.in(n, "etc/early"))
	// Without it nothing of the running /etc is in it.
	n, err := b.u.RollbackAsCommitted(b.Context(), update.Request{From: itoa(first)})
	b.must(err)
	b.lacks(b.in(n, "etc/late"))
	b.holds(b.in(n, "etc/tuned.conf"), "1\n2\n3\n4\nfirst\n")
	b.write(b.file("etc/later"), "not for it\n")
	_, err = b.u.AtShutdown(context.Background())
	b.must(err)
	b.lacks(b.in(n, "etc/later"))
}

// TestRollbackKeepsWithConflictsBesideTheFile: both the packages and a person changed it.
func TestRollbackKeepsWithConflictsBesideTheFile(t *testing.T) {
	b := newBench(t)
	first, _ := b.twoReleases()
	b.write(b.file("etc/package.conf"), "by hand\n")
	n := b.back(first, false)
	b.holds(b.in(n, "etc/package.conf"), "by hand\n")
	b.holds(b.in(n, "etc/package.conf.txupd-"+itoa(n)), "first\n")
	if st := b.status(); len(st.EtcConflicts) != 1 || st.EtcConflicts[0].Path != "/etc/package.conf" {
		t.Errorf("status tells %+v", st.EtcConflicts)
	}
}

func TestRollbackKeepsToADescendantAndToWhatRuns(t *testing.T) {
	b := newBench(t)
	running := b.status().Booted.Number
	n := b.conflicting()
	kept := "etc/both.txupd-" + itoa(n)
	b.write(b.file("etc/later"), "l\n")
	back, err := b.u.RollbackKeepingEtc(b.Context(), update.Request{From: bus.WordBooted}, false)
	b.must(err)
	if uint64(back) != running || b.status().Pending != nil {
		t.Errorf("to what runs it made %d", back)
	}
	m := b.back(n, false)
	b.holds(b.in(m, "etc/new"), "n\n")
	b.holds(b.in(m, "etc/later"), "l\n")
	b.holds(b.in(m, kept), "package\n")
	b.lacks(b.in(n, "etc/later"))
}

func TestRollbackRefusesToKeepWhatItCannotTell(t *testing.T) {
	b := newBench(t)
	adopted := snapshot.Number(b.status().Booted.Number)
	n := b.commit("one")
	b.boot()
	_, err := b.u.Rollback(b.Context(), itoa(adopted), record.Actor{})
	b.must(err)
	b.boot()
	// It descends from what runs, but from another time of it.
	if m := b.back(n, false); b.record(m).EtcOf == "" {
		t.Error("nothing comes along into what was made from what runs")
	}
	_, err = b.u.Rollback(b.Context(), itoa(n), record.Actor{})
	b.must(err)
	b.boot()
	m := b.commit("of that")
	_, err = b.u.Rollback(b.Context(), itoa(adopted), record.Actor{})
	b.must(err)
	b.boot()
	before := b.status().Default.Number
	if _, err := b.u.RollbackKeepingEtc(b.Context(), update.Request{From: itoa(m)}, false); fault.Name(err) != "NotSupported" || !strings.Contains(err.Error(), "txupd did not make what runs") {
		t.Errorf("it was done: %v", err)
	}
	if st := b.status(); st.Default.Number != before || st.Transaction != nil {
		t.Errorf("it left %+v", st)
	}
}
