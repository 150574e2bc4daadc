package etcmerge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// threeTrees makes directories in dir.
func threeTrees(t *testing.T, dir string, a, o, th testTree) (Trees, map[string]string) {
	t.Helper()
	testbed.NeedRoot(t)
	at := map[string]string{}
	for name, tree := range map[string]testTree{"ancestor": a, "ours": o, "theirs": th} {
		at[name] = filepath.Join(dir, name)
		if err := os.Mkdir(at[name], 0o755); err != nil {
			t.Fatal(err)
		}
		tree.write(t, at[name])
	}
	return openTrees(t, at["ancestor"], at["ours"], at["theirs"]), at
}

func file(content string) object {
	return object{kind: "file", mode: 0o644, owner: "0:0", content: content}
}

func TestTopThatIsALinkIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(dir, "etc")); err != nil {
		t.Fatal(err)
	}
	if f, err := Open(dir, "etc"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link to the machine's own /etc was opened: %v, %v", f, err)
	}
	if err := os.Symlink("/", filepath.Join(dir, "root")); err != nil {
		t.Fatal(err)
	}
	if f, err := Open(dir, "root/etc"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link on the way was followed: %v, %v", f, err)
	}
}

func TestMergeSaysWhatIsMissing(t *testing.T) {
	if _, err := New(t.Context(), Trees{}, Options{}); err == nil || !strings.Contains(err.Error(), "ancestor") {
		t.Errorf("without an ancestor: %v", err)
	}
}

// A target may turn hostile after planning, or after it was looked at; nothing leads out of it.
func TestLinkInTheTargetIsNotFollowed(t *testing.T) {
	for _, when := range []string{"before applying", "prepare", "journal", "step 0", "step 1"} {
		t.Run(when, func(t *testing.T) {
			dir := t.TempDir()
			outside := filepath.Join(dir, "outside")
			if err := os.Mkdir(outside, 0o755); err != nil {
				t.Fatal(err)
			}
			trees, at := threeTrees(t, dir, testTree{"d/a": file("1")}, testTree{"d/a": file("1")}, testTree{"d/a": file("2"), "d/b": file("new")})
			plan, err := New(t.Context(), trees, Options{Number: 7})
			if err != nil {
				t.Fatal(err)
			}
			turn := func(moment string) error {
				if moment != when {
					return nil
				}
				if err := os.Rename(filepath.Join(at["ours"], "d"), filepath.Join(at["ours"], "e")); err != nil {
					return err
				}
				return os.Symlink(outside, filepath.Join(at["ours"], "d"))
			}
			if err := turn("before applying"); err != nil {
				t.Fatal(err)
			}
			plan.hook = turn
			if err := plan.Apply(t.Context()); !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOTDIR) {
				t.Errorf("applying: %v", err)
			}
			if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
				t.Errorf("something was written outside: %v, %v", entries, err)
			}
		})
	}
}

