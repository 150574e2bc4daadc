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

var (
	drawnNames    = rapid.SampledFrom([]string{"a", "b", "c", "d", "a.txupd-3", "shells", "fstab", "passwd"})
	drawnLines    = rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2", "3", "4", "x", "y", ""}), 0, 6)
	drawnModes    = rapid.SampledFrom([]uint32{0o644, 0o600, 0o755, 0o4755, 0o2750})
	drawnOwners   = rapid.SampledFrom([]string{"0:0", "5:5", "0:7", "9:0"})
	drawnXattrs   = rapid.SampledFrom([]string{"", "user.a=1", "user.a=2", "user.b=1", "user.a=1 user.b=2"})
	drawnTargets  = rapid.SampledFrom([]string{"a", "../b", "/etc/c", "/nowhere"})
	drawnTimes    = rapid.SampledFrom([]int64{0, sameSecond + 1, sameSecond - 1})
	drawnKinds    = rapid.SampledFrom([]string{"file", "file", "file", "file", "dir", "dir", "link", "fifo"})
	drawnUsers    = rapid.SampledFrom([]string{"root:x:0:0::/:/s", "a:x:998:1::/:/s", "b:x:998:1::/:/s", "b:x:997:1::/:/t", "c:x:5:5::/:/s", "# c"})
	ignoringTimes = cmpopts.IgnoreFields(object{}, "mtime")
)

func drawContent(t *rapid.T, name string) string {
	if name == "passwd" {
		return strings.Join(rapid.SliceOfNDistinct(drawnUsers, 0, 4, rapid.ID).Draw(t, "users"), "\n") + "\n"
	}
	content := strings.Join(drawnLines.Draw(t, "lines"), "\n")
	switch rapid.IntRange(0, 9).Draw(t, "ends") {
	case 0:
		return content
	case 1:
		return content + "\x00\n"
	}
	return content + "\n"
}

func drawObject(t *rapid.T, name string) object {
	o := object{kind: drawnKinds.Draw(t, "kind"), owner: drawnOwners.Draw(t, "owner"), mtime: drawnTimes.Draw(t, "time")}
	switch o.kind {
	case "link":
		o.target = drawnTargets.Draw(t, "target")
		return o
	case "file":
		o.content = drawContent(t, name)
	}
	if o.mode = drawnModes.Draw(t, "mode"); o.kind != "fifo" {
		o.xattrs = drawnXattrs.Draw(t, "xattrs")
	}
	return o
}

func drawTree(t *rapid.T) testTree {
	tree := testTree{".": {kind: "dir", mode: 0o755, owner: "0:0"}}
	for range rapid.IntRange(0, 8).Draw(t, "paths") {
		tree.add(t)
	}
	return tree
}

// add puts something new in a directory of the tree.
func (tree testTree) add(t *rapid.T) {
	dir := rapid.SampledFrom(tree.paths(func(o object) bool { return o.kind == "dir" })).Draw(t, "in")
	name := drawnNames.Draw(t, "name")
	path := filepath.Join(dir, name)
	if _, ok := tree[path]; ok || strings.Count(path, "/") > 2 {
		return
	}
	files := tree.paths(func(o object) bool { return o.kind == "file" })
	if len(files) > 0 && rapid.IntRange(0, 5).Draw(t, "link") == 0 {
		first := rapid.SampledFrom(files).Draw(t, "to")
		o := tree[first]
		if o.linked == "" {
			o.linked = first
			tree[first] = o
		}
		tree[path] = o
		return
	}
	tree[path] = drawObject(t, name)
}

func (tree testTree) paths(which func(object) bool) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if which(tree[name]) {
			found = append(found, name)
		}
	}
	return found
}

// set changes an object, under all its names.
func (tree testTree) set(path string, o object) {
	first := tree[path].linked
	if first == "" {
		tree[path] = o
		return
	}
	for name, other := range tree {
		if other.linked == first {
			tree[name] = o
		}
	}
}

