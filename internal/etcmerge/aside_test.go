package etcmerge

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// tree makes one directory.
func oneTree(t *testing.T, tree testTree) (*os.File, string) {
	t.Helper()
	testbed.NeedRoot(t)
	dir := t.TempDir()
	at := filepath.Join(dir, "etc")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	tree.write(t, at)
	f, err := Open(dir, "etc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, at
}

func with(o object, change func(*object)) object {
	change(&o)
	return o
}

func TestResolve(t *testing.T) {
	executable := func(o *object) { o.mode = 0o755 }
	noted := func(o *object) { o.xattrs = modeNote + "=0755" }
	link := object{kind: "link", owner: "0:0", target: "x"}
	for name, c := range map[string]struct {
		tree   testTree
		choice Outcome
		want   testTree
	}{
		"theirs": {testTree{"c": file("t"), "c.txupd-7": file("o")}, Theirs, testTree{"c": file("t")}},
		"ours":   {testTree{"c": file("t"), "c.txupd-7": file("o")}, Ours, testTree{"c": file("o")}},
		"ours, with the rights that were merged": {
			testTree{"c": with(file("t"), executable), "c.txupd-7": with(file("o"), noted)}, Ours,
			testTree{"c": with(file("o"), executable)},
		},
		"ours, of a file that was removed": {
			testTree{"c.txupd-7": with(file("o"), noted)}, Ours, testTree{"c": with(file("o"), executable)},
		},
		"theirs, of a file that was removed": {testTree{"c.txupd-7": file("o"), "k": file("")}, Theirs, testTree{"k": file("")}},
		"ours, a link":                       {testTree{"c": file("t"), "c.txupd-7": link}, Ours, testTree{"c": link}},
		"ours, a directory":                  {testTree{"c": file("t"), "c.txupd-7/x/y": file("o")}, Ours, testTree{"c/x/y": file("o")}},
		"ours, a file for a directory":       {testTree{"c/x/y": file("t"), "c.txupd-7": file("o")}, Ours, testTree{"c": file("o")}},
		"theirs, a directory":                {testTree{"c": file("t"), "c.txupd-7/x/y": file("o")}, Theirs, testTree{"c": file("t")}},
		"ours, of a file that nobody can change": {
			testTree{"c": with(file("t"), func(o *object) { o.flags = "i" }), "c.txupd-7": file("o")}, Ours,
			testTree{"c": with(file("o"), func(o *object) { o.flags = "i" })},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, at := oneTree(t, c.tree)
			want := c.want.resolved()
			for above := range want {
				for d := filepath.Dir(above); d != "."; d = filepath.Dir(d) {
					want[d] = object{kind: "dir", mode: 0o755, owner: "0:0"}
				}
			}
			for _, moment := range []string{"step 0", "step 1", "done"} {
				before := readTree(t, at)
				if err := resolveInterrupted(t, dir, "c.txupd-7", c.choice, moment); err == nil {
					break // it has not as many steps
				}
				if _, err := Recover(t.Context(), dir); err != nil {
					t.Fatal(err)
				}
				compareTrees(t, readTree(t, at), before)
			}
			if _, left := readTree(t, at)["c.txupd-7"]; left {
				if err := Resolve(t.Context(), dir, "c.txupd-7", c.choice); err != nil {
					t.Fatal(err)
				}
			}
			compareTrees(t, readTree(t, at), want.complete())
		})
	}
}

func resolveInterrupted(t *testing.T, dir *os.File, aside string, choice Outcome, moment string) error {
	return resolveAside(t.Context(), dir, aside, settlement{choice: choice}, func(now string) error {
		if now == moment {
			return errInterrupted
		}
		return nil
	})
}

func TestResolveRefuses(t *testing.T) {
	dir, at := oneTree(t, testTree{"c": file("t"), "c.txupd-7": file("o"), "d/e.txupd-7": file("o")})
	before := readTree(t, at)
	for _, c := range []struct {
		aside  string
		choice Outcome
	}{{"c", Ours}, {"c.txupd-8", Ours}, {"c.txupd-7", Merged}, {"../etc/c.txupd-7", Ours}, {"c.txupd-", Theirs}, {"x/c.txupd-7", Theirs}, {"", Theirs}} {
		if err := Resolve(t.Context(), dir, c.aside, c.choice); err == nil {
			t.Errorf("%q was resolved to %s", c.aside, c.choice)
		}
	}
	compareTrees(t, readTree(t, at), before)
}

