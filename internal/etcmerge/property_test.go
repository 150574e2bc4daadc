package etcmerge

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/internal/testbed"
)

// The laws of the merge, on real trees on btrfs: owners, attributes and links included.

var ignoringTimes = cmpopts.IgnoreFields(object{}, "mtime")

// laboratory is where drawn merges are done, again and again.
type laboratory struct {
	t     *testing.T
	dir   string
	count int
}

func (l *laboratory) make(tree testTree) string {
	l.count++
	at := filepath.Join(l.dir, fmt.Sprint(l.count))
	if err := os.Mkdir(at, 0o755); err != nil {
		l.t.Fatal(err)
	}
	tree.write(l.t, at)
	return at
}

func (l *laboratory) clear() {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(l.dir, e.Name())); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *laboratory) open(dir string) *os.File {
	f, err := Open(l.dir, filepath.Base(dir))
	if err != nil {
		l.t.Fatal(err)
	}
	return f
}

// with opens three directories for a while.
func (l *laboratory) with(a, o, t string, do func(Trees)) {
	trees := Trees{l.open(a), l.open(o), l.open(t)}
	defer trees.Ancestor.Close()
	defer trees.Ours.Close()
	defer trees.Theirs.Close()
	do(trees)
}

func (l *laboratory) read(dir string) testTree { return readTree(l.t, dir) }

func differ(got, want testTree) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(object{}), ignoringTimes)
}

func newLaboratory(t *testing.T) *laboratory {
	testbed.NeedRoot(t)
	dir := filepath.Join(testbed.Loop(t, 256), "trees")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &laboratory{t: t, dir: dir}
}

var testOptions = Options{Number: 7, Disposable: true}

func TestLaws(t *testing.T) {
	l := newLaboratory(t)
	rapid.Check(t, func(rt *rapid.T) {
		defer l.clear()
		a := drawTree(rt)
		o, th := a.edited(rt), a.edited(rt)
		ancestor, ours, theirs := l.make(a), l.make(o), l.make(th)
		wasA, wasO, wasT := l.read(ancestor), l.read(ours), l.read(theirs)
		merge := func(a, o, t string) *Plan {
			var plan *Plan
			l.with(a, o, t, func(trees Trees) {
				var err error
				if plan, err = Merge(rt.Context(), trees, testOptions); err != nil {
					rt.Fatal(err)
				}
			})
			return plan
		}
		plan := merge(ancestor, ours, theirs)
		result := l.read(ours)

		if again := merge(ancestor, ours, theirs); !again.Empty() {
			rt.Fatalf("merging twice changes something: %s", said(again.Decisions))
		}
		if next := merge(theirs, ours, theirs); !next.Empty() {
			rt.Fatalf("merging with nothing new changes something: %s", said(next.Decisions))
		}
		if d := differ(l.read(ancestor), wasA) + differ(l.read(theirs), wasT); d != "" {
			rt.Fatalf("another tree than the target was changed:\n%s", d)
		}
		checkNothingLost(rt, wasA, wasO, wasT, result)
		checkChanges(rt, plan, wasT, result)

		// Who knows what the running side did gets the same; who knows what both did, all that changes too.
		for _, suspects := range [][]string{differing(wasA, wasT), differing(wasA, wasO, wasT)} {
			known := l.make(o)
			l.with(ancestor, known, theirs, func(trees Trees) {
				opts := testOptions
				opts.Suspects = suspects
				less, err := Merge(rt.Context(), trees, opts)
				if err != nil {
					rt.Fatal(err)
				}
				if d := cmp.Diff(said(plan.Decisions), said(less.Decisions)); d != "" {
					rt.Fatalf("with the paths that differ other things are decided:\n%s", d)
				}
				plan = less
			})
			if d := differ(l.read(known), result); d != "" {
				rt.Fatalf("with the paths that differ the result is another:\n%s", d)
			}
		}
		checkChanges(rt, plan, wasT, result)

		// Where one side did nothing, the result is the other one.
		same := l.make(a)
		merge(ancestor, same, theirs)
		if d := differ(l.read(same), wasT); d != "" {
			rt.Fatalf("the snapshot changed nothing, and the result is not the running side:\n%s", d)
		}
		if wasO["machine-id"] != wasA["machine-id"] {
			return // which is as it runs all the same
		}
		same = l.make(o)
		merge(ancestor, same, ancestor)
		if d := differ(l.read(same), wasO); d != "" {
			rt.Fatalf("the running side changed nothing, and the result is not the snapshot:\n%s", d)
		}
	})
}