func TestPlanOfAnotherStateIsNotApplied(t *testing.T) {
	for name, change := range map[string]func(at map[string]string) error{
		"the target was edited": func(at map[string]string) error {
			return os.WriteFile(filepath.Join(at["ours"], "c"), []byte("late"), 0o644)
		},
		"the running side was edited": func(at map[string]string) error {
			return os.WriteFile(filepath.Join(at["theirs"], "c"), []byte("late"), 0o644)
		},
		"the running side has another file there": func(at map[string]string) error {
			if err := os.Remove(filepath.Join(at["theirs"], "c")); err != nil {
				return err
			}
			return unix.Mkfifo(filepath.Join(at["theirs"], "c"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			trees, at := threeTrees(t, t.TempDir(), testTree{"c": file("a")}, testTree{"c": file("a")}, testTree{"c": file("b")})
			plan, err := New(t.Context(), trees, Options{Number: 7})
			if err != nil {
				t.Fatal(err)
			}
			if err := change(at); err != nil {
				t.Fatal(err)
			}
			before := readTree(t, at["ours"])
			if err := plan.Apply(t.Context()); !errors.Is(err, ErrChanged) {
				t.Errorf("applying: %v", err)
			}
			compareTrees(t, readTree(t, at["ours"]), before)
		})
	}
}

func TestCancelledMergeIsUndone(t *testing.T) {
	trees, at := threeTrees(t, t.TempDir(), testTree{"c": file("a")}, testTree{"c": file("a")}, testTree{"c": file("b"), "d": file("x")})
	before := readTree(t, at["ours"])
	plan, err := New(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	plan.hook = func(moment string) error {
		if moment == "step 1" {
			cancel()
		}
		return nil
	}
	if err := plan.Apply(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("applying: %v", err)
	}
	compareTrees(t, readTree(t, at["ours"]), before)
}

func TestAppliedPlanDoesNothingAgain(t *testing.T) {
	trees, at := threeTrees(t, t.TempDir(), testTree{"c": file("a")}, testTree{"c": file("a")}, testTree{"c": file("b")})
	plan, err := Merge(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at["ours"], "c"), []byte("later"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context()); err != nil {
		t.Error(err)
	}
	if got := readTree(t, at["ours"])["c"].content; got != "later" {
		t.Errorf("it was applied twice: %q", got)
	}
}

func TestUnfinishedMergeIsNotPlannedOver(t *testing.T) {
	trees, at := threeTrees(t, t.TempDir(), testTree{"c": file("a")}, testTree{"c": file("a")}, testTree{"c": file("b")})
	plan, err := New(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	plan.hook = func(moment string) error {
		if moment == "done" {
			return errInterrupted
		}
		return nil
	}
	if err := plan.Apply(t.Context()); !errors.Is(err, errInterrupted) {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), trees, Options{Number: 7}); !errors.Is(err, ErrUnfinished) {
		t.Errorf("planning over it: %v", err)
	}
	if undone, err := Recover(t.Context(), trees.Ours); !undone || err != nil {
		t.Errorf("recovering: %v, %v", undone, err)
	}
	if got := readTree(t, at["ours"])["c"].content; got != "a" {
		t.Errorf("it is not as it was: %q", got)
	}
	if undone, err := Recover(t.Context(), trees.Ours); undone || err != nil {
		t.Errorf("recovering again: %v, %v", undone, err)
	}
}

// What a package's script may leave under our name is not a journal of ours.
func TestStrangeStageIsRemovedOrRefused(t *testing.T) {
	for name, c := range map[string]struct {
		tree testTree
		ok   bool
	}{
		"a file in its place": {testTree{stageDir: file("x")}, true},
		"a link in its place": {testTree{stageDir: {kind: "link", owner: "0:0", target: "/etc"}}, true},
		"deep directories":    {testTree{stageDone + "/a/b/c/d/e/f": file("x"), stageDone + "/up1": file("x")}, true},
		"without a journal":   {testTree{stageDir + "/1": file("x")}, true},
		"with a link as one":  {testTree{journal: {kind: "link", owner: "0:0", target: "/etc/passwd"}}, false},
		"with garbage as one": {testTree{journal: file("{")}, false},
		"of another version":  {testTree{journal: file(`{"version":2}`)}, false},
		"with steps that lead out": {testTree{
			journal: file(`{"version":1,"steps":[{"do":"move","from":"eA==","to":"Li4veQ==","ino":5}]}`), // x, ../y
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			testbed.NeedRoot(t)
			dir := t.TempDir()
			at := filepath.Join(dir, "etc")
			if err := os.Mkdir(at, 0o755); err != nil {
				t.Fatal(err)
			}
			c.tree.write(t, at)
			f, err := Open(dir, "etc")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			_, err = Recover(t.Context(), f)
			if c.ok != (err == nil) {
				t.Errorf("recovering: %v", err)
			}
			if left := len(readTree(t, at)) - 1; c.ok && left > 0 {
				t.Errorf("%d paths are left", left)
			}
		})
	}
}
