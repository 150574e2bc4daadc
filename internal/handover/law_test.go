// Laws, on real overlays over real subvolumes.

package handover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/testbed"
)

// deed is one random change below a directory.
type deed struct {
	kind        string
	path, other string
	text        string
	number      int
}

var kinds = []string{
	"write", "write", "write", "append", "remove", "remove", "mkdir", "clear", "rename", "symlink", "link", "chmod", "chown", "xattr", "acl",
	"fifo", "device", "touch", "rewrite", "sparse", "wipe",
}

func genDeeds() *rapid.Generator[[]deed] {
	name := rapid.SampledFrom([]string{"a", "b", "c", "odd \xff\n:,"})
	path := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(name, 1, 3).Draw(t, "names"), "/")
	})
	one := rapid.Custom(func(t *rapid.T) deed {
		return deed{
			kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
			path: path.Draw(t, "path"), other: path.Draw(t, "other"),
			text:   rapid.SampledFrom([]string{"", "x", "yy", "some more text\n"}).Draw(t, "text"),
			number: rapid.IntRange(1, 3).Draw(t, "number"),
		}
	})
	return rapid.SliceOfN(one, 0, 12)
}

// do does it as far as it can be done; what cannot is no change.
func (d deed) do(top string) {
	file, other := filepath.Join(top, d.path), filepath.Join(top, d.other)
	switch d.kind {
	case "write":
		_ = os.MkdirAll(filepath.Dir(file), 0o755)
		overwrite(file, d.text, 0o644)
	case "append":
		if f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			_, _ = f.WriteString(d.text)
			f.Close()
		}
	case "remove":
		_ = remove(file)
	case "mkdir":
		_ = os.MkdirAll(file, 0o755)
	case "clear": // leaves an opaque directory
		if remove(file) == nil {
			_ = os.MkdirAll(file, 0o750)
		}
	case "rename": // a directory of the lower layers says EXDEV
		_ = os.MkdirAll(filepath.Dir(other), 0o755)
		_ = os.Rename(file, other)
	case "symlink":
		_ = os.Symlink(d.other, file)
	case "link":
		_ = os.Link(file, other)
	case "chmod":
		if st, err := os.Lstat(file); err == nil && st.Mode()&os.ModeSymlink == 0 {
			_ = unix.Chmod(file, []uint32{0o600, 0o4755, 0o2750}[d.number-1])
		}
	case "chown":
		_ = os.Lchown(file, d.number, d.number)
	case "xattr":
		_ = unix.Lsetxattr(file, fmt.Sprintf("trusted.test%d", d.number), []byte(d.text), 0)
	case "acl": // user::rwx, user:1:r--, group::r-x, mask::r-x, other::---
		acl := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 4, 0, 1, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}
		attribute := "system.posix_acl_access"
		if d.number == 1 {
			attribute = "system.posix_acl_default"
		}
		_ = unix.Lsetxattr(file, attribute, acl, 0)
	case "fifo":
		_ = unix.Mkfifo(file, 0o600)
	case "device": // null, zero or full: others of these deeds write to them
		_ = unix.Mknod(file, unix.S_IFCHR|0o600, int(unix.Mkdev(1, []uint32{3, 5, 7}[d.number-1])))
	case "touch":
		at := []unix.Timespec{{Sec: int64(d.number) * 1000}, {Sec: int64(d.number) * 1000, Nsec: 5}}
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, file, at, unix.AT_SYMLINK_NOFOLLOW)
	case "rewrite": // copies it up and changes nothing
		if f, err := os.OpenFile(file, os.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	case "sparse":
		overwrite(file, d.text, 0o600)
		_ = os.Truncate(file, int64(d.number)*100_000)
	case "wipe":
		names, _ := os.ReadDir(top)
		for _, n := range names {
			_ = os.RemoveAll(filepath.Join(top, n.Name()))
		}
	}
}

// remove takes no fifo for a directory, which would keep it waiting.
func remove(file string) error {
	if st, err := os.Lstat(filepath.Dir(file)); err != nil || !st.IsDir() {
		return errors.New("nothing is there")
	}
	return os.RemoveAll(file)
}

// overwrite does not wait for a reader of a fifo.
func overwrite(file, text string, mode os.FileMode) {
	if f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK, mode); err == nil {
		_, _ = f.WriteString(text)
		f.Close()
	}
}

func doAll(deeds []deed, top string) {
	for _, d := range deeds {
		d.do(top)
	}
}