// differing are the paths that are not the same in all trees.
func differing(trees ...testTree) []string {
	found := []string{}
	for _, name := range allPaths(trees...) {
		for _, tree := range trees[1:] {
			if tree[name] != trees[0][name] {
				found = append(found, name)
				break
			}
		}
	}
	return found
}

// checkNothingLost: what a side wrote is at its place or beside it.
func checkNothingLost(rt *rapid.T, a, o, t, result testTree) {
	for name, was := range t {
		if was.kind == "file" && a[name].content != was.content && !holds(result[name], was, a[name]) {
			rt.Fatalf("%s of the running side is lost: %q, the result is %q", name, was.content, result[name].content)
		}
		if was.kind == "link" && a[name].target != was.target && result[name].target != was.target {
			rt.Fatalf("the link %s of the running side is lost", name)
		}
	}
	for name, was := range o {
		if was.kind != "file" || a[name].kind == "file" && a[name].content == was.content || filepath.Base(name) == "passwd" || name == "machine-id" {
			continue
		}
		found := holds(result[name], was, a[name])
		for other, now := range result {
			found = found || isBeside(other, name) && holds(now, was, a[name])
		}
		if !found {
			rt.Fatalf("%s of the snapshot is lost: %q, the result is %q", name, was.content, result[name].content)
		}
	}
}

// holds reports whether what was written, against what was there before, is in an object.
func holds(now, written, before object) bool {
	if now.kind != "file" {
		return false
	}
	if now.content == written.content {
		return true
	}
	old := strings.Split(before.content, "\n")
	lines := strings.Split(now.content, "\n")
	for _, line := range strings.Split(written.content, "\n") {
		if !slices.Contains(old, line) && !slices.Contains(lines, line) {
			return false
		}
	}
	return true
}

// isBeside reports whether other is the path with one part kept aside.
func isBeside(other, path string) bool {
	have, want := strings.Split(other, "/"), strings.Split(path, "/")
	if len(have) != len(want) {
		return false
	}
	beside := 0
	for i := range have {
		if have[i] == want[i] {
			continue
		}
		base, number, ok := asideOf(have[i])
		if of, _, again := asideOf(want[i]); again {
			want[i] = of
		}
		if !ok || number != 7 || base != want[i] {
			return false
		}
		beside++
	}
	return beside == 1
}

// checkChanges: what the plan says of the reboot is the difference of the trees.
func checkChanges(rt *rapid.T, plan *Plan, running, result testTree) {
	said := map[string]string{}
	for _, c := range plan.Changes {
		said[c.Path] = c.Change
	}
	for _, name := range allPaths(running, result) {
		was, is := running[name], result[name]
		was.linked, is.linked, was.mtime, is.mtime = "", "", 0, 0
		want := ""
		switch {
		case was.kind == is.kind && was != is:
			want = "modified"
		case was.kind == "":
			want = "added"
		case is.kind == "":
			want = "removed"
		case was.kind != is.kind:
			want = "type"
		}
		if said[name] != want && !strings.Contains(name, asideMark) {
			rt.Fatalf("%s: the plan says %q, it is %q", name, said[name], want)
		}
	}
}

