// How snapshots get their numbers, markers and info.xml, and are listed.

package snapshottest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/txupd/txupd/pkg/snapshot"
)

func testPublish(t *testing.T, s *system) {
	n, _ := s.make(first)
	s.gone(s.at(".snapshots/.txupd/new-" + first))
	marker, err := s.ReadMarker(n)
	s.must(err)
	s.same("the marker's number", marker.Number, n)
	s.same("the marker's transaction", marker.UUID, first)
	s.same("the marker's record", string(marker.Record), `{"message":"a message"}`)

	s.mkdir(".snapshots/40")
	s.mkdir(".snapshots/041")
	s.mkdir(".snapshots/notes")
	made := s.prepare(second)
	m, err := s.Publish(second, 50)
	s.must(err)
	s.same("the number above 50", m, snapshot.Number(51))
	s.gone(made.Dir)
	sv, err := s.Info(s.Path(m, snapshot.RoleSnapshot))
	s.must(err)
	found, ok := s.NumberOf(sv)
	s.same("the number of what was published", found, m)
	s.same("whether it has one", ok, true)

	s.mkdir(".snapshots/4294967295")
	if n, err := s.NextNumber(0); err == nil {
		t.Errorf("the number after the last one is %d", n)
	}
	if _, err := s.Publish(first, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("publishing twice: %v", err)
	}
}

func testPublishTaken(t *testing.T, s *system) {
	made := s.prepare(first)
	marker := struct{ Number snapshot.Number }{}
	s.must(json.Unmarshal([]byte(readFile(s, filepath.Join(made.Dir, "record.json"))), &marker))
	// snapper takes the number that the snapshot was prepared for.
	s.must(os.Mkdir(s.Dir(marker.Number), 0o755))
	n, err := s.Publish(first, 0)
	s.must(err)
	s.same("the number", n, marker.Number+1)
	found, err := s.ReadMarker(n)
	s.must(err)
	s.same("the marker's number", found.Number, n)
	info := readFile(s, filepath.Join(s.Dir(n), "info.xml"))
	for _, want := range []string{
		"<num>" + filepath.Base(s.Dir(n)) + "</num>", "<type>single</type>", "<date>2024-05-01 10:00:00</date>",
		"<description>a &lt;message&gt; of two lines</description>",
		"<key>a_b</key>", "<value>c_d</value>", "<key>txupd</key>", "<value>" + first + "</value>",
	} {
		if !strings.Contains(info, want) {
			t.Errorf("info.xml lacks %s:\n%s", want, info)
		}
	}
}

// snapper takes numbers at the same time. A plain rename would replace a
// directory that it has just made.
func testPublishRace(t *testing.T, s *system) {
	const rounds = 6
	uuids := make([]string, rounds)
	for i := range uuids {
		uuids[i] = first[:len(first)-2] + strconv.Itoa(10+i)
		s.prepare(uuids[i])
	}
	theirs := map[snapshot.Number]fs.FileInfo{}
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			n, err := s.NextNumber(0)
			if err != nil {
				stopped <- err
				return
			}
			if len(theirs) < 20*rounds && os.Mkdir(s.Dir(n), 0o755) == nil {
				theirs[n], err = os.Lstat(s.Dir(n))
			}
			if err != nil {
				stopped <- err
				return
			}
		}
	}()
	ours := map[snapshot.Number]string{}
	for _, uuid := range uuids {
		n, err := s.Publish(uuid, 0)
		if err != nil {
			t.Error(err)
			break
		}
		ours[n] = uuid
	}
	close(stop)
	s.must(<-stopped)
	s.same("the number of numbers", len(ours), rounds)
	for n, uuid := range ours {
		marker, err := s.ReadMarker(n)
		s.must(err)
		s.same("whose it is", marker.UUID, uuid)
		s.same("the number in the marker", marker.Number, n)
	}
	for n, made := range theirs {
		now, err := os.Lstat(s.Dir(n))
		if err != nil || !os.SameFile(made, now) {
			t.Errorf("the directory %d of another tool was replaced: %v", n, err)
		}
	}
}

func readFile(s *system, path string) string {
	s.Helper()
	text, err := os.ReadFile(path)
	s.must(err)
	return string(text)
}

func testMarkers(t *testing.T, s *system) {
	n, made := s.make(first)
	marker, err := s.ReadMarker(n)
	s.must(err)
	marker.Subvolumes = made
	marker.Record = json.RawMessage(`{"phase":"committed"}`)
	s.must(s.WriteMarker(n, marker))
	found, err := s.ReadMarker(n)
	s.must(err)
	s.same("the record", string(found.Record), `{"phase":"committed"}`)
	s.same("the snapshot", found.Subvolumes[snapshot.RoleSnapshot], made[snapshot.RoleSnapshot])

	marker.UUID = second
	s.wants(s.WriteMarker(n, marker), snapshot.ErrForeign)
	s.wants(s.WriteMarker(n+1, marker), fs.ErrNotExist)
	names, err := os.ReadDir(s.Dir(n))
	s.must(err)
	for _, name := range names {
		if strings.HasPrefix(name.Name(), ".") {
			t.Errorf("%s was left", name.Name())
		}
	}
}

func testEntries(t *testing.T, s *system) {
	before, err := s.Entries()
	s.must(err)
	n, made := s.make(first)
	s.must(os.Mkdir(s.Dir(n+1), 0o755))
	s.must(s.Create(s.Path(n+1, snapshot.RoleSnapshot)))
	s.must(os.Mkdir(s.Dir(n+2), 0o755))
	s.must(os.WriteFile(filepath.Join(s.Dir(n+2), "record.json"), []byte("{"), 0o644))
	entries, err := s.Entries()
	s.must(err)
	entries = entries[len(before):]
	if len(entries) != 3 {
		t.Fatalf("there are %+v", entries)
	}
	ours, foreign, damaged := entries[0], entries[1], entries[2]
	s.same("our number", ours.Number, n)
	s.same("our root", ours.Snapshot.Identity(), made[snapshot.RoleSnapshot])
	if ours.Marker == nil || ours.Marker.UUID != first {
		t.Errorf("our marker is %+v", ours.Marker)
	}
	if foreign.Marker != nil || foreign.Damaged != nil || foreign.Snapshot.ID == 0 {
		t.Errorf("the foreign entry is %+v", foreign)
	}
	if damaged.Marker != nil || damaged.Damaged == nil || damaged.Snapshot.ID != 0 {
		t.Errorf("the damaged entry is %+v", damaged)
	}
	for _, want := range entries {
		found, err := s.Entry(want.Number)
		s.must(err)
		s.same("the root of one", found.Snapshot.Identity(), want.Snapshot.Identity())
		s.same("whether it is marked", found.Marker != nil, want.Marker != nil)
	}
	_, err = s.Entry(n + 3)
	s.wants(err, snapshot.ErrNoSnapshot)
}
