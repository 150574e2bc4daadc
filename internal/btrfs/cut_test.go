package btrfs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

// story needs an extent of its own in the marker.
var story = strings.Repeat("a long story ", 1000)

func openLayout(t *testing.T, layout string) (*snapshot.Store, string) {
	t.Helper()
	root := testbed.Layout(t, layout)
	s, err := snapshot.Open(root, Driver{}, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, root
}

func prepare(t *testing.T, s *snapshot.Store, uuid string) snapshot.Prepared {
	t.Helper()
	booted, err := s.Booted()
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.NextNumber(0)
	if err != nil {
		t.Fatal(err)
	}
	record, err := json.Marshal(map[string]string{"message": story})
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.Prepare(t.Context(), snapshot.PrepareRequest{
		UUID: uuid, Number: n, Parent: booted.Identity(), Record: record,
		Info: snapshot.Info{Description: "before the cut"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// uuidOf makes a transaction's uuid of a small number.
func uuidOf(n int) string {
	return "33333333-3333-4333-8333-" + strings.Repeat("0", 12-len(strconv.Itoa(n))) + strconv.Itoa(n)
}

// afterCut is a path below .snapshots as it is found when the power goes now.
func afterCut(t *testing.T, s *snapshot.Store, path string) string {
	t.Helper()
	return filepath.Join(testbed.Cut(t, s.Layout().RootDir), s.Layout().Snapshots.Path, path)
}

func TestWhatWasPreparedSurvivesACut(t *testing.T) {
	s, _ := openLayout(t, "flat")
	for n := range 5 {
		prepare(t, s, uuidOf(n))
	}
	found := afterCut(t, s, ".txupd")
	for n := range 5 {
		dir := filepath.Join(found, "new-"+uuidOf(n))
		for _, name := range []string{"info.xml", "snapshot/etc/os-release", "base/etc/os-release"} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(text) == 0 {
				t.Errorf("%s holds %q after the cut: %v", name, text, err)
			}
		}
		var marker snapshot.Marker
		text, err := os.ReadFile(filepath.Join(dir, "record.json"))
		if err == nil {
			err = json.Unmarshal(text, &marker)
		}
		if err != nil || marker.UUID != uuidOf(n) || !strings.Contains(string(marker.Record), story) {
			t.Errorf("the marker has %d bytes after the cut: %v", len(text), err)
		}
	}
}

func TestWhatWasFlushedSurvivesACut(t *testing.T) {
	for _, layout := range []string{"flat", "opensuse-ro"} {
		t.Run(layout, func(t *testing.T) {
			s, _ := openLayout(t, layout)
			made := prepare(t, s, uuidOf(1))
			n, err := s.Publish(uuidOf(1), 0)
			if err != nil {
				t.Fatal(err)
			}
			// No fsync, as in the sandbox.
			files := map[string]string{"usr/bin/small": "small", "usr/bin/large": story, "etc/edited": story}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(s.Path(n, snapshot.RoleSnapshot), name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Flush(n, made.Subvolumes[snapshot.RoleSnapshot], s.Layout().ReadOnlyRoots); err != nil {
				t.Fatal(err)
			}
			found := afterCut(t, s, strconv.Itoa(int(n)))
			for name, text := range files {
				for _, role := range []string{"snapshot", "after"} {
					got, err := os.ReadFile(filepath.Join(found, role, name))
					if err != nil || string(got) != text {
						t.Errorf("%s in %s has %d bytes after the cut, want %d: %v", name, role, len(got), len(text), err)
					}
				}
			}
		})
	}
}

func TestTheDefaultAndItsMarkerSurviveACut(t *testing.T) {
	s, _ := openLayout(t, "debian")
	made := prepare(t, s, uuidOf(1))
	n, err := s.Publish(uuidOf(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	err = s.WriteMarker(n, snapshot.Marker{UUID: uuidOf(1), Subvolumes: made.Subvolumes, Record: json.RawMessage(`{"phase":"committed"}`)})
	if err != nil {
		t.Fatal(err)
	}
	want := made.Subvolumes[snapshot.RoleSnapshot].ID
	if err := s.SetDefault(want); err != nil {
		t.Fatal(err)
	}
	found := afterCut(t, s, strconv.Itoa(int(n)))
	if id, err := (Driver{}).Default(found); err != nil || id != want {
		t.Errorf("the default after the cut is %d (%v), want %d", id, err, want)
	}
	text, err := os.ReadFile(filepath.Join(found, "record.json"))
	if err != nil || !strings.Contains(string(text), `"committed"`) {
		t.Errorf("the marker after the cut is %q: %v", text, err)
	}
}

func TestRemovedIsGoneAfterSyncAndACut(t *testing.T) {
	s, _ := openLayout(t, "opensuse-ro")
	made := prepare(t, s, uuidOf(1))
	n, err := s.Publish(uuidOf(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(snapshot.RemoveRequest{UUID: uuidOf(1), Number: n, Subvolumes: made.Subvolumes}); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	found := afterCut(t, s, "")
	for _, name := range []string{strconv.Itoa(int(n)), ".txupd/del-" + uuidOf(1), ".txupd/new-" + uuidOf(1)} {
		if _, err := os.Lstat(filepath.Join(found, name)); err == nil {
			t.Errorf("%s is there after the cut", name)
		}
	}
}
