package etcmerge

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestDifferencesAskNoRule(t *testing.T) {
	trees, _ := threeTrees(t, t.TempDir(), testTree{},
		testTree{"same": file("s"), "machine-id": file("o"), "d/here": file("o"), "mode": with(file("x"), func(o *object) { o.mode = 0o600 }), "kind": {kind: "link", owner: "0:0", target: "x"}},
		testTree{"same": file("s"), "machine-id": file("t"), "gone/x": file("t"), "mode": file("x"), "kind": file("x")})
	found, err := Differences(t.Context(), trees.Theirs, trees.Ours)
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{
		{Path: "d", Change: "added"}, {Path: "d/here", Change: "added"}, {Path: "gone", Change: "removed"}, {Path: "gone/x", Change: "removed"},
		{Path: "kind", Change: "type"}, {Path: "machine-id", Change: "modified", What: []What{Content}}, {Path: "mode", Change: "modified", What: []What{Mode}},
	}
	if d := cmp.Diff(want, found); d != "" {
		t.Error(d)
	}
}

func TestFactsAreThoseOfTheResult(t *testing.T) {
	trees, _ := threeTrees(t, t.TempDir(),
		testTree{"merged": file("1\nx\n2\n"), "conflict": file("a"), "gone": file("a"), "same": file("s")},
		testTree{"merged": file("1\nx\n222\n"), "conflict": with(file("oo"), func(o *object) { o.mode = 0o755 }), "gone": file("a"), "same": file("s"), "l": {kind: "link", owner: "0:0", target: "x"}},
		testTree{"merged": file("111\nx\n2\n"), "conflict": file("t"), "same": with(file("s"), func(o *object) { o.owner = "7:8" })})
	plan, err := New(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	regular := func(size int64) *Facts { return &Facts{Kind: unix.S_IFREG, Mode: 0o644, Size: size} }
	executable := &Facts{Kind: unix.S_IFREG, Mode: 0o755, Size: 1} // the mode is merged apart from the content
	owned := &Facts{Kind: unix.S_IFREG, Mode: 0o644, UID: 7, GID: 8, Size: 1}
	for path, want := range map[string][2]*Facts{
		"merged": {regular(8), regular(10)}, "conflict": {regular(1), executable}, "conflict.txupd-7": {nil, regular(2)},
		"gone": {nil, nil}, "same": {owned, owned}, "l": {nil, {Kind: unix.S_IFLNK, Mode: 0o777, Target: "x"}},
	} {
		running, result, err := plan.Facts(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, [2]*Facts{running, result}); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	if _, _, err := plan.Facts("nothing"); err == nil {
		t.Error("there are facts about nothing")
	}
}

func TestResolveToAContent(t *testing.T) {
	private := func(o *object) { o.mode, o.owner = 0o640, "5:6" }
	for name, c := range map[string]struct{ tree, want testTree }{
		"both are there": {
			testTree{"c": with(file("t"), private), "c.txupd-7": file("o")}, testTree{"c": with(file("new"), private)},
		},
		"the file was removed": {
			testTree{"c.txupd-7": with(file("o"), func(o *object) { o.xattrs = modeNote + "=0755" })},
			testTree{"c": with(file("new"), func(o *object) { o.mode = 0o755 })},
		},
		"nobody can change it": {
			testTree{"c": with(file("t"), func(o *object) { o.flags = "i" }), "c.txupd-7": file("o")},
			testTree{"c": with(file("new"), func(o *object) { o.flags = "i" })},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, at := oneTree(t, c.tree)
			before := readTree(t, at)
			to := settlement{choice: Merged, content: []byte("new")}
			for _, moment := range []string{"prepare", "journal", "step 0", "step 1", "step 2", "done"} {
				err := resolveAside(t.Context(), dir, "c.txupd-7", to, func(now string) error {
					if now == moment {
						return errInterrupted
					}
					return nil
				})
				if err == nil {
					break // it has not as many steps
				}
				if _, err := Recover(t.Context(), dir); err != nil {
					t.Fatal(err)
				}
				compareTrees(t, readTree(t, at), before)
			}
			if _, left := readTree(t, at)["c.txupd-7"]; left {
				if err := ResolveTo(t.Context(), dir, "c.txupd-7", to.content); err != nil {
					t.Fatal(err)
				}
			}
			compareTrees(t, readTree(t, at), c.want.resolved().complete())
		})
	}
	dir, at := oneTree(t, testTree{"c": {kind: "link", owner: "0:0", target: "x"}, "c.txupd-7": file("o")})
	before := readTree(t, at)
	if err := ResolveTo(t.Context(), dir, "c.txupd-7", []byte("new")); err == nil {
		t.Error("a content took the place of a link")
	}
	compareTrees(t, readTree(t, at), before)
}