// laws runs a property with a new scene directory for each draw.
func laws(t *testing.T, check func(t *rapid.T, dir string)) {
	top := testbed.Loop(t, 1024)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := filepath.Join(top, fmt.Sprint(n))
		defer func() {
			subvolumes, _ := filepath.Glob(dir + "/*")
			for _, s := range subvolumes {
				sv, err := btrfs.Driver{}.Info(s)
				must(t, err)
				must(t, btrfs.Driver{}.Delete(s, sv.ID))
			}
			must(t, os.RemoveAll(dir))
		}()
		check(t, dir)
	})
}

func drawScene(t *rapid.T, dir string) *scene {
	before := genDeeds().Draw(t, "before")
	return sceneIn(t, dir, func(live string) { doAll(before, live) })
}

// kept counts what stayed as it was on the live side.
func kept(rows []Row) (n int) {
	for _, r := range rows {
		if r.Decision == Kept {
			n++
		}
	}
	return n
}

func TestLawUnchangedLiveTreeBecomesWhatTheSandboxSaw(t *testing.T) {
	laws(t, func(t *rapid.T, dir string) {
		s := drawScene(t, dir)
		ours := genDeeds().Draw(t, "ours")
		saw := s.sandbox(t, func(view string) { doAll(ours, view) })
		listed, err := Captured(nowhere, s.captures[0])
		must(t, err)
		rows := s.give(t, 0)
		got := dump(t, s.live)
		equal(t, "the live tree is not what the sandbox saw", got, saw)
		if kept(rows) > 0 {
			t.Errorf("rows:\n%s", tell(rows))
		}
		slices.SortFunc(listed, func(a, b Row) int { return strings.Compare(a.Path, b.Path) })
		equal(t, "what was listed as captured is not what was handed over", tell(listed), tell(rows))
	})
}

func TestLawNothingChangedInTheSandbox(t *testing.T) {
	laws(t, func(t *rapid.T, dir string) {
		s := drawScene(t, dir)
		idle := genDeeds().Filter(func(deeds []deed) bool { return len(deeds) > 2 }).Draw(t, "idle")
		s.sandbox(t, func(view string) {
			for _, d := range idle {
				d.kind = "rewrite"
				d.do(view)
				d.kind = "touch"
				d.do(view)
			}
			_ = os.WriteFile(view+"/passing", nil, 0o600)
			_ = os.Remove(view + "/passing")
		})
		theirs := genDeeds().Draw(t, "theirs")
		doAll(theirs, s.live)
		before := dump(t, s.live)
		rows, err := give(nowhere, Request{Capture: s.captures[0], Live: s.live}, nil)
		must(t, err)
		if len(rows) > 0 {
			t.Errorf("rows:\n%s", tell(rows))
		}
		equal(t, "the live tree changed", dump(t, s.live), before)
	})
}

func TestLawLiveEditsAreNeverLost(t *testing.T) {
	laws(t, func(t *rapid.T, dir string) {
		s := drawScene(t, dir)
		ours, theirs := genDeeds().Draw(t, "ours"), genDeeds().Draw(t, "theirs")
		was := entries(t, s.live)
		var saw map[string]string
		s.sandbox(t, func(view string) {
			doAll(ours, view)
			saw = entries(t, view)
		})
		doAll(theirs, s.live)
		live := entries(t, s.live)
		rows := s.give(t, 0)
		now := entries(t, s.live)
		aside := map[string]string{}
		for _, r := range rows {
			if r.Aside != "" {
				aside[strings.TrimPrefix(r.Path, "/var")] = strings.TrimPrefix(r.Aside, "/var")
			}
		}
		for at, is := range live {
			if is != was[at] && now[at] != is {
				t.Errorf("the live side's %q is %q instead of %q\n%s", at, now[at], is, tell(rows))
			}
		}
		for at := range was {
			_, there := live[at]
			got, back := now[at]
			// A directory comes back for what is new in it; a file only if ours made it anew, as something else.
			if !there && back && !strings.HasPrefix(got, "04") && got == was[at] {
				t.Errorf("what the live side removed is back: %q\n%s", at, tell(rows))
			}
		}
		for at, is := range saw {
			if is == was[at] || now[at] == is || strings.HasPrefix(is, "04") {
				continue
			}
			if found := now[besidePath(at, aside)]; found != is {
				t.Errorf("ours of %q is neither there (%q) nor beside it (%q): %q\n%s", at, now[at], found, is, tell(rows))
			}
		}
	})
}

// besidePath is where something of ours is if it, or a directory that it is in, was put aside.
func besidePath(at string, aside map[string]string) string {
	for dir := at; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if to, ok := aside[dir]; ok {
			return to + strings.TrimPrefix(at, dir)
		}
	}
	return ""
}