func TestAsidesAreFound(t *testing.T) {
	dir, _ := oneTree(t, testTree{
		"c": file("t"), "c.txupd-7": file("o"), "c.txupd-12.1": file("o"), "d/e/f.txupd-3/g.txupd-4": file("x"),
		".txupd-7": file("no name before"), "c.txupd-x": file("no number"), "c.txupd": file("no mark"),
	})
	found, err := Asides(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Aside{{"c", "c.txupd-12.1", 12}, {"c", "c.txupd-7", 7}, {"d/e/f", "d/e/f.txupd-3", 3}}
	if d := cmp.Diff(want, found); d != "" {
		t.Error(d)
	}
}

func TestContents(t *testing.T) {
	trees, _ := threeTrees(t, t.TempDir(),
		testTree{"merged": file("1\nx\n2\n"), "conflict": file("a"), "gone": file("a"), "same": file("s"), "d/here": file("a")},
		testTree{"merged": file("1\nx\n22\n"), "conflict": file("o"), "gone": file("a"), "same": file("s"), "d/here": file("o")},
		testTree{"merged": file("11\nx\n2\n"), "conflict": file("t"), "same": file("s"), "d/here": file("a"), "new": file("n")})
	plan, err := New(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{
		"merged": {"11\nx\n2\n", "11\nx\n22\n"}, "conflict": {"t", "t"}, "conflict.txupd-7": {"", "o"}, "gone": {"", ""},
		"same": {"s", "s"}, "d/here": {"a", "o"}, "new": {"n", "n"}, "d": {"", ""},
	} {
		running, result, err := plan.Contents(path)
		if err != nil || string(running) != want[0] || string(result) != want[1] {
			t.Errorf("%s: %q → %q, %v; want %q", path, running, result, err, want)
		}
	}
	for _, path := range []string{"", "nothing", "d/nothing", "nothing/here", "conflict.txupd-8"} {
		if _, _, err := plan.Contents(path); err == nil {
			t.Errorf("there is something at %q", path)
		}
	}
}

func TestReown(t *testing.T) {
	testbed.NeedRoot(t)
	owned := func(owner string) object { return with(file("x"), func(o *object) { o.owner = owner }) }
	was := testTree{"var/orphan": owned("998:0"), "usr/old": owned("0:998"), "etc/passwd": file("x")}
	is := testTree{
		"var/orphan": owned("998:0"), "usr/old": owned("0:998"), "etc/passwd": owned("998:998"),
		"var/lib/new":    with(owned("998:998"), func(o *object) { o.mode = 0o4750 }),
		"var/lib/other":  owned("997:998"),
		"var/lib/l":      {kind: "link", owner: "998:0", target: "/etc/passwd"},
		"var/lib/p":      {kind: "fifo", owner: "998:0", mode: 0o600},
		"var/lib/d":      {kind: "dir", owner: "998:998", mode: 0o2700},
		"usr/bin/helper": with(owned("998:0"), func(o *object) { o.xattrs = "security.capability=0x0100000200200000000000000000000000000000" }),
	}
	top := testbed.Loop(t, 256)
	base, root := filepath.Join(top, "base"), filepath.Join(top, "root")
	testbed.Run(t, "btrfs", "subvolume", "create", base)
	was.write(t, base)
	testbed.Run(t, "btrfs", "subvolume", "snapshot", base, root)
	fresh := testTree{}
	for name, o := range is {
		if _, ok := was[name]; !ok {
			fresh[name] = o
		}
	}
	if err := os.Mkdir(filepath.Join(root, "var/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, o := range fresh {
		only := testTree{filepath.Base(name): o}
		only.write(t, filepath.Join(root, filepath.Dir(name)))
	}
	if err := os.Chown(filepath.Join(root, "etc/passwd"), 998, 998); err != nil {
		t.Fatal(err)
	}
	open := func(name string) *os.File {
		f, err := Open(top, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	renumbered := []Renumber{{"uid", "a", 998, 999, 1}, {"gid", "a", 998, 999, 1}, {"subuid", "a", 997, 5, 1}}
	n, err := Reown(t.Context(), open("root"), open("base"), renumbered, func(path string) bool { return path == "etc" })
	if err != nil {
		t.Fatal(err)
	}
	if n != 6 {
		t.Errorf("%d files changed hands, want 6", n)
	}
	got := readTree(t, root)
	for name, want := range map[string]object{
		"var/orphan": is["var/orphan"], "usr/old": is["usr/old"], "etc/passwd": is["etc/passwd"],
		"var/lib/new":    with(is["var/lib/new"], func(o *object) { o.owner = "999:999" }),
		"var/lib/other":  with(is["var/lib/other"], func(o *object) { o.owner = "997:999" }),
		"var/lib/l":      with(is["var/lib/l"], func(o *object) { o.owner = "999:0" }),
		"var/lib/p":      with(is["var/lib/p"], func(o *object) { o.owner = "999:0" }),
		"var/lib/d":      with(is["var/lib/d"], func(o *object) { o.owner = "999:999" }),
		"usr/bin/helper": with(is["usr/bin/helper"], func(o *object) { o.owner = "999:0" }),
	} {
		if d := cmp.Diff(want, got[name], cmp.AllowUnexported(object{}), ignoringTimes); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// A package gives its data directory, where a tree of its own is mounted, to its user.
func TestReownTheTreesOwnDirectory(t *testing.T) {
	testbed.NeedRoot(t)
	top := testbed.Loop(t, 256)
	renumbered := []Renumber{{"uid", "a", 998, 999, 1}, {"gid", "a", 998, 999, 1}}
	for name, test := range map[string]struct{ below, upper, want [2]int }{
		"given to a new user":    {[2]int{0, 0}, [2]int{998, 998}, [2]int{999, 999}},
		"somebody's before":      {[2]int{998, 0}, [2]int{998, 998}, [2]int{998, 999}},
		"not of one that is new": {[2]int{0, 0}, [2]int{0, 997}, [2]int{0, 997}},
	} {
		open := func(side string, owner [2]int) *os.File {
			dir := filepath.Join(top, name+side)
			err := errors.Join(os.Mkdir(dir, 0o750), os.Chown(dir, owner[0], owner[1]))
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}
		below, upper := open("below", test.below), open("upper", test.upper)
		if _, err := ReownUpper(t.Context(), upper, below, renumbered); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(upper.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if got := [2]int{int(st.Uid), int(st.Gid)}; got != test.want || st.Mode&0o7777 != 0o750 {
			t.Errorf("%s: it belongs to %v with mode %o, want %v", name, got, st.Mode, test.want)
		}
	}
}
