// What a Store does in any layout, on any driver.

package snapshottest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/pkg/snapshot"
)

// RunStore runs the contract suite of snapshot.Store. start gives each test a
// driver and the mounted root of a system, which is the default subvolume.
func RunStore(t *testing.T, start func(t *testing.T) (snapshot.Driver, string)) {
	for name, test := range map[string]func(*testing.T, *system){
		"OpenFindsTheLayout":                 testOpen,
		"OpenSaysWhatIsMissing":              testOpenMissing,
		"PreparedIsASnapshotOfTheParent":     testPrepare,
		"PreparedCanBeStacked":               testStack,
		"PrepareLeavesNothingWhenItFails":    testPrepareFails,
		"PublishTakesANumberAboveAll":        testPublish,
		"PublishSurvivesATakenNumber":        testPublishTaken,
		"PublishNeverTakesAnothersNumber":    testPublishRace,
		"FlushMakesAnImageOfWhatWasDone":     testFlush,
		"FlushSealsTheRootAndLeavesEtcAlone": testFlushSeals,
		"FlushRefusesAnotherSubvolume":       testFlushForeign,
		"FlushFollowsNoLink":                 testFlushLinks,
		"DefaultIsReadBack":                  testStoreDefault,
		"StillHoldsARootStill":               testStill,
		"ReachFindsARootAnywhere":            testReach,
		"MarkersBelongToTheirTransaction":    testMarkers,
		"EntriesListForeignOnesToo":          testEntries,
		"RefusalsNameWhatWouldBeLeftBehind":  testRefusals,
		"EmptyNestedBecomeDirectories":       testEmptyNested,
		"SwapFilesAreNamed":                  testSwap,
		"RemoveLeavesNothing":                testRemove,
		"RemoveRefusesWhatMustStay":          testRemoveProtected,
		"RemoveRefusesForeigners":            testRemoveForeign,
		"RemoveRefusesForeignSubvolumes":     testRemoveNested,
		"RemoveFinishesWhatWasBegun":         testRemoveResumes,
	} {
		t.Run(name, func(t *testing.T) {
			d, root := start(t)
			s := &system{disk: &disk{TB: t, Driver: d, top: root}}
			s.open()
			before := s.subvolumes()
			test(t, s)
			if t.Failed() {
				t.Logf("subvolumes before: %q\nnow: %q", before, s.subvolumes())
			}
		})
	}
}

// The uuids of transactions in the suite.
const (
	first  = "11111111-1111-4111-8111-111111111111"
	second = "22222222-2222-4222-8222-222222222222"
)

var clock = time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC)

// system is a store on a disk whose paths start at the mounted root.
type system struct {
	*disk
	*snapshot.Store
	sealed bool // roots of this layout are
}

func (s *system) open() {
	s.Helper()
	store, err := snapshot.Open(s.top, s.Driver, snapshot.Options{Now: func() time.Time { return clock }})
	s.must(err)
	s.Store, s.sealed = store, store.Layout().ReadOnlyRoots
}

func (s *system) subvolumes() []string {
	s.Helper()
	list, err := s.List(s.top)
	s.must(err)
	var paths []string
	for _, sv := range list {
		paths = append(paths, sv.Path)
	}
	return paths
}

func (s *system) booted() snapshot.Subvolume {
	s.Helper()
	sv, err := s.Booted()
	s.must(err)
	return sv
}

// prepare and publish one from the booted root, or from parent.
func (s *system) make(uuid string, parent ...snapshot.Identity) (snapshot.Number, map[snapshot.Role]snapshot.Identity) {
	s.Helper()
	made := s.prepare(uuid, parent...)
	n, err := s.Publish(uuid, 0)
	s.must(err)
	return n, made.Subvolumes
}

func (s *system) prepare(uuid string, parent ...snapshot.Identity) snapshot.Prepared {
	s.Helper()
	if len(parent) == 0 {
		parent = append(parent, s.booted().Identity())
	}
	n, err := s.NextNumber(0)
	s.must(err)
	made, err := s.Prepare(s.Context(), snapshot.PrepareRequest{
		UUID: uuid, Number: n, Parent: parent[0],
		Info:   snapshot.Info{Description: "a <message>\nof two lines", UserData: map[string]string{"a=b": "c,d"}},
		Record: json.RawMessage(`{"message":"a message"}`),
	})
	s.must(err)
	return made
}