// allPaths are those of several trees, each once.
func allPaths(trees ...testTree) []string {
	var all []string
	for _, tree := range trees {
		all = slices.AppendSeq(all, maps.Keys(tree))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

var errNoSpace = errors.New("no space, as it were")

func TestInterruptedOrFailedMergeLeavesTheTargetAsItWas(t *testing.T) {
	l := newLaboratory(t)
	rapid.Check(t, func(rt *rapid.T) {
		defer l.clear()
		a := drawTree(rt)
		o, th := a.edited(rt), a.edited(rt)
		ancestor, theirs, reference := l.make(a), l.make(th), l.make(o)
		var moments []string
		run := func(target string, hook func(string) error) (err error) {
			l.with(ancestor, target, theirs, func(trees Trees) {
				if _, err = Recover(rt.Context(), trees.Ours); err != nil {
					return
				}
				var plan *Plan
				if plan, err = New(rt.Context(), trees, testOptions); err == nil {
					plan.hook = hook
					err = plan.Apply(rt.Context())
				}
			})
			return err
		}
		if err := run(reference, func(moment string) error { moments = append(moments, moment); return nil }); err != nil {
			rt.Fatal(err)
		}
		want := l.read(reference)
		if len(moments) == 0 {
			return
		}
		at := rapid.IntRange(0, len(moments)-1).Draw(rt, "moment")
		why := rapid.SampledFrom([]error{errInterrupted, errNoSpace}).Draw(rt, "why")
		target := l.make(o)
		was := l.read(target)
		stop := func(moment string) error {
			if moment == moments[at] {
				return why
			}
			return nil
		}
		err := run(target, stop)
		if !errors.Is(err, why) && moments[at] != "clear" {
			rt.Fatalf("at %s: %v", moments[at], err)
		}
		now := l.read(target)
		checkNothingTorn(rt, moments[at], now, was, want)
		if why == errInterrupted || moments[at] == "clear" {
			if rapid.Bool().Draw(rt, "interrupted again") {
				interruptRecovery(rt, l, target, rapid.IntRange(0, 6).Draw(rt, "undone steps"))
			}
			l.with(ancestor, target, theirs, func(trees Trees) {
				if _, err := Recover(rt.Context(), trees.Ours); err != nil {
					rt.Fatal(err)
				}
			})
			now = l.read(target)
		}
		if moments[at] == "clear" { // it was done by then
			was = want
		}
		if d := differ(now, was); d != "" {
			rt.Fatalf("after %v at %s the target is not as it was:\n%s", why, moments[at], d)
		}
		if err := run(target, nil); err != nil {
			rt.Fatal(err)
		}
		if d := differ(l.read(target), want); d != "" {
			rt.Fatalf("after %v at %s and another merge the result is another:\n%s", why, moments[at], d)
		}
	})
}

// interruptRecovery undoes only some of the steps, as a second power cut would.
func interruptRecovery(rt *rapid.T, l *laboratory, target string, count int) {
	dir := l.open(target)
	defer dir.Close()
	tg, err := targetOf(dir)
	if err != nil {
		rt.Fatal(err)
	}
	defer tg.close()
	steps, err := readJournal(tg)
	if err != nil {
		rt.Fatal(err)
	}
	for i, o := range slices.Backward(steps) {
		if len(steps)-i > count {
			return
		}
		if err := o.undo(tg); err != nil {
			rt.Fatal(err)
		}
	}
}

// checkNothingTorn: at every moment a file is what it was or what it will be.
func checkNothingTorn(rt *rapid.T, moment string, now, was, want testTree) {
	for name, is := range now {
		if strings.HasPrefix(name, stageDir) || is.kind != "file" {
			continue
		}
		if is.content != was[name].content && is.content != want[name].content {
			rt.Fatalf("at %s %s is neither old nor new: %q", moment, name, is.content)
		}
	}
	for name, w := range want {
		if is, ok := now[name]; was[name].kind == "file" && w.kind == "file" && (!ok || is.kind != "file") {
			rt.Fatalf("at %s %s is missing", moment, name)
		}
	}
}

func TestPlanningWritesNothing(t *testing.T) {
	l := newLaboratory(t)
	testbed.Run(t, "mount", "-o", "remount,strictatime", filepath.Dir(l.dir)) // where reading is writing
	rapid.Check(t, func(rt *rapid.T) {
		defer l.clear()
		a := drawTree(rt)
		o, th := a.edited(rt), a.edited(rt)
		dirs := []string{l.make(a), l.make(o), l.make(th)}
		var paths []string
		for i, tree := range []testTree{a, o, th} {
			for _, name := range allPaths(tree) {
				paths = append(paths, filepath.Join(dirs[i], name))
			}
		}
		before := stamps(t, paths)
		l.with(dirs[0], dirs[1], dirs[2], func(trees Trees) {
			if _, err := New(rt.Context(), trees, testOptions); err != nil {
				rt.Fatal(err)
			}
		})
		if d := cmp.Diff(before, stamps(t, paths)); d != "" {
			rt.Fatalf("planning left traces:\n%s", d)
		}
	})
}

// stamps are all times of files, access times among them, which looking does not change.
func stamps(t *testing.T, paths []string) map[string][3]unix.Timespec {
	all := map[string][3]unix.Timespec{}
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		all[path] = [3]unix.Timespec{st.Atim, st.Mtim, st.Ctim}
	}
	return all
}
