// What is told of the running /etc and a pending one, on a real btrfs.

package update_test

import (
	"encoding/json"
	"fmt"
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
	"github.com/txupd/txupd/pkg/journal"
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

// TestWhatIsForeseenHeedsTheConfiguration: the same rules as in the merge.
func TestWhatIsForeseenHeedsTheConfiguration(t *testing.T) {
	b := newBench(t)
	b.config.Etc.Whole = []string{"merged"}
	b.conflicting()
	b.write(b.file("etc/merged"), "ONE\n2\n3\n4\n5\n")
	doc, err := b.u.Etc(b.Context(), "")
	b.must(err)
	if words := decided(doc.Plan); len(words) != 1 || words[0] != "conflict /etc/merged" {
		t.Errorf("the plan is %q", words)
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

// settle settles the conflict about a path.
func (b *bench) settle(q update.ResolveRequest) bus.EtcResolved {
	b.Helper()
	q.Actor = record.Actor{UID: 7, Name: "anna"}
	doc, err := b.u.ResolveEtc(b.Context(), q)
	b.must(err)
	return doc
}

func TestConflictsAreSettledInThePendingSnapshot(t *testing.T) {
	for choice, want := range map[string]string{bus.ChoiceOurs: "package\n", bus.ChoiceTheirs: "running\n", bus.ChoiceEdited: "of both\n"} {
		t.Run(choice, func(t *testing.T) {
			b := newBench(t)
			n := b.conflicting()
			kept := "/etc/both.txupd-" + itoa(n)
			st := b.status()
			if len(st.EtcConflicts) != 1 || st.EtcConflicts[0].Kept != kept || !slices.ContainsFunc(st.Warnings, func(w string) bool { return strings.Contains(w, "1 conflict that nobody has decided: /etc/both") }) {
				t.Errorf("status tells %+v %q", st.EtcConflicts, st.Warnings)
			}
			dir := b.in(n, "")
			b.must(b.u.Driver.SetReadOnly(dir, true)) // as where roots are read-only
			q := update.ResolveRequest{Path: "/etc/both", Choice: choice}
			if choice == bus.ChoiceEdited {
				sides, err := b.u.EtcSides(b.Context(), kept, "")
				b.must(err)
				if string(sides.Theirs) != "running\n" || string(sides.Ours) != "package\n" {
					t.Errorf("the sides are %q and %q", sides.Theirs, sides.Ours)
				}
				q.Content, q.State = []byte("of both\n"), sides.State
			}
			doc := b.settle(q)
			if doc.Kept != kept || doc.Snapshot != uint64(n) || doc.Left != 0 {
				t.Errorf("it was settled as %+v", doc)
			}
			b.holds(b.in(n, "etc/both"), want)
			b.lacks(b.in(n, kept))
			b.holds(b.file("etc/both"), "running\n")
			b.holds(filepath.Join(b.u.Store.Path(n, snapshot.RoleAfter), kept), "package\n") // as it was committed
			if sv, err := b.u.Driver.Info(dir); err != nil || !sv.ReadOnly {
				t.Errorf("the snapshot is not sealed any more (%v)", err)
			}
			rows := b.record(n).EtcDecisions
			last := rows[len(rows)-1]
			if last.Path != "/etc/both" || last.Decision != choice || last.Kept != kept || last.At == nil || last.By == nil || last.By.Name != "anna" {
				t.Errorf("recorded is %+v", last)
			}
			if st := b.status(); len(st.EtcConflicts) > 0 {
				t.Errorf("status still tells %+v", st.EtcConflicts)
			}
			if _, err := b.u.ResolveEtc(b.Context(), q); fault.Name(err) != "NotFound" || !strings.Contains(err.Error(), "/etc/both") {
				t.Errorf("settled twice: %v", err)
			}
		})
	}
}

// TestConflictsFollowAndAreSettledInTheRunningEtc: into what is made from it, and through the reboot.
func TestConflictsFollowAndAreSettledInTheRunningEtc(t *testing.T) {
	b := newBench(t)
	n := b.conflicting()
	b.boot()
	if st := b.status(); len(st.EtcConflicts) != 1 || st.EtcConflicts[0].Snapshot != uint64(n) {
		t.Errorf("once it runs status tells %+v", st.EtcConflicts)
	}
	m := b.commit("more")
	if st := b.status(); len(st.EtcConflicts) != 1 || st.EtcConflicts[0].Snapshot != uint64(m) || st.EtcConflicts[0].Version != uint64(n) {
		t.Errorf("of what was made from it status tells %+v", st.EtcConflicts)
	}
	if doc := b.settle(update.ResolveRequest{Path: "/etc/both", Choice: bus.ChoiceOurs, Snapshot: bus.WordBooted}); doc.Snapshot != uint64(n) {
		t.Errorf("it was settled in %d", doc.Snapshot)
	}
	b.holds(b.file("etc/both"), "package\n")
	b.lacks(b.file("etc/both.txupd-" + itoa(n)))
	b.holds(b.in(m, "etc/both"), "running\n")
	if rows := b.record(n).EtcDecisions; rows[len(rows)-1].Decision != bus.ChoiceOurs {
		t.Errorf("recorded is %+v", rows)
	}
	if doc := b.settle(update.ResolveRequest{Path: "/etc/both", Choice: bus.ChoiceTheirs}); doc.Snapshot != uint64(m) {
		t.Errorf("without a name it was settled in %d", doc.Snapshot)
	}
}

func TestResolveRefusesWhatItCannotMean(t *testing.T) {
	b := newBench(t)
	n := b.conflicting()
	kept := "etc/both.txupd-" + itoa(n)
	b.write(b.in(n, kept+".1"), "another\n")
	for words, q := range map[string]update.ResolveRequest{
		"/etc/both.txupd-" + itoa(n) + ".1": {Path: "/etc/both", Choice: bus.ChoiceOurs},
		"/etc/merged":                       {Path: "/etc/merged", Choice: bus.ChoiceOurs},
		`"mine"`:                            {Path: "/etc/both", Choice: "mine"},
		`"/etc/../usr"`:                     {Path: "/etc/../usr", Choice: bus.ChoiceOurs},
		`"both"`:                            {Path: "both", Choice: bus.ChoiceOurs},
		"needs the state":                   {Path: "/etc/both", Choice: bus.ChoiceEdited},
		"was changed while":                 {Path: "/" + kept, Choice: bus.ChoiceEdited, State: "other"},
		"goes with choice":                  {Path: "/" + kept, Choice: bus.ChoiceOurs, Content: []byte("x")},
		"neither a number":                  {Path: "/" + kept, Choice: bus.ChoiceOurs, Snapshot: "x"},
	} {
		if _, err := b.u.ResolveEtc(b.Context(), q); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v, want %q", q, err, words)
		}
	}
	b.holds(b.in(n, "etc/both"), "running\n")
	open, err := b.u.Begin(b.Context(), update.Request{Kind: update.KindBegin})
	b.must(err)
	if _, err := b.u.ResolveEtc(b.Context(), update.ResolveRequest{Path: "/" + kept, Choice: bus.ChoiceOurs}); fault.Name(err) != "Busy" {
		t.Errorf("while a transaction is open: %v", err)
	}
	b.must(open.Discard(b.Context()))
	b.must(os.Remove(b.in(n, "etc/both")))
	b.must(os.Symlink("elsewhere", b.in(n, "etc/both")))
	if _, err := b.u.EtcSides(b.Context(), "/"+kept, ""); fault.Name(err) != "NotSupported" {
		t.Errorf("the sides of a link: %v", err)
	}
}

// TestSettlingThatWasCut is undone, or recorded where it had come to its end.
func TestSettlingThatWasCut(t *testing.T) {
	for name, done := range map[string]bool{"half-way": false, "before its record": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			n := b.conflicting()
			dir, kept := b.in(n, ""), "/etc/both.txupd-"+itoa(n)
			id, err := json.Marshal(b.identity(n))
			b.must(err)
			steps := fmt.Sprintf(`[{"kind":"resolve-etc","status":"intended","data":{"number":%d,"root":%s,"path":"/etc/both","kept":%q,"choice":"theirs","sealed":true,"actor":{"uid":7,"name":"anna"}}}]`, n, id, kept)
			b.must(b.journal.Update(func(tx *journal.Tx) error { return tx.PutSteps(uint64(n), []byte(steps)) }))
			// As the etcmerge leaves it: its directory is there, and what it moves may be in it.
			b.must(os.Mkdir(filepath.Join(dir, "etc/.txupd-merge"), 0o700))
			if done {
				b.must(os.Rename(filepath.Join(dir, "etc/.txupd-merge"), filepath.Join(dir, "etc/.txupd-merge.done")))
				b.must(os.Rename(filepath.Join(dir, kept), filepath.Join(dir, "etc/.txupd-merge.done/1")))
			}
			b.must(b.u.Resume(b.Context()))
			b.lacks(filepath.Join(dir, "etc/.txupd-merge"))
			b.lacks(filepath.Join(dir, "etc/.txupd-merge.done"))
			if sv, err := b.u.Driver.Info(dir); err != nil || !sv.ReadOnly {
				t.Errorf("the snapshot is not sealed (%v)", err)
			}
			rows := b.record(n).EtcDecisions
			if got := rows[len(rows)-1].By != nil; got != done {
				t.Errorf("recorded is %+v", rows)
			}
			if _, err := os.Lstat(filepath.Join(dir, kept)); (err != nil) != done {
				t.Errorf("what was kept: %v", err)
			}
			if !done {
				b.settle(update.ResolveRequest{Path: "/etc/both", Choice: bus.ChoiceTheirs})
			}
		})
	}
}

