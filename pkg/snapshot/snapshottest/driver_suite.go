// What every Driver has to do.

package snapshottest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

// RunDriver runs the contract suite of snapshot.Driver. start gives each test
// a driver and the directory of an empty top level.
func RunDriver(t *testing.T, start func(t *testing.T) (snapshot.Driver, string)) {
	for name, test := range map[string]func(*testing.T, *disk){
		"InfoTellsWhatIsASubvolume":            testInfo,
		"PathsGoThroughDirectories":            testPaths,
		"PathsFollowARename":                   testRename,
		"NestedAreTheDirectOnes":               testNested,
		"ForkHasTheContentAndNotWhatIsNested":  testFork,
		"ForkRefusesWhatIsThereAndWhatIsOdd":   testForkRefuses,
		"SealedTakesNoSubvolumes":              testSealed,
		"DeleteChecksTheID":                    testDelete,
		"DeleteRefusesNestedAndDefault":        testDeleteRefuses,
		"DefaultIsWhatWasSet":                  testDefault,
		"NothingIsDoneThroughLinks":            testLinks,
		"OtherFileSystemsAreNamedForWhatIsNot": testNotBtrfs,
		"UsageAddsUp":                          testUsage,
	} {
		t.Run(name, func(t *testing.T) {
			d, top := start(t)
			test(t, &disk{TB: t, Driver: d, top: top})
		})
	}
}

// disk is a driver with helpers that fail the test.
type disk struct {
	testing.TB
	snapshot.Driver
	top string
}

func (d *disk) at(path string) string { return filepath.Join(d.top, path) }

func (d *disk) create(path string) snapshot.Subvolume {
	d.Helper()
	d.must(d.Create(d.at(path)))
	return d.info(path)
}

func (d *disk) fork(src, dst string, readOnly bool) snapshot.Subvolume {
	d.Helper()
	d.must(d.Fork(d.at(src), d.at(dst), readOnly))
	return d.info(dst)
}

func (d *disk) info(path string) snapshot.Subvolume {
	d.Helper()
	sv, err := d.Info(d.at(path))
	d.must(err)
	return sv
}

func (d *disk) mkdir(path string) {
	d.Helper()
	d.must(os.MkdirAll(d.at(path), 0o755))
}

func (d *disk) write(path, text string) {
	d.Helper()
	d.must(os.WriteFile(d.at(path), []byte(text), 0o644))
}

