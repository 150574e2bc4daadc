// Questions about the past, against a comparison by brute force: every image of
// every snapshot is read as a whole, and nothing of ours but the paths is used.

package update_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// image is everything that is in a tree, by path: the type, and all the rest.
type image map[string][2]string

// photograph reads a whole tree.
func photograph(t *testing.T, dir string) image {
	t.Helper()
	found := image{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		content := ""
		switch {
		case info.Mode().IsRegular():
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(raw)
		case info.Mode()&fs.ModeSymlink != 0:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		name := strings.TrimPrefix(path, dir)
		if name == "" {
			name = "/"
		}
		found[name] = [2]string{info.Mode().Type().String(), fmt.Sprintf("%o %d %d %s", st.Mode, st.Uid, st.Gid, content)}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// bruteForce compares two photographs.
func bruteForce(before, after image) []record.FileChange {
	paths := map[string]bool{}
	for p := range before {
		paths[p] = true
	}
	for p := range after {
		paths[p] = true
	}
	changes := []record.FileChange{}
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		b, was := before[p]
		a, is := after[p]
		change := ""
		switch {
		case !was:
			change = record.Added
		case !is:
			change = record.Removed
		case b[0] != a[0]:
			change = record.TypeChange
		case b != a:
			change = record.Modified
		}
		if change != "" {
			changes = append(changes, record.FileChange{Path: p, Change: change})
		}
	}
	return changes
}

// scribble makes some random edits below dir.
func scribble(t *testing.T, r *rand.Rand, dir string) {
	t.Helper()
	name := func() string {
		return filepath.Join(dir, []string{"etc", "usr", "usr/share"}[r.IntN(3)], []string{"a", "b", "c", "d/e", "d/f", "d/g/h"}[r.IntN(6)])
	}
	for range 1 + r.IntN(4) {
		path, other := name(), name()
		var err error
		switch r.IntN(8) {
		case 0, 1, 2:
			if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
				err = os.WriteFile(path, []byte(fmt.Sprintf("line one\nline %d\n", r.IntN(3))), 0o644)
			}
		case 3:
			err = os.RemoveAll(path)
		case 4:
			err = os.Rename(path, other)
		case 5:
			err = os.Chmod(path, []fs.FileMode{0o600, 0o755}[r.IntN(2)])
		case 6:
			_ = os.Remove(path)
			err = os.Symlink("/etc/hostname", path)
		case 7:
			err = os.RemoveAll(filepath.Dir(path) + "/d")
		}
		_ = err // what does not fit what is there is no edit
	}
}

// made makes a snapshot from another with some edits; false where they came to nothing.
func (b *bench) made(from string, edit func(dir string)) (snapshot.Number, bool) {
	b.Helper()
	t, err := b.u.Begin(b.Context(), update.Request{Kind: update.KindBegin, From: from, Message: "made from " + from, Actor: record.Actor{UID: 1000, Name: "anna"}})
	b.must(err)
	edit(b.u.Store.Path(t.Number(), snapshot.RoleSnapshot))
	b.must(t.Commit(update.CommitOptions{}))
	<-b.ended
	switch s := t.State(); {
	case s.Phase == record.Committed:
		return t.Number(), true
	case !s.Unchanged:
		b.Fatalf("the transaction ended as %s: %v", s.Phase, s.Failure)
	}
	return 0, false
}

func sorted(files []record.FileChange) []record.FileChange {
	files = append([]record.FileChange{}, files...)
	slices.SortFunc(files, func(a, b record.FileChange) int { return strings.Compare(a.Path, b.Path) })
	return files
}

func TestHundredTransactionsAgreeWithBruteForce(t *testing.T) {
	b := newBench(t)
	b.config.GC.Automatic = false
	r := rand.New(rand.NewPCG(4, 8))
	type done struct {
		parent  snapshot.Number
		changes []record.FileChange
	}
	all := map[snapshot.Number]done{}
	images := map[snapshot.Number]image{}
	numbers := []snapshot.Number{}
	for len(numbers) < 100 {
		from := "booted"
		var parent snapshot.Number
		if len(numbers) > 0 && r.IntN(20) > 0 {
			parent = numbers[len(numbers)-1]
			if r.IntN(4) == 0 {
				parent = numbers[r.IntN(len(numbers))]
			}
			from = fmt.Sprint(parent)
		}
		n, ok := b.made(from, func(dir string) { scribble(t, r, dir) })
		if !ok {
			continue
		}
		before, after := photograph(t, b.u.Store.Path(n, snapshot.RoleBase)), photograph(t, b.u.Store.Path(n, snapshot.RoleAfter))
		if parent != 0 && len(bruteForce(images[parent], before)) > 0 {
			t.Errorf("%d does not start from what %d was", n, parent)
		}
		numbers, images[n], all[n] = append(numbers, n), after, done{parent, bruteForce(before, after)}
	}
	for _, n := range numbers {
		rec := b.record(n)
		if diff := cmp.Diff(all[n].changes, sorted(rec.FileChanges)); diff != "" {
			t.Errorf("show %d: -brute force +recorded:\n%s", n, diff)
		}
		if rec.Files != record.CountFiles(all[n].changes) {
			t.Errorf("show %d counts %+v", n, rec.Files)
		}
	}
	for _, subject := range []string{"/", "/etc", "/etc/a", "/usr/share/d", "/usr/**/h", "/etc/[ab]", "/usr/*/c", "/nothing"} {
		p, err := journal.ParsePattern(subject)
		b.must(err)
		var want []string
		for _, n := range slices.Backward(numbers) {
			for _, c := range all[n].changes {
				if p.Match(c.Path) {
					want = append(want, fmt.Sprint(n, c.Change, c.Path))
				}
			}
		}
		doc, err := b.u.Blame(subject, 0)
		b.must(err)
		var got []string
		for _, c := range doc.Changes {
			got = append(got, fmt.Sprint(c.Number, c.Change, c.Path))
		}
		if diff := cmp.Diff(want, got); diff != "" || !doc.Complete {
			t.Errorf("blame %s: -want +got:\n%s", subject, diff)
		}
		limited, err := b.u.Blame(subject, 3)
		b.must(err)
		of := map[uint64]bool{}
		for _, c := range limited.Changes {
			of[c.Number] = true
		}
		if len(of) > 3 || len(limited.Changes) > 0 && limited.Changes[0].Number != doc.Changes[0].Number || limited.Complete != (len(limited.Changes) == len(doc.Changes)) {
			t.Errorf("blame %s of three transactions: %d, complete %v", subject, len(of), limited.Complete)
		}
		log, err := b.u.Records(update.LogRequest{Path: subject})
		b.must(err)
		var logged []uint64
		for _, rec := range log {
			logged = append(logged, rec.Number)
		}
		var blamed []uint64
		for _, c := range doc.Changes {
			if len(blamed) == 0 || blamed[len(blamed)-1] != c.Number {
				blamed = append(blamed, c.Number)
			}
		}
		if !slices.Equal(logged, blamed) {
			t.Errorf("log --path %s: %v, blame says %v", subject, logged, blamed)
		}
	}
	recorded, compared := 0, 0
	for range 200 {
		from, to := numbers[r.IntN(len(numbers))], numbers[r.IntN(len(numbers))]
		if r.IntN(3) == 0 && all[to].parent != 0 {
			from = all[to].parent
		}
		if r.IntN(2) == 0 {
			from, to = to, from
		}
		doc, err := b.u.Diff(b.Context(), update.DiffRequest{From: fmt.Sprint(from), To: fmt.Sprint(to)})
		b.must(err)
		want := bruteForce(images[from], images[to])
		if diff := cmp.Diff(want, sorted(doc.Files)); diff != "" {
			t.Errorf("diff %d %d (recorded: %v): -brute force +got:\n%s", from, to, doc.Recorded, diff)
		}
		if doc.FileCounts != record.CountFiles(want) {
			t.Errorf("diff %d %d counts %+v", from, to, doc.FileCounts)
		}
		if doc.Recorded {
			recorded++
		} else {
			compared++
		}
	}
	if recorded < 20 || compared < 20 {
		t.Errorf("%d answered by records, %d by comparing: one way is hardly tested", recorded, compared)
	}
	b.verified()
	b.nothingLeft()
}

// verified expects the journal to be sound.
func (b *bench) verified() {
	b.Helper()
	doc, err := b.u.Verify(b.Context(), nil)
	b.must(err)
	if !doc.OK {
		b.Errorf("the journal is not sound: %+v", doc.Problems)
	}
}

// nothingLeft expects that no image that was made for a comparison is left.
func (b *bench) nothingLeft() {
	b.Helper()
	orphans, err := b.u.Store.Orphans()
	if err != nil || len(orphans) > 0 {
		b.Errorf("left behind: %+v, %v", orphans, err)
	}
}

func TestDiffOfWhatIsWrittenAfterTheCommit(t *testing.T) {
	b := newBench(t)
	write := func(dir, name, text string) {
		t.Helper()
		b.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	one, _ := b.made("booted", func(dir string) { write(dir, "etc/motd", "hello\nworld\n") })
	b.boot()
	write(b.root, "etc/motd", "hello\nthere\n")
	write(b.root, "etc/by-hand", "mine\n")
	two, _ := b.made("", func(dir string) { write(dir, "usr/two", "2") })
	three, _ := b.made("", func(dir string) { write(dir, "usr/three", "3") })
	diff := func(q update.DiffRequest) bus.Diff {
		t.Helper()
		doc, err := b.u.Diff(t.Context(), q)
		b.must(err)
		return doc
	}
	paths := func(doc bus.Diff) (all []string) {
		for _, f := range sorted(doc.Files) {
			all = append(all, f.Change+" "+f.Path)
		}
		return all
	}
	since := diff(update.DiffRequest{From: fmt.Sprint(one), To: fmt.Sprint(one), Now: true, Patch: true, Context: 1})
	if want := []string{"added /etc/by-hand", "modified /etc/motd"}; !slices.Equal(paths(since), want) {
		t.Errorf("since its commit: %q", paths(since))
	}
	if p := since.Patches; len(p) != 2 || p[0].Text != "@@ -0,0 +1 @@\n+mine\n" || p[1].Text != "@@ -1,2 +1,2 @@\n hello\n-world\n+there\n" {
		t.Errorf("patches %+v", p)
	}
	// What hands did before the next one was made is in both: two transactions are between.
	if doc := diff(update.DiffRequest{}); doc.From != uint64(one) || doc.To != uint64(three) || !slices.Equal(paths(doc), []string{"added /usr/three", "added /usr/two"}) {
		t.Errorf("what runs and what is pending: %d → %d %q", doc.From, doc.To, paths(doc))
	}
	if doc := diff(update.DiffRequest{From: fmt.Sprint(two), To: "booted"}); !doc.Recorded || !slices.Equal(paths(doc), []string{"removed /usr/two"}) {
		t.Errorf("backwards: %+v", doc)
	}
	if doc := diff(update.DiffRequest{From: fmt.Sprint(two), To: "booted", Patch: true}); len(doc.Patches) != 1 || doc.Patches[0].After != nil {
		t.Errorf("backwards, with contents: %+v", doc.Patches)
	}
	if doc := diff(update.DiffRequest{From: "base", To: fmt.Sprint(two), Paths: []string{"/etc"}}); len(doc.Files) != 0 || doc.From != uint64(one) {
		t.Errorf("what %d did in /etc: %+v", two, doc)
	}
	// What is written to the running root after all that is only there now.
	write(b.root, "etc/later", "x")
	if doc := diff(update.DiffRequest{From: "booted", To: fmt.Sprint(two), Now: true}); !slices.Equal(paths(doc), []string{"removed /etc/later", "added /usr/two"}) {
		t.Errorf("now: %q", paths(doc))
	}
	// Of what is deleted the records still tell.
	r, err := b.u.Rollback(t.Context(), fmt.Sprint(one), record.Actor{})
	b.must(err)
	if r != one {
		t.Fatalf("rolled back to %d", r)
	}
	b.must(b.u.Delete(t.Context(), three, record.Actor{}))
	if doc := diff(update.DiffRequest{From: fmt.Sprint(two), To: fmt.Sprint(three)}); !doc.Recorded || !slices.Equal(paths(doc), []string{"added /usr/three"}) {
		t.Errorf("with a deleted one: %+v", doc)
	}
	for what, q := range map[string]update.DiffRequest{
		"a deleted one, from afar":      {From: fmt.Sprint(one), To: fmt.Sprint(three)},
		"contents of a deleted one":     {From: "base", To: fmt.Sprint(three), Patch: true},
		"one that never was":            {From: "77"},
		"no pending one":                {},
		"what the first was made from":  {From: "base", To: "0"},
		"a deleted one, as it is now":   {From: "booted", To: fmt.Sprint(three), Now: true},
		"the deleted one with its base": {From: "base", To: fmt.Sprint(three), Patch: true},
	} {
		if doc, err := b.u.Diff(t.Context(), q); !errors.Is(err, fault.ErrNotFound) {
			t.Errorf("%s: %v %+v", what, err, doc)
		}
	}
	if _, err := b.u.Diff(t.Context(), update.DiffRequest{From: "booted", To: "booted", Paths: []string{"etc"}}); !errors.Is(err, fault.ErrInvalidArgument) {
		t.Errorf("a relative path: %v", err)
	}
	b.nothingLeft()
}

func TestLogConditionsSelect(t *testing.T) {
	b := newBench(t)
	touch := func(name string) func(string) {
		return func(dir string) { b.must(os.WriteFile(filepath.Join(dir, "usr", name), []byte(name), 0o644)) }
	}
	before := time.Now()
	one, _ := b.made("booted", touch("one"))
	two, _ := b.made("", touch("two"))
	three, _ := b.made("", touch("three"))
	failed, err := b.u.Begin(t.Context(), update.Request{Kind: update.KindBegin, Message: "the PRINTER breaks", Tags: []string{"later"}, Actor: record.Actor{UID: 7, Name: "bea", Login: "carla", Unit: "x.service"}})
	b.must(err)
	b.must(failed.Discard(t.Context()))
	<-b.ended
	b.must(b.u.Annotate(two, update.Annotation{Note: "it broke the printer"}, record.Actor{Name: "dora"}))
	b.must(b.u.Annotate(one, update.Annotation{AddTags: []string{"x", "later"}}, record.Actor{}))
	_, err = b.u.Rollback(t.Context(), fmt.Sprint(two), record.Actor{})
	b.must(err)
	b.must(b.u.Delete(t.Context(), three, record.Actor{}))
	four := failed.Number()
	for what, c := range map[string]struct {
		q    update.LogRequest
		want []snapshot.Number
	}{
		"everything":        {update.LogRequest{}, []snapshot.Number{four, three, two, one, 0}},
		"two":               {update.LogRequest{Limit: 2}, []snapshot.Number{four, three}},
		"actor by name":     {update.LogRequest{Actor: "bea"}, []snapshot.Number{four}},
		"actor by login":    {update.LogRequest{Actor: "carla"}, []snapshot.Number{four}},
		"actor by uid":      {update.LogRequest{Actor: "1000", Limit: 2}, []snapshot.Number{three, two}},
		"actor by unit":     {update.LogRequest{Actor: "x.service"}, []snapshot.Number{four}},
		"discarded":         {update.LogRequest{State: "discarded"}, []snapshot.Number{four}},
		"deleted":           {update.LogRequest{State: "deleted"}, []snapshot.Number{three}},
		"committed":         {update.LogRequest{State: "committed"}, []snapshot.Number{two, one, 0}},
		"good":              {update.LogRequest{State: "good"}, []snapshot.Number{0}},
		"untried":           {update.LogRequest{State: "untried"}, []snapshot.Number{two, one}},
		"failed":            {update.LogRequest{State: "failed"}, nil},
		"tag":               {update.LogRequest{Tag: "later"}, []snapshot.Number{four, one}},
		"text":              {update.LogRequest{Text: "Printer"}, []snapshot.Number{four, two}},
		"text and actor":    {update.LogRequest{Text: "Printer", Actor: "anna"}, []snapshot.Number{two}},
		"path":              {update.LogRequest{Path: "/usr/t*"}, []snapshot.Number{three, two}},
		"path and state":    {update.LogRequest{Path: "/usr", State: "untried", Limit: 1}, []snapshot.Number{two}},
		"package":           {update.LogRequest{Package: "none"}, nil},
		"since":             {update.LogRequest{Since: before}, []snapshot.Number{four, three, two, one}},
		"until":             {update.LogRequest{Until: before}, []snapshot.Number{0}},
		"path in no time":   {update.LogRequest{Path: "/usr", Until: before}, nil},
		"since the future":  {update.LogRequest{Since: time.Now().Add(time.Hour)}, nil},
		"a part of a state": {update.LogRequest{State: "bad"}, nil},
	} {
		recs, err := b.u.Records(c.q)
		b.must(err)
		var got []snapshot.Number
		for _, rec := range recs {
			got = append(got, snapshot.Number(rec.Number))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	for _, q := range []update.LogRequest{{State: "fine"}, {Path: "etc"}} {
		if _, err := b.u.Records(q); !errors.Is(err, fault.ErrInvalidArgument) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	for _, brief := range []bool{false, true} {
		recs, err := b.u.Records(update.LogRequest{State: "good", Brief: brief})
		b.must(err)
		if len(recs) != 1 || (len(recs[0].Boots) == 0) != brief || recs[0].Boots == nil {
			t.Errorf("brief %v: %+v", brief, recs)
		}
	}
	tree, err := b.u.Tree()
	b.must(err)
	var got []string
	for _, s := range tree.Snapshots {
		got = append(got, fmt.Sprint(s.Number, s.Deleted != nil))
	}
	if want := []string{"0 false", fmt.Sprint(one, false), fmt.Sprint(two, false)}; !slices.Equal(got, want) {
		t.Errorf("tree %q, want %q", got, want)
	}
}

func TestTreeKeepsDeletedOnesThatConnect(t *testing.T) {
	b := newBench(t)
	one := b.commit("one")
	two := b.commit("two")
	b.must(b.u.Delete(t.Context(), one, record.Actor{}))
	tree, err := b.u.Tree()
	b.must(err)
	if len(tree.Snapshots) != 3 || tree.Snapshots[1].Number != uint64(one) || tree.Snapshots[1].Deleted == nil || tree.Snapshots[2].Number != uint64(two) {
		t.Errorf("%+v", tree.Snapshots)
	}
}

func TestAnnotations(t *testing.T) {
	b := newBench(t)
	n := b.commit("first")
	actor := record.Actor{UID: 1000, Name: "anna"}
	yes, no := true, false
	b.must(b.u.Annotate(n, update.Annotation{Note: "broken"}, actor))
	b.must(b.u.Annotate(n, update.Annotation{AddTags: []string{"a", "b", "a"}}, actor))
	b.must(b.u.Annotate(n, update.Annotation{DropTags: []string{"a"}, AddTags: []string{"c"}}, actor))
	b.must(b.u.Annotate(n, update.Annotation{Pin: &yes}, actor))
	rec := b.record(n)
	if len(rec.Notes) != 1 || rec.Notes[0].Text != "broken" || rec.Notes[0].Actor != actor || !slices.Equal(rec.Tags, []string{"b", "c"}) || !rec.Pinned {
		t.Errorf("%+v %v %v", rec.Notes, rec.Tags, rec.Pinned)
	}
	if err := b.u.Annotate(n, update.Annotation{DropTags: []string{"z"}}, actor); !errors.Is(err, fault.ErrNotFound) || !strings.Contains(err.Error(), `"z"`) {
		t.Errorf("a tag that is not there: %v", err)
	}
	if err := b.u.Annotate(n+1, update.Annotation{Note: "x"}, actor); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("a snapshot that is not there: %v", err)
	}
	var many []string
	for i := range 64 {
		many = append(many, fmt.Sprint(i))
	}
	if err := b.u.Annotate(n, update.Annotation{AddTags: many}, actor); !errors.Is(err, fault.ErrInvalidArgument) {
		t.Errorf("too many tags: %v", err)
	}
	_, err := b.u.Rollback(t.Context(), "booted", actor)
	b.must(err)
	if err := b.u.Delete(t.Context(), n, actor); !errors.Is(err, fault.ErrProtected) {
		t.Errorf("a pinned one was deleted: %v", err)
	}
	// An open transaction takes notes too, and its commit keeps them.
	open, err := b.u.Begin(t.Context(), update.Request{Kind: update.KindBegin, Tags: []string{"t"}})
	b.must(err)
	b.must(b.u.Annotate(open.Number(), update.Annotation{Note: "while it is open", DropTags: []string{"t"}, Pin: &yes}, actor))
	b.must(os.WriteFile(filepath.Join(b.u.Store.Path(open.Number(), snapshot.RoleSnapshot), "usr/x"), nil, 0o644))
	b.must(open.Commit(update.CommitOptions{}))
	<-b.ended
	if rec := b.record(open.Number()); len(rec.Notes) != 1 || len(rec.Tags) != 0 || !rec.Pinned || rec.Phase != record.Committed {
		t.Errorf("%+v", rec)
	}
	// They survive the loss of the journal: they stand beside the snapshots.
	b.u.Close()
	b.must(b.journal.Close())
	b.u = nil
	state, err := filepath.Glob(filepath.Join(b.root, ".snapshots/.txupd/journal.db"))
	b.must(err)
	b.must(os.Remove(state[0]))
	b.start()
	for _, number := range []snapshot.Number{n, open.Number()} {
		if rec := b.record(number); len(rec.Notes) != 1 || !rec.Pinned {
			t.Errorf("%d was rebuilt as %+v", number, rec)
		}
	}
	b.must(b.u.Annotate(n, update.Annotation{Pin: &no}, actor))
	b.must(b.u.Delete(t.Context(), n, actor))
	if err := b.u.Annotate(n, update.Annotation{Pin: &yes}, actor); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("a deleted one was pinned: %v", err)
	}
	b.must(b.u.Annotate(n, update.Annotation{Note: "gone, and not missed"}, actor))
	b.verified()
}

func TestVerifySaysWhatPrintedHeadsProve(t *testing.T) {
	b := newBench(t)
	var said bytes.Buffer
	b.u.Log = slog.New(slog.NewTextHandler(&said, nil))
	n := b.commit("first")
	head := func() (h journal.Head) {
		b.must(b.journal.View(func(tx *journal.Tx) (err error) {
			h, err = tx.Head()
			return err
		}))
		return h
	}
	first := head()
	if line := fmt.Sprintf("msg=%q journal=%s seq=%d hash=%s\n", update.HeadMessage, first.Journal, first.Seq, first.Hash); strings.Count(said.String(), line) != 1 {
		t.Errorf("the head %+v was not printed once:\n%s", first, said.String())
	}
	b.must(b.u.Annotate(n, update.Annotation{Note: "x"}, record.Actor{}))
	second := head()
	if !strings.Contains(said.String(), second.Hash) {
		t.Errorf("a note does not print the head:\n%s", said.String())
	}
	forged, other := first, journal.Head{Journal: "another", Seq: 3, Hash: first.Hash}
	forged.Hash = second.Hash
	for what, c := range map[string]struct {
		heads    []journal.Head
		err      error
		none     bool // nothing reads the system journal
		kept     *journal.Head
		ok       bool
		covered  uint64
		unproven string
	}{
		"nothing is read":       {none: true, ok: true, unproven: "cannot be read"},
		"it cannot be read":     {err: errors.New("no"), ok: true, unproven: "cannot be read"},
		"it holds none":         {ok: true, unproven: "no head of this journal"},
		"an older one":          {heads: []journal.Head{first}, ok: true, covered: first.Seq, unproven: fmt.Sprintf("events after %d", first.Seq)},
		"all of them":           {heads: []journal.Head{first, second}, ok: true, covered: second.Seq, unproven: "root can change both"},
		"one that is not there": {heads: []journal.Head{forged, second}, covered: second.Seq, unproven: "root can"},
		"one of another":        {heads: []journal.Head{other, second}, ok: true, covered: second.Seq, unproven: "took the place of"},
		"a kept one":            {none: true, kept: &second, ok: true, covered: second.Seq, unproven: "cannot be read"},
		"a kept one, forged":    {none: true, kept: &forged, unproven: "cannot be read"},
	} {
		b.u.Heads = func(context.Context) ([]journal.Head, error) { return c.heads, c.err }
		if c.none {
			b.u.Heads = nil
		}
		doc, err := b.u.Verify(t.Context(), c.kept)
		b.must(err)
		if doc.OK != c.ok || doc.Covered != c.covered || doc.Seq != second.Seq || !strings.Contains(strings.Join(doc.Unproven, "\n"), c.unproven) {
			t.Errorf("%s: %+v", what, doc)
		}
		if !c.ok && (len(doc.Problems) != 1 || doc.Problems[0].Seq != first.Seq) {
			t.Errorf("%s: the event is not named: %+v", what, doc.Problems)
		}
	}
}