func TestLawTwiceIsOnce(t *testing.T) {
	laws(t, func(t *rapid.T, dir string) {
		s := drawScene(t, dir)
		ours, theirs := genDeeds().Draw(t, "ours"), genDeeds().Draw(t, "theirs")
		s.sandbox(t, func(view string) { doAll(ours, view) })
		doAll(theirs, s.live)
		plan, err := Give(nowhere, Request{Capture: s.captures[0], Live: s.live, DryRun: true})
		must(t, err)
		first := s.give(t, 0)
		once := dump(t, s.live)
		second := s.give(t, 0)
		equal(t, "the second run changed the tree", dump(t, s.live), once)
		equal(t, "the second run says something else", tell(second), tell(first))
		equal(t, "the dry run said something else", tell(plan), tell(first))
	})
}

var errCut = errors.New("the power failed")

// cutAfter is a step function under which the power fails at the n-th change.
func cutAfter(n int) (step func() error, done *int) {
	done = new(int)
	return func() error {
		if *done >= n {
			return errCut
		}
		*done++
		return nil
	}, done
}

func TestLawInterruptedAnywhere(t *testing.T) {
	laws(t, func(t *rapid.T, dir string) {
		s := drawScene(t, dir)
		ours, theirs := genDeeds().Draw(t, "ours"), genDeeds().Draw(t, "theirs")
		s.sandbox(t, func(view string) { doAll(ours, view) })
		doAll(theirs, s.live)
		live := s.live
		again := func(name string) {
			s.live = filepath.Join(dir, name)
			fork(t, live, s.live, false)
		}
		again("whole")
		rows, err := give(nowhere, Request{Capture: s.captures[0], Live: s.live}, nil)
		must(t, err)
		want := dump(t, s.live)
		never, steps := cutAfter(1 << 30)
		again("counted")
		_, err = give(nowhere, Request{Capture: s.captures[0], Live: s.live}, never)
		must(t, err)

		for n := range *steps {
			again(fmt.Sprintf("cut-%d", n))
			step, _ := cutAfter(n)
			_, err := give(nowhere, Request{Capture: s.captures[0], Live: s.live}, step)
			if !errors.Is(err, errCut) {
				t.Fatalf("after %d of %d changes: %v", n, *steps, err)
			}
			got := s.give(t, 0)
			equal(t, fmt.Sprintf("the tree differs after a cut at %d of %d", n, *steps), dump(t, s.live), want)
			equal(t, fmt.Sprintf("the rows differ after a cut at %d of %d", n, *steps), tell(got), tell(rows))
		}
	})
}

func TestLawStackedCapturesGiveWhatTheLastOneSaw(t *testing.T) {
	laws(t, func(t *rapid.T, dir string) {
		s := drawScene(t, dir)
		saw := ""
		for n := range 3 {
			ours := genDeeds().Draw(t, fmt.Sprintf("ours %d", n))
			saw = s.sandbox(t, func(view string) { doAll(ours, view) })
		}
		for n := range s.captures {
			if rows := s.give(t, n); kept(rows) > 0 {
				t.Errorf("rows of %d:\n%s", n, tell(rows))
			}
		}
		equal(t, "the live tree is not what the last sandbox saw", dump(t, s.live), saw)
	})
}

func TestLawUndoGivesBack(t *testing.T) {
	laws(t, func(t *rapid.T, dir string) {
		s := drawScene(t, dir)
		for n := range 2 {
			ours := genDeeds().Draw(t, fmt.Sprintf("ours %d", n))
			s.sandbox(t, func(view string) { doAll(ours, view) })
		}
		theirs := genDeeds().Draw(t, "theirs")
		doAll(theirs, s.live)
		before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
		fork(t, s.live, before, true)
		want := dump(t, s.live)
		rows := append(s.give(t, 0), s.give(t, 1)...)
		fork(t, s.live, after, true)
		r := UndoRequest{Number: 20, Tree: "/var", Live: s.live, Before: before, After: after, Rows: rows}

		// With an edit of the live side in between, on a copy.
		edited := filepath.Join(dir, "edited")
		fork(t, s.live, edited, false)
		edits := genDeeds().Draw(t, "edits")
		doAll(edits, edited)
		handed, live := entries(t, after), entries(t, edited)
		e := r
		e.Live = edited
		said, err := Undo(nowhere, e)
		must(t, err)
		now := entries(t, edited)
		for at, is := range live {
			if is != handed[at] && now[at] != is {
				t.Errorf("the live side's %q is %q instead of %q\n%s", at, now[at], is, tell(said))
			}
		}

		said, err = Undo(nowhere, r)
		must(t, err)
		equal(t, "the live tree is not what it was\n"+tell(rows)+"undo:\n"+tell(said), dump(t, s.live), want)
		if kept(said) > 0 {
			t.Errorf("rows:\n%s", tell(said))
		}
	})
}