// unsealed lets f write to the root of a layout whose roots are sealed.
func (s *system) unsealed(f func()) {
	s.Helper()
	if s.sealed {
		s.must(s.SetReadOnly(s.top, false))
	}
	f()
	if s.sealed {
		s.must(s.SetReadOnly(s.top, true))
	}
}

func (s *system) reads(path, want string) {
	s.Helper()
	text, err := os.ReadFile(path)
	if err != nil || string(text) != want {
		s.Errorf("%s holds %q (%v), want %q", path, text, err, want)
	}
}

func (s *system) gone(paths ...string) {
	s.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			s.Errorf("%s is still there (%v)", path, err)
		}
	}
}

// untouched checks that there are the subvolumes that there were.
func (s *system) untouched(before []string) {
	s.Helper()
	if now := s.subvolumes(); !slices.Equal(now, before) {
		s.Errorf("subvolumes are\n%q, want\n%q", now, before)
	}
}

func testOpen(t *testing.T, s *system) {
	l := s.Layout()
	s.same("the root", l.RootDir, s.top)
	s.same("where snapshots are", l.SnapshotsDir, s.at(".snapshots"))
	s.same("the booted subvolume", l.Booted.Identity(), s.info("").Identity())
	n, ok := s.NumberOf(l.Booted)
	s.same("the booted number", l.BootedNumber, n)
	s.same("whether the booted root has a number", ok, l.Name == snapshot.LayoutSUSE)
	next, err := s.Default()
	s.must(err)
	s.same("the default", next.Identity(), l.Booted.Identity())
	if s.sealed {
		s.same("the nested subvolumes", strings.Join(l.Nested, " "), "/etc")
	}
	s.gone(s.at(".snapshots/.txupd")) // looking changes nothing
}

func testOpenMissing(t *testing.T, s *system) {
	dir := t.TempDir()
	for path, missing := range map[string]string{
		"/proc":        "it is not on btrfs",
		s.at("usr"):    "it is a directory, not a subvolume of its own",
		dir + "/none":  "",
		s.at("usr/\n"): "",
	} {
		_, err := snapshot.Open(path, s.Driver, snapshot.Options{})
		var layout *snapshot.LayoutError
		if errors.As(err, &layout) != (missing != "") || err == nil {
			t.Errorf("opening %q: %v", path, err)
		} else if layout != nil && (layout.Missing != missing || layout.Remedy == "") {
			t.Errorf("opening %q: %q, remedy %q", path, layout.Missing, layout.Remedy)
		}
	}
	for _, nested := range []string{"", "etc", "/", "/etc/", "/a/../b", "/a\x00b"} {
		if _, err := snapshot.Open(s.top, s.Driver, snapshot.Options{Nested: []string{nested}}); err == nil {
			t.Errorf("a nested subvolume %q was taken", nested)
		}
	}

	bare := filepath.Join(s.at(".snapshots"), "bare")
	s.must(s.Create(bare))
	_, err := snapshot.Open(bare, s.Driver, snapshot.Options{})
	var layout *snapshot.LayoutError
	if !errors.As(err, &layout) || layout.Missing != "it has no .snapshots" || !strings.Contains(layout.Remedy, "mount -o subvol=/@snapshots ") {
		t.Errorf("without .snapshots: %v", err)
	}
	s.must(os.Mkdir(filepath.Join(bare, ".snapshots"), 0o755))
	_, err = snapshot.Open(bare, s.Driver, snapshot.Options{})
	if !errors.As(err, &layout) || layout.Missing != "its .snapshots is not a subvolume" {
		t.Errorf("with .snapshots that is a directory: %v", err)
	}
}

