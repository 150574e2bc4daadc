// The law of comparisons: what a search by generation finds is what a walk
// finds, whatever was done to the trees.

package btrfs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

// TestCompareByGenerationIsCompareByWalk makes families of snapshots at random.
// TXUPD_PROPERTY_RUNS says how many, TXUPD_PROPERTY_SEED which is the first:
// a failure prints its own.
func TestCompareByGenerationIsCompareByWalk(t *testing.T) {
	runs, seed := number(t, "TXUPD_PROPERTY_RUNS", 40), number(t, "TXUPD_PROPERTY_SEED", rand.Uint64N(1<<32))
	f := newField(t, 2048)
	for i := range runs {
		f.run(seed + i)
		if t.Failed() {
			t.Fatalf("again with TXUPD_PROPERTY_SEED=%d TXUPD_PROPERTY_RUNS=1 (or %d runs from %d)", seed+i, i+1, seed)
		}
	}
	t.Logf("seeds %d to %d: %d comparisons (%d by generation), %d changes, none missed and none invented",
		seed, seed+runs-1, f.compared, f.related, f.changes)
	if f.related*2 < f.compared {
		t.Errorf("only %d of %d comparisons were of relatives", f.related, f.compared)
	}
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", variable, text)
	}
	return n
}

// field is a file system on which families grow.
type field struct {
	t      *testing.T
	top    string
	device *os.File // keeps the loop device while nothing is mounted
	driver btrfs.Driver
	search *btrfs.Searcher

	compared, related, changes int
}

func newField(t *testing.T, sizeMiB int) *field {
	t.Helper()
	f := &field{t: t, top: testbed.Loop(t, sizeMiB), search: new(btrfs.Searcher)}
	device, err := os.Open(testbed.Device(t, f.top))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { device.Close() })
	f.device = device
	return f
}

// remount makes btrfs forget which inode number comes next.
func (f *field) remount() {
	f.t.Helper()
	if err := unix.Unmount(f.top, 0); err != nil {
		f.t.Fatalf("cannot unmount: %v", err)
	}
	testbed.Mount(f.t, f.device.Name(), f.top, "subvolid=5")
}

func (f *field) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// fork forks a tree with its subvolume "nested", if there is one, as snapshots
// are: writable first, so that the stub can be replaced.
func (f *field) fork(src, dst string, readOnly bool) {
	f.t.Helper()
	_, err := f.driver.Info(src + "/nested")
	if err != nil {
		f.check(f.driver.Fork(src, dst, readOnly))
		return
	}
	f.check(f.driver.Fork(src, dst, false))
	f.check(os.Remove(dst + "/nested"))
	f.check(f.driver.Fork(src+"/nested", dst+"/nested", readOnly))
	if readOnly {
		f.check(f.driver.SetReadOnly(dst, true))
	}
}

// run grows one family, compares some of its images, and removes it.
func (f *field) run(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := filepath.Join(f.top, fmt.Sprintf("run-%d", seed))
	f.check(os.Mkdir(dir, 0o755))
	root := dir + "/0"
	f.check(f.driver.Create(root))
	if rng.IntN(3) == 0 {
		f.check(f.driver.Create(root + "/nested"))
	}
	writable := []*editor{{t: f.t, rng: rng, root: root}}
	defer func() {
		for _, e := range writable {
			e.release()
		}
	}()
	writable[0].edit(20 + rng.IntN(40))

	var images []string
	image := func(of string) {
		path := fmt.Sprintf("%s/image%d", dir, len(images))
		f.fork(of, path, true)
		images = append(images, path)
	}
	image(root)
	for range 2 + rng.IntN(4) {
		switch rng.IntN(8) {
		case 0:
			for _, e := range writable {
				e.release()
			}
			f.remount()
		case 1:
			testbed.Run(f.t, "btrfs", "balance", "start", "-m", f.top)
		case 2, 3, 4:
			// A new line, from an image or from what is still written to.
			from := pick(rng, images)
			if rng.IntN(2) == 0 {
				from = pick(rng, writable).root
			}
			path := fmt.Sprintf("%s/%d", dir, len(writable))
			f.fork(from, path, false)
			writable = append(writable, &editor{t: f.t, rng: rng, root: path})
		}
		e := pick(rng, writable)
		e.edit(rng.IntN(12))
		image(e.root)
		if rng.IntN(2) == 0 {
			e.release()
		}
	}
	for _, e := range writable {
		e.release()
		// Sometimes an ancestor is gone when its descendants are compared.
		if rng.IntN(4) == 0 {
			f.drop(e.root)
		}
	}
	for range 4 {
		f.compare(pick(rng, images), pick(rng, images))
	}
	f.compare(images[0], images[len(images)-1])
	if f.t.Failed() {
		for _, e := range writable {
			f.t.Logf("%s:\n%s", e.root, strings.Join(e.log, "\n"))
		}
		return
	}
	f.drop(dir)
}

// drop deletes a directory with all subvolumes in it, or one of those.
func (f *field) drop(dir string) {
	f.t.Helper()
	all, err := f.driver.List(f.top)
	f.check(err)
	var paths []string
	for _, s := range all {
		if path := filepath.Join(f.top, s.Path); path == dir || strings.HasPrefix(path, dir+"/") {
			paths = append(paths, path)
			f.check(unsealed(f.driver, path, s.ReadOnly))
		}
	}
	// Longer paths first: what is inside goes first.
	for len(paths) > 0 {
		last := 0
		for i, path := range paths {
			if len(path) > len(paths[last]) {
				last = i
			}
		}
		s, err := f.driver.Info(paths[last])
		f.check(err)
		f.check(f.driver.Delete(paths[last], s.ID))
		paths = append(paths[:last], paths[last+1:]...)
	}
	f.check(os.RemoveAll(dir))
}

func unsealed(d btrfs.Driver, path string, readOnly bool) error {
	if !readOnly {
		return nil
	}
	return d.SetReadOnly(path, false)
}

func (f *field) tree(path string) snapshot.Tree {
	f.t.Helper()
	s, err := f.driver.Info(path)
	f.check(err)
	return snapshot.Tree{Dir: path, Subvolume: s}
}

// compare checks the law for one pair, and Changed with it.
func (f *field) compare(before, after string) []snapshot.Change {
	f.t.Helper()
	ctx := context.Background()
	want, err := snapshot.Walk(ctx, before, after)
	f.check(err)
	b, a := f.tree(before), f.tree(after)
	got, err := snapshot.Compare(ctx, f.search, b, a)
	f.check(err)
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("%s to %s: a walk (-) and a search (+) find\n%s", before, after, diff)
	}
	changed, err := snapshot.Changed(ctx, f.search, b, a)
	f.check(err)
	if changed != (len(want) > 0) {
		f.t.Errorf("%s to %s: Changed says %v, there are %d changes", before, after, changed, len(want))
	}
	all, err := f.driver.List(f.top)
	f.check(err)
	if _, ok := snapshot.Related(b.Subvolume, a.Subvolume, all); ok {
		f.related++
	}
	f.compared++
	f.changes += len(want)
	return got
}
