// What is told of the running /etc and a pending one, on a real btrfs.

package update_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// file is a path of the running system.
func (b *bench) file(name string) string { return filepath.Join(b.root, name) }

// in is a path of a snapshot.
func (b *bench) in(n snapshot.Number, name string) string {
	b.Helper()
	dir, err := b.u.Store.Locate(b.identity(n))
	b.must(err)
	return filepath.Join(dir, name)
}

func (b *bench) write(path, text string) { b.Helper(); b.must(os.WriteFile(path, []byte(text), 0o644)) }

func (b *bench) holds(path, want string) {
	b.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		b.Errorf("%s holds %q (%v), want %q", path, got, err, want)
	}
}

func (b *bench) lacks(path string) {
	b.Helper()
	if _, err := os.Lstat(path); err == nil {
		b.Errorf("%s is there", path)
	}
}

// edited commits a snapshot, named by its parent, in which work was done.
func (b *bench) edited(q update.Request, o update.CommitOptions, work func(n snapshot.Number)) (*update.Transaction, error) {
	b.Helper()
	q.Kind = update.KindBegin
	t, err := b.u.Begin(b.Context(), q)
	b.must(err)
	work(t.Number())
	if err := t.Commit(o); err != nil {
		return t, err
	}
	<-b.ended
	return t, t.State().Failure
}

// conflicting makes a pending snapshot with a conflict about /etc/both, a merge of /etc/merged and an edit that came along.
func (b *bench) conflicting() snapshot.Number {
	b.Helper()
	b.write(b.file("etc/both"), "one\n")
	b.write(b.file("etc/merged"), "1\n2\n3\n4\n5\n")
	t, err := b.edited(update.Request{Message: "of the package"}, update.CommitOptions{}, func(n snapshot.Number) {
		b.write(b.in(n, "etc/both"), "package\n")
		b.write(b.in(n, "etc/merged"), "1\n2\n3\n4\nFIVE\n")
		b.write(b.in(n, "etc/new"), "n\n")
		b.write(b.file("etc/both"), "running\n")
		b.write(b.file("etc/by-hand"), "mine\n")
	})
	b.must(err)
	return t.Number()
}

func changesOf(all []bus.EtcChange) []string {
	var words []string
	for _, c := range all {
		words = append(words, c.Change+" "+c.Path)
	}
	return words
}

func decided(all []record.EtcDecision) []string {
	var words []string
	for _, d := range all {
		words = append(words, d.Decision+" "+d.Path)
	}
	return words
}

func TestEtcTellsWhatARebootWillDo(t *testing.T) {
	b := newBench(t)
	doc, err := b.u.Etc(b.Context(), "")
	b.must(err)
	if doc.Snapshot != nil || len(doc.Reboot) > 0 {
		t.Errorf("where nothing is pending it tells %+v", doc)
	}
	n := b.conflicting()
	name := ".txupd-" + itoa(n)
	b.write(b.file("etc/merged"), "ONE\n2\n3\n4\n5\n")
	b.must(os.Remove(b.file("etc/by-hand")))
	subvolumes, err := b.u.Driver.List(b.root)
	b.must(err)
	doc, err = b.u.Etc(b.Context(), "")
	b.must(err)
	if doc.Snapshot == nil || *doc.Snapshot != uint64(n) || !doc.BootsNext || !doc.Merged {
		t.Errorf("it tells of %+v", doc)
	}
	for what, c := range map[string]struct{ want, got []string }{
		"differences": {[]string{"added /etc/both" + name, "added /etc/by-hand", "modified /etc/merged", "added /etc/new"}, changesOf(doc.Differences)},
		"plan":        {[]string{"theirs /etc/by-hand", "merged /etc/merged"}, decided(doc.Plan)},
		"reboot":      {[]string{"added /etc/both" + name, "modified /etc/merged", "added /etc/new"}, changesOf(doc.Reboot)},
		"decisions":   {[]string{"conflict /etc/both", "theirs /etc/by-hand"}, decided(doc.Decisions)},
	} {
		if d := cmp.Diff(c.want, c.got); d != "" {
			t.Errorf("%s:\n%s", what, d)
		}
	}
	want := []bus.EtcConflict{{Path: "/etc/both", Kept: "/etc/both" + name, Version: uint64(n), Snapshot: uint64(n)}}
	if d := cmp.Diff(want, doc.Conflicts); d != "" || len(doc.RunningConflicts) > 0 {
		t.Errorf("%s%v", d, doc.RunningConflicts)
	}
	diff, err := b.u.EtcDiff(b.Context(), update.EtcDiffRequest{Paths: []string{"/etc/m*", "/etc/by-hand"}, Context: 1})
	b.must(err)
	if len(diff.Patches) != 1 || diff.Patches[0].Text != "@@ -4,2 +4,2 @@\n 4\n-5\n+FIVE\n" {
		t.Errorf("what a reboot does to them: %+v", diff.Patches)
	}
	diff, err = b.u.EtcDiff(b.Context(), update.EtcDiffRequest{Paths: []string{"/etc/merged"}, Now: true})
	b.must(err)
	if len(diff.Patches) != 1 || !strings.Contains(diff.Patches[0].Text, "-ONE\n+1\n") {
		t.Errorf("how they differ now: %+v", diff.Patches)
	}
	// Asking left nothing.
	after, err := b.u.Driver.List(b.root)
	b.must(err)
	if len(after) != len(subvolumes) {
		t.Errorf("%d subvolumes after it, %d before", len(after), len(subvolumes))
	}
	b.holds(b.in(n, "etc/merged"), "1\n2\n3\n4\nFIVE\n")
	if _, err := b.u.EtcDiff(b.Context(), update.EtcDiffRequest{Paths: []string{"/usr"}}); fault.Name(err) != "InvalidArgument" {
		t.Errorf("a path elsewhere: %v", err)
	}
}

// TestEtcIsToldWhileATransactionIsAtWork: who asks waits for nobody.
func TestEtcIsToldWhileATransactionIsAtWork(t *testing.T) {
	b := newBench(t)
	n := b.conflicting()
	open, err := b.u.Begin(b.Context(), update.Request{Kind: update.KindBegin})
	b.must(err)
	doc, err := b.u.Etc(b.Context(), "")
	b.must(err)
	if doc.Snapshot == nil || *doc.Snapshot != uint64(n) || len(doc.Conflicts) != 1 {
		t.Errorf("it tells %+v", doc)
	}
	b.must(open.Discard(b.Context()))
}

func TestEtcOfAnotherLineIsNotMerged(t *testing.T) {
	b := newBench(t)
	old := b.commit("one")
	b.boot()
	b.commit("two")
	b.boot()
	b.write(b.file("etc/by-hand"), "mine\n")
	_, err := b.u.Rollback(b.Context(), itoa(old), record.Actor{})
	b.must(err)
	doc, err := b.u.Etc(b.Context(), "")
	b.must(err)
	if doc.Merged || !strings.Contains(doc.Why, "--etc=keep") || !slices.Contains(changesOf(doc.Reboot), "removed /etc/by-hand") {
		t.Errorf("it tells %+v", doc)
	}
}

func itoa(n snapshot.Number) string { return strconv.FormatUint(uint64(n), 10) }