func testPrepare(t *testing.T, s *system) {
	parent := s.booted()
	made := s.prepare(first)
	s.same("where it is", made.Dir, s.at(".snapshots/.txupd/new-"+first))
	for role, id := range made.Subvolumes {
		sv, err := s.Info(filepath.Join(made.Dir, string(role)))
		s.must(err)
		s.same(string(role), sv.Identity(), id)
		s.same(string(role)+" is sealed", sv.ReadOnly, strings.HasPrefix(string(role), string(snapshot.RoleBase)))
	}
	want := 2
	if s.sealed {
		want = 4 // etc in both
	}
	s.same("the number of subvolumes", len(made.Subvolumes), want)
	for _, role := range []string{"base", "snapshot"} {
		s.reads(filepath.Join(made.Dir, role, "etc/os-release"), s.text("etc/os-release"))
	}
	s.must(os.WriteFile(filepath.Join(made.Dir, "snapshot/etc/new"), nil, 0o644))
	s.must(os.WriteFile(filepath.Join(made.Dir, "snapshot/usr/new"), nil, 0o644))
	s.gone(s.at("etc/new"), s.at("usr/new"))
	s.same("the parent's seal", s.booted().ReadOnly, parent.ReadOnly)

	_, err := s.Prepare(t.Context(), snapshot.PrepareRequest{UUID: first, Number: 9, Parent: parent.Identity()})
	s.wants(err, fs.ErrExist)
	if _, err := os.Stat(filepath.Join(made.Dir, "snapshot")); err != nil {
		t.Errorf("a second attempt took the first away: %v", err)
	}
}

func (s *system) text(path string) string {
	s.Helper()
	text, err := os.ReadFile(s.at(path))
	s.must(err)
	return string(text)
}

func testStack(t *testing.T, s *system) {
	n, made := s.make(first)
	s.must(os.WriteFile(filepath.Join(s.Path(n, snapshot.RoleSnapshot), "etc/first"), []byte("1"), 0o644))
	_, err := s.Flush(n, made[snapshot.RoleSnapshot], s.sealed)
	s.must(err)
	m, _ := s.make(second, made[snapshot.RoleSnapshot])
	if m <= n {
		t.Errorf("the second is %d, the first %d", m, n)
	}
	for _, role := range []snapshot.Role{snapshot.RoleBase, snapshot.RoleSnapshot} {
		s.reads(filepath.Join(s.Path(m, role), "etc/first"), "1")
	}
	sv, err := s.Info(s.Path(m, snapshot.RoleSnapshot))
	s.must(err)
	s.same("the second is sealed", sv.ReadOnly, false)
}

func testPrepareFails(t *testing.T, s *system) {
	before := s.subvolumes()
	parent := s.booted().Identity()
	stranger := parent
	stranger.UUID[0] ^= 1
	_, err := s.Prepare(t.Context(), snapshot.PrepareRequest{UUID: first, Number: 2, Parent: stranger})
	s.wants(err, snapshot.ErrNoSubvolume)
	_, err = s.Prepare(t.Context(), snapshot.PrepareRequest{UUID: "../../etc", Number: 2, Parent: parent})
	if err == nil {
		t.Error("a transaction named ../../etc was taken")
	}
	_, err = s.Prepare(t.Context(), snapshot.PrepareRequest{UUID: first, Number: 2, Parent: parent, Record: json.RawMessage("{")})
	if err == nil {
		t.Error("a record that is not JSON was taken")
	}
	s.must(s.Create(s.at(".snapshots/elsewhere")))
	elsewhere := s.info(".snapshots/elsewhere")
	_, err = s.Prepare(t.Context(), snapshot.PrepareRequest{UUID: first, Number: 2, Parent: elsewhere.Identity()})
	if err == nil {
		t.Error("a subvolume that is no root was forked")
	}
	s.must(s.Delete(s.at(".snapshots/elsewhere"), elsewhere.ID))
	s.untouched(before)
	s.gone(s.at(".snapshots/.txupd/new-" + first))
}

func testStoreDefault(t *testing.T, s *system) {
	_, made := s.make(first)
	want := made[snapshot.RoleSnapshot]
	s.must(s.Store.SetDefault(want.ID))
	next, err := s.Store.Default()
	s.must(err)
	s.same("the default", next.Identity(), want)
	s.wants(s.Store.SetDefault(99999), snapshot.ErrNoSubvolume)
	next, err = s.Store.Default()
	s.must(err)
	s.same("the default after a refusal", next.Identity(), want)
	s.same("the booted root", s.booted().Identity(), s.Layout().Booted.Identity())
}