// cut removes a path from its links, so that it is a file of its own.
func (tree testTree) cut(path string) {
	o := tree[path]
	first := o.linked
	if first == "" {
		return
	}
	delete(tree, path)
	var rest []string
	for name, other := range tree {
		if other.linked == first {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	for _, name := range rest {
		other := tree[name]
		if other.linked = rest[0]; len(rest) == 1 {
			other.linked = ""
		}
		tree[name] = other
	}
	o.linked = ""
	tree[path] = o
}

func (tree testTree) remove(path string) {
	for name := range maps.Clone(tree) {
		if name == path || strings.HasPrefix(name, path+"/") {
			tree.cut(name)
			delete(tree, name)
		}
	}
}

// edited is a tree after a few edits.
func (tree testTree) edited(t *rapid.T) testTree {
	made := maps.Clone(tree)
	for range rapid.IntRange(0, 5).Draw(t, "edits") {
		paths := made.paths(func(object) bool { return true })
		path := rapid.SampledFrom(paths).Draw(t, "path")
		o := made[path]
		if path == "." {
			made.add(t)
			continue
		}
		switch rapid.SampledFrom([]string{"content", "content", "content", "mode", "owner", "xattrs", "remove", "replace", "add", "touch", "unlink"}).Draw(t, "edit") {
		case "content":
			if o.kind == "file" {
				o.content = drawEdit(t, filepath.Base(path), o.content)
				made.set(path, o)
			}
		case "mode":
			if o.kind != "link" {
				o.mode = drawnModes.Draw(t, "mode")
				made.set(path, o)
			}
		case "owner":
			o.owner = drawnOwners.Draw(t, "owner")
			made.set(path, o)
		case "xattrs":
			if o.kind == "file" || o.kind == "dir" {
				o.xattrs = drawnXattrs.Draw(t, "xattrs")
				made.set(path, o)
			}
		case "remove":
			made.remove(path)
		case "replace":
			made.remove(path)
			made[path] = drawObject(t, filepath.Base(path))
		case "add":
			made.add(t)
		case "touch":
			o.mtime = drawnTimes.Draw(t, "time")
			made.set(path, o)
		case "unlink":
			made.cut(path)
		}
	}
	return made
}

// drawEdit changes a line or so.
func drawEdit(t *rapid.T, name, content string) string {
	if name == "passwd" || rapid.IntRange(0, 4).Draw(t, "anew") == 0 {
		return drawContent(t, name)
	}
	lines := strings.SplitAfter(content, "\n")
	at := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		lines[at] = rapid.StringMatching("[a-z]{1,3}\n").Draw(t, "text")
	case 1:
		lines = slices.Insert(lines, at, rapid.StringMatching("[a-z]{1,3}\n").Draw(t, "text"))
	default:
		lines = slices.Delete(lines, at, at+1)
	}
	return strings.Join(lines, "")
}

// bench is where one drawn merge is done, again and again.
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

		// Where one side did nothing, the result is the other one.
		same := l.make(a)
		merge(ancestor, same, theirs)
		if d := differ(l.read(same), wasT); d != "" {
			rt.Fatalf("the snapshot changed nothing, and the result is not the running side:\n%s", d)
		}
		same = l.make(o)
		merge(ancestor, same, ancestor)
		if d := differ(l.read(same), wasO); d != "" {
			rt.Fatalf("the running side changed nothing, and the result is not the snapshot:\n%s", d)
		}
	})
}

// checkNothingLost: what a side wrote is at its place or beside it.
func checkNothingLost(rt *rapid.T, a, o, t, result testTree) {
	for name, was := range t {
		if was.kind == "file" && a[name].content != was.content && !holds(result[name], was, a[name]) {
			rt.Fatalf("%s of the running side is lost: %q, the result is %q", name, was.content, result[name].content)
		}
		if was.kind == "link" && a[name] != was && result[name].target != was.target {
			rt.Fatalf("the link %s of the running side is lost", name)
		}
	}
	for name, was := range o {
		if was.kind != "file" || a[name].kind == "file" && a[name].content == was.content || filepath.Base(name) == "passwd" {
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
	for name := range maps.Keys(maps.Collect(union2(running, result))) {
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

func union2(x, y testTree) func(func(string, bool) bool) {
	return func(yield func(string, bool) bool) {
		for _, tree := range []testTree{x, y} {
			for name := range tree {
				if !yield(name, true) {
					return
				}
			}
		}
	}
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
	rapid.Check(t, func(rt *rapid.T) {
		defer l.clear()
		a := drawTree(rt)
		dirs := []string{l.make(a), l.make(a.edited(rt)), l.make(a.edited(rt))}
		before := stamps(t, dirs)
		l.with(dirs[0], dirs[1], dirs[2], func(trees Trees) {
			if _, err := New(rt.Context(), trees, testOptions); err != nil {
				rt.Fatal(err)
			}
		})
		if d := cmp.Diff(before, stamps(t, dirs)); d != "" {
			rt.Fatalf("planning left traces:\n%s", d)
		}
	})
}

// stamps are all times of all files, access times among them.
func stamps(t *testing.T, dirs []string) map[string][3]unix.Timespec {
	all := map[string][3]unix.Timespec{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil {
				err = unix.Lstat(path, &st)
			}
			all[path] = [3]unix.Timespec{st.Atim, st.Mtim, st.Ctim}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
