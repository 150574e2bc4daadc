package update

import (
	"path/filepath"
	"testing"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
)

func upgraded(name, version string) record.PackageChange {
	return record.PackageChange{Name: name, Arch: "all", Change: record.Upgraded, Old: "1", New: version}
}

// TestWhatWentBadIsNotTakenAgain: until something of it changes, whatever comes with it.
func TestWhatWentBadIsNotTakenAgain(t *testing.T) {
	j, err := journal.Open(filepath.Join(t.TempDir(), "journal.db"), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	put := func(n uint64, v record.Verdict, p record.Phase, changes ...record.PackageChange) {
		t.Helper()
		rec := record.Record{Number: n, Phase: p, Verdict: v, PackageChanges: changes}
		if err := j.Update(func(tx *journal.Tx) error { return tx.Put("committed", nil, rec) }); err != nil {
			t.Fatal(err)
		}
	}
	put(3, record.Bad, record.Committed, upgraded("kernel", "2"), upgraded("library", "7"))
	put(4, record.Good, record.Committed, upgraded("tool", "2"))
	put(5, record.Bad, record.Committed) // a configuration that went bad
	put(6, record.Untried, record.Failed, upgraded("editor", "2"))
	gone := upgraded("firewall", "")
	gone.Change = record.Removed
	put(7, record.Bad, record.Committed, gone)
	u := New(Deps{Journal: j})
	for _, c := range []struct {
		what    string
		changes []record.PackageChange
		want    uint64 // 0 is none
	}{
		{"the same", []record.PackageChange{upgraded("library", "7"), upgraded("kernel", "2")}, 3},
		{"with more", []record.PackageChange{upgraded("library", "7"), upgraded("kernel", "2"), upgraded("tool", "3")}, 3},
		{"a fix of one", []record.PackageChange{upgraded("library", "8"), upgraded("kernel", "2")}, 0},
		{"one of them alone", []record.PackageChange{upgraded("kernel", "2")}, 0},
		{"what was good", []record.PackageChange{upgraded("tool", "2")}, 0},
		{"what failed before it was there", []record.PackageChange{upgraded("editor", "2")}, 0},
		{"what goes", []record.PackageChange{gone}, 7},
		{"what went, in a new version", []record.PackageChange{upgraded("firewall", "2")}, 0},
		{"nothing", nil, 0},
	} {
		got, err := u.wentBad(c.changes)
		if err != nil || (got == nil) != (c.want == 0) || got != nil && *got != c.want {
			t.Errorf("%s: held for %v (%v), want %d", c.what, got, err, c.want)
		}
	}
	n := uint64(3)
	if words := autoWarnings(&bus.Auto{Result: bus.AutoHeld, HeldFor: &n}); len(words) != 1 {
		t.Errorf("of what is held the status says %q", words)
	}
}