// TestStrictCommitsRefuseConflicts: an open transaction stays open, and can be
// committed once there is none.
func TestStrictCommitsRefuseConflicts(t *testing.T) {
	b := newBench(t)
	b.write(b.file("etc/both"), "one\n")
	b.write(b.file("etc/merged"), "1\n2\n3\n")
	var n snapshot.Number
	tr, err := b.edited(update.Request{}, update.CommitOptions{Strict: true, Message: "never"}, func(made snapshot.Number) {
		n = made
		b.write(b.in(n, "etc/both"), "package\n")
		b.write(b.file("etc/both"), "running\n")
		b.write(b.in(n, "etc/merged"), "1\n2\nTHREE\n")
		b.write(b.file("etc/merged"), "ONE\n2\n3\n")
	})
	if fault.Name(err) != "Conflicts" || fault.Exit(err) != 11 || !strings.Contains(err.Error(), "/etc/both") || strings.Contains(err.Error(), "merged") {
		t.Errorf("it was refused with %v", err)
	}
	if st := tr.State(); st.Finished || st.Phase != record.Open || st.Message == "never" {
		t.Errorf("the transaction is %+v", st)
	}
	b.holds(b.in(n, "etc/both"), "package\n")
	b.holds(b.in(n, "etc/merged"), "1\n2\nTHREE\n")
	b.write(b.in(n, "etc/both"), "one\n") // settled inside: the running side's edit comes along
	b.must(tr.Commit(update.CommitOptions{Strict: true}))
	<-b.ended
	if st := tr.State(); st.Phase != record.Committed {
		t.Errorf("then it ended as %+v", st)
	}
	b.holds(b.in(n, "etc/both"), "running\n")
	b.holds(b.in(n, "etc/merged"), "ONE\n2\nTHREE\n")
	if rec := b.record(n); len(rec.EtcDecisions) != 2 {
		t.Errorf("recorded is %+v", rec.EtcDecisions)
	}
}

// TestAConflictThatComesUpDuringAStrictCommit fails it, and nothing is left.
func TestAConflictThatComesUpDuringAStrictCommit(t *testing.T) {
	b := newBench(t)
	b.write(b.file("etc/both"), "one\n")
	before := b.status().Default.Number
	t1, err := b.edited(update.Request{Strict: true}, update.CommitOptions{}, func(n snapshot.Number) {
		b.write(b.in(n, "etc/both"), "package\n")
		b.write(b.file("etc/both"), "running\n")
	})
	if fault.Name(err) != "Conflicts" || t1.State().Phase != record.Failed {
		t.Errorf("it ended with %v", err)
	}
	if st := b.status(); st.Default.Number != before || st.Transaction != nil {
		t.Errorf("now %d boots next", st.Default.Number)
	}
	if rec := b.record(t1.Number()); rec.ErrorCode != "Conflicts" || !strings.Contains(rec.Error, "/etc/both") {
		t.Errorf("recorded is %q: %q", rec.ErrorCode, rec.Error)
	}
}