func (d *disk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// wants checks that err is want, and that it is said with a reason.
func (d *disk) wants(err, want error) {
	d.Helper()
	if !errors.Is(err, want) {
		d.Errorf("got error %v, want %v", err, want)
	}
}

func (d *disk) same(what string, got, want any) {
	d.Helper()
	if got != want {
		d.Errorf("%s is %v, want %v", what, got, want)
	}
}

func testInfo(t *testing.T, d *disk) {
	d.same("the top level", d.info("").ID, snapshot.TopLevel)
	d.same("the top level's path", d.info("").Path, "")
	d.same("the top level's parent", d.info("").Parent, snapshot.SubvolumeID(0))
	sv := d.create("a")
	if sv.ID < 256 || sv.UUID.IsZero() || !sv.ParentUUID.IsZero() || !sv.ReceivedUUID.IsZero() || sv.ReadOnly || sv.Created.IsZero() {
		t.Errorf("a new subvolume is %+v", sv)
	}
	d.same("its parent", sv.Parent, snapshot.TopLevel)
	byID, err := d.ByID(d.top, sv.ID)
	d.must(err)
	d.same("the same by id", byID, sv)
	top, err := d.ByID(d.top, snapshot.TopLevel)
	d.must(err)
	d.same("the top level by id", top.Path, "")

	d.mkdir("a/directory")
	d.write("a/file", "")
	for path, want := range map[string]error{
		"a/directory": snapshot.ErrNotSubvolume, "a/file": snapshot.ErrNotSubvolume, "a/none": fs.ErrNotExist,
	} {
		_, err := d.Info(d.at(path))
		d.wants(err, want)
	}
	for _, id := range []snapshot.SubvolumeID{0, 1, 255, 99999, ^snapshot.SubvolumeID(0)} {
		_, err := d.ByID(d.top, id)
		d.wants(err, snapshot.ErrNoSubvolume)
	}
}

func testPaths(t *testing.T, d *disk) {
	a := d.create("a")
	d.mkdir("a/with/some")
	b := d.create("a/with/some/b")
	d.mkdir("directory")
	c := d.create("directory/c ü\n")
	d.same("a path through directories", b.Path, "a/with/some/b")
	d.same("its parent", b.Parent, a.ID)
	d.same("a path with odd characters", c.Path, "directory/c ü\n")
	list, err := d.List(d.top)
	d.must(err)
	if !slices.Equal(list, []snapshot.Subvolume{a, b, c}) {
		// The generation of a moves on as things are made in it.
		list[0].Generation = a.Generation
		if !slices.Equal(list, []snapshot.Subvolume{a, b, c}) {
			t.Errorf("the list is\n%+v, want\n%+v", list, []snapshot.Subvolume{a, b, c})
		}
	}
	deep := strings.Repeat("directory-with-a-long-name-", 6)
	path := "a"
	for range 20 {
		path = filepath.Join(path, deep)
	}
	d.mkdir(path)
	far := d.create(filepath.Join(path, "far"))
	d.same("a path of 3,000 bytes", far.Path, filepath.Join(path, "far"))
}

func testRename(t *testing.T, d *disk) {
	d.mkdir("x/new")
	d.mkdir("y")
	d.create("x/new/s")
	d.must(d.Sync(d.top))
	for from, to := range map[string]string{"x/new": "y/a"} {
		d.must(os.Rename(d.at(from), d.at(to)))
		d.same("the path after a rename", d.info(to+"/s").Path, to+"/s")
	}
	d.must(os.Rename(d.at("y/a"), d.at("y/b")))
	d.same("the path after a rename in one directory", d.info("y/b/s").Path, "y/b/s")
	list, err := d.List(d.top)
	d.must(err)
	if len(list) != 1 || list[0].Path != "y/b/s" {
		t.Errorf("the list after a rename is %+v", list)
	}
	d.must(os.Rename(d.at("y/b/s"), d.at("z")))
	d.same("the path of a subvolume that was renamed itself", d.info("z").Path, "z")
}

func testNested(t *testing.T, d *disk) {
	a := d.create("a")
	d.mkdir("a/d")
	b := d.create("a/d/b")
	d.create("a/d/b/c")
	d.create("other")
	inside, err := d.Nested(d.top, a.ID)
	d.must(err)
	if len(inside) != 1 || inside[0].ID != b.ID || inside[0].Path != "a/d/b" || inside[0].UUID != b.UUID {
		t.Errorf("in a there is %+v, want b only", inside)
	}
	top, err := d.Nested(d.top, snapshot.TopLevel)
	d.must(err)
	d.same("the number of subvolumes in the top level", len(top), 2)
	_, err = d.Nested(d.top, 99999)
	d.wants(err, snapshot.ErrNoSubvolume)
}

func testFork(t *testing.T, d *disk) {
	src := d.create("src")
	d.mkdir("src/dir")
	d.write("src/dir/file", "text")
	d.create("src/nested")
	d.write("src/nested/file", "lost")
	for name, readOnly := range map[string]bool{"rw": false, "ro": true} {
		fork := d.fork("src", name, readOnly)
		d.same(name+"'s origin", fork.ParentUUID, src.UUID)
		d.same(name+" is sealed", fork.ReadOnly, readOnly)
		text, err := os.ReadFile(d.at(name + "/dir/file"))
		d.must(err)
		d.same("what "+name+" holds", string(text), "text")
		if names, err := os.ReadDir(d.at(name + "/nested")); err != nil || len(names) != 0 {
			t.Errorf("the nested subvolume shows as %v, %v in %s, want an empty directory", names, err, name)
		}
		_, err = d.Info(d.at(name + "/nested"))
		d.wants(err, snapshot.ErrNotSubvolume)
	}
	d.write("rw/dir/file", "changed")
	text, err := os.ReadFile(d.at("src/dir/file"))
	d.must(err)
	d.same("the original after writing to the fork", string(text), "text")
}

func testForkRefuses(t *testing.T, d *disk) {
	d.create("src")
	d.mkdir("dir")
	d.wants(d.Fork(d.at("src"), d.at("dir"), false), fs.ErrExist)
	d.wants(d.Create(d.at("dir")), fs.ErrExist)
	d.wants(d.Fork(d.at("dir"), d.at("x"), false), snapshot.ErrNotSubvolume)
	d.wants(d.Fork(d.at("none"), d.at("x"), false), fs.ErrNotExist)
	for name, path := range map[string]string{
		"a name of 256 bytes": d.at(strings.Repeat("n", 256)),
		"a NUL":               d.at("a\x00b"),
		"a relative path":     "relative",
	} {
		if err := d.Fork(d.at("src"), path, false); err == nil {
			t.Errorf("forking to %s went through", name)
		}
		if err := d.Create(path); err == nil {
			t.Errorf("creating %s went through", name)
		}
	}
	d.must(d.Fork(d.at("src"), d.at(strings.Repeat("n", 255)), false))
	list, err := d.List(d.top)
	d.must(err)
	d.same("the number of subvolumes", len(list), 2)
}

func testSealed(t *testing.T, d *disk) {
	d.create("a")
	inner := d.create("a/inner")
	d.must(d.SetReadOnly(d.at("a"), true))
	d.must(d.SetReadOnly(d.at("a"), true))
	d.same("a is sealed", d.info("a").ReadOnly, true)
	d.wants(d.Fork(d.at("a/inner"), d.at("a/fork"), false), unix.EROFS)
	d.wants(d.Create(d.at("a/new")), unix.EROFS)
	d.wants(d.Delete(d.at("a/inner"), inner.ID), unix.EROFS)
	d.must(d.SetReadOnly(d.at("a"), false))
	d.same("a is sealed", d.info("a").ReadOnly, false)
	d.must(d.Delete(d.at("a/inner"), inner.ID))
	_, err := d.Info(d.at("a/inner"))
	d.wants(err, fs.ErrNotExist)
	d.mkdir("plain")
	d.wants(d.SetReadOnly(d.at("plain"), true), snapshot.ErrNotSubvolume)
}

func testDelete(t *testing.T, d *disk) {
	a := d.create("a")
	d.write("a/file", "x")
	d.wants(d.Delete(d.at("a"), a.ID+1), snapshot.ErrNoSubvolume)
	d.same("a after the refusal", d.info("a").ID, a.ID)
	d.must(d.Delete(d.at("a"), a.ID))
	_, err := d.ByID(d.top, a.ID)
	d.wants(err, snapshot.ErrNoSubvolume)
	list, err := d.List(d.top)
	d.must(err)
	d.same("the number of subvolumes", len(list), 0)
	d.wants(d.Delete(d.at("a"), a.ID), fs.ErrNotExist)
	if again := d.create("a"); again.ID <= a.ID || again.UUID == a.UUID {
		t.Errorf("the next subvolume has id %d and uuid %s, as one before had", again.ID, again.UUID)
	}
	d.mkdir("plain")
	d.wants(d.Delete(d.at("plain"), 256), snapshot.ErrNotSubvolume)
}

func testDeleteRefuses(t *testing.T, d *disk) {
	a := d.create("a")
	d.mkdir("a/dir")
	inner := d.create("a/dir/inner")
	d.wants(d.Delete(d.at("a"), a.ID), snapshot.ErrNested)
	d.same("what was nested", d.info("a/dir/inner").ID, inner.ID)
	d.must(d.Delete(d.at("a/dir/inner"), inner.ID))
	d.must(d.SetDefault(d.top, a.ID))
	d.wants(d.Delete(d.at("a"), a.ID), snapshot.ErrDefault)
	d.must(d.SetDefault(d.top, snapshot.TopLevel))
	d.must(d.Delete(d.at("a"), a.ID))
}

func testDefault(t *testing.T, d *disk) {
	id, err := d.Default(d.top)
	d.must(err)
	d.same("the first default", id, snapshot.TopLevel)
	a := d.create("a")
	d.must(d.SetDefault(d.top, a.ID))
	d.must(d.Sync(d.top))
	id, err = d.Default(d.at("a"))
	d.must(err)
	d.same("the default", id, a.ID)
	for _, unknown := range []snapshot.SubvolumeID{0, 99999} {
		d.wants(d.SetDefault(d.top, unknown), snapshot.ErrNoSubvolume)
	}
	id, err = d.Default(d.top)
	d.must(err)
	d.same("the default after refusals", id, a.ID)
}

func testLinks(t *testing.T, d *disk) {
	a := d.create("a")
	d.mkdir("dir")
	d.must(os.Symlink(d.at("a"), d.at("link")))
	d.must(os.Symlink(d.at("dir"), d.at("way")))
	_, err := d.Info(d.at("link"))
	d.wants(err, snapshot.ErrNotSubvolume)
	d.wants(d.Fork(d.at("link"), d.at("x"), false), snapshot.ErrNotSubvolume)
	d.wants(d.Delete(d.at("link"), a.ID), snapshot.ErrNotSubvolume)
	d.wants(d.Fork(d.at("a"), d.at("way/x"), false), unix.ELOOP)
	d.wants(d.Create(d.at("way/x")), unix.ELOOP)
	d.wants(d.SetReadOnly(d.at("link"), true), snapshot.ErrNotSubvolume)
}

func testNotBtrfs(t *testing.T, d *disk) {
	_, err := d.Info("/proc")
	d.wants(err, snapshot.ErrNotBtrfs)
	_, err = d.List("/proc")
	d.wants(err, snapshot.ErrNotBtrfs)
	_, err = d.Default("/proc")
	d.wants(err, snapshot.ErrNotBtrfs)
	d.wants(d.Sync("/proc"), snapshot.ErrNotBtrfs)
	d.wants(d.Create("/proc/subvolume"), snapshot.ErrNotBtrfs)
	_, err = d.Usage("/proc")
	d.wants(err, snapshot.ErrNotBtrfs)
}

func testUsage(t *testing.T, d *disk) {
	u, err := d.Usage(d.top)
	d.must(err)
	if u.DataTotal == 0 || u.DataFree > u.DataTotal || u.MetadataTotal == 0 || u.MetadataFree > u.MetadataTotal {
		t.Errorf("the usage is %+v", u)
	}
}
