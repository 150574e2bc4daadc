// What a Store removes, and what it never does.

package snapshottest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/pkg/snapshot"
)

func testRemove(t *testing.T, s *system) {
	before := s.subvolumes()
	s.must(s.Remove(snapshot.RemoveRequest{UUID: first, Number: 7}))

	prepared := s.prepare(first)
	orphans, err := s.Orphans()
	s.must(err)
	if len(orphans) != 1 || orphans[0] != (snapshot.Orphan{UUID: first, Dir: prepared.Dir}) {
		t.Errorf("the orphans are %+v", orphans)
	}
	for range 2 {
		s.must(s.Remove(snapshot.RemoveRequest{UUID: first}))
	}
	s.untouched(before)

	n, made := s.make(first)
	flushed, err := s.Flush(n, made[snapshot.RoleSnapshot], true)
	s.must(err)
	for role, id := range flushed {
		made[role] = id
	}
	// What later steps add, and what other tools leave.
	s.must(s.Fork(s.Path(n, snapshot.RoleBase), s.Path(n, snapshot.RoleLive), true))
	for _, dir := range []string{"capture", "shared/var"} {
		s.must(os.MkdirAll(filepath.Join(s.Dir(n), dir), 0o755))
	}
	s.must(s.Create(filepath.Join(s.Dir(n), "capture/opt")))
	s.must(s.Fork(filepath.Join(s.Dir(n), "capture/opt"), filepath.Join(s.Dir(n), "shared/var/log"), true))
	s.must(os.WriteFile(filepath.Join(s.Dir(n), "filelist-1.txt.gz"), nil, 0o600))
	s.must(os.Symlink(s.top, filepath.Join(s.Dir(n), "link")))
	for range 2 {
		s.must(s.Remove(snapshot.RemoveRequest{UUID: first, Number: n, Subvolumes: made}))
	}
	s.untouched(before)
	orphans, err = s.Orphans()
	s.must(err)
	s.same("the number of orphans", len(orphans), 0)
	s.gone(s.Dir(n))
	if _, err := os.Stat(s.at("etc/os-release")); err != nil {
		t.Error(err)
	}
}

func testRemoveProtected(t *testing.T, s *system) {
	n, made := s.make(first)
	request := snapshot.RemoveRequest{UUID: first, Number: n, Subvolumes: made}
	before := s.subvolumes()
	for role, id := range made {
		request.Protect = []snapshot.SubvolumeID{1, id.ID}
		s.wants(s.Remove(request), snapshot.ErrProtected)
		s.same("what is at "+string(role), exists(s.Path(n, role)), true)
	}
	request.Protect = nil
	s.must(s.Store.SetDefault(made[snapshot.RoleSnapshot].ID))
	s.wants(s.Remove(request), snapshot.ErrProtected)
	s.untouched(before)

	// Seen from the snapshot itself, as after booting it, it is running.
	s.must(s.Store.SetDefault(s.booted().ID))
	inside := s.Path(n, snapshot.RoleSnapshot)
	if err := mountSnapshots(s, inside); err != nil {
		t.Logf("not tried from inside: %v", err)
		s.must(s.Remove(request))
		return
	}
	store, err := snapshot.Open(inside, s.Driver, snapshot.Options{})
	s.must(err)
	s.same("the booted number", store.Layout().BootedNumber, n)
	s.wants(store.Remove(request), snapshot.ErrProtected)
	s.untouched(before)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func testRemoveForeign(t *testing.T, s *system) {
	n, made := s.make(first)
	before := s.subvolumes()
	s.wants(s.Remove(snapshot.RemoveRequest{UUID: second, Number: n}), snapshot.ErrForeign)

	recorded := map[snapshot.Role]snapshot.Identity{}
	for role, id := range made {
		id.UUID[0] ^= 1
		recorded[role] = id
	}
	s.wants(s.Remove(snapshot.RemoveRequest{UUID: first, Number: n, Subvolumes: recorded}), snapshot.ErrForeign)
	s.untouched(before)

	// snapper's, under a number that we believed to be ours; what is ours goes.
	s.must(os.Mkdir(s.Dir(n+1), 0o755))
	s.must(s.Create(s.Path(n+1, snapshot.RoleSnapshot)))
	s.prepare(second)
	s.wants(s.Remove(snapshot.RemoveRequest{UUID: second, Number: n + 1}), snapshot.ErrForeign)
	s.same("whether snapper's is there", exists(s.Path(n+1, snapshot.RoleSnapshot)), true)
	s.gone(s.at(".snapshots/.txupd/new-" + second))

	s.must(os.WriteFile(filepath.Join(s.Dir(n), "record.json"), []byte("{"), 0o644))
	if err := s.Remove(snapshot.RemoveRequest{UUID: first, Number: n}); err == nil {
		t.Error("one with a damaged marker was removed")
	}
	s.same("whether it is there", exists(s.Path(n, snapshot.RoleSnapshot)), true)
}

func testRemoveNested(t *testing.T, s *system) {
	before := s.subvolumes()
	n, made := s.make(first)
	root := s.Path(n, snapshot.RoleSnapshot)
	s.must(s.Create(filepath.Join(root, "var/lib/empty")))
	machines := filepath.Join(root, "var/lib/machines")
	s.must(s.Create(machines))
	s.must(os.WriteFile(filepath.Join(machines, "image"), []byte("precious"), 0o644))
	_, err := s.Flush(n, made[snapshot.RoleSnapshot], true)
	s.must(err)
	request := snapshot.RemoveRequest{UUID: first, Number: n, Subvolumes: made}
	err = s.Remove(request)
	s.wants(err, snapshot.ErrNested)
	if err != nil && !strings.Contains(err.Error(), machines) {
		t.Errorf("the error does not name %s: %v", machines, err)
	}
	s.reads(filepath.Join(machines, "image"), "precious")
	sv, err := s.Info(root)
	s.must(err)
	s.same("the snapshot is sealed after the refusal", sv.ReadOnly, true)

	stray := filepath.Join(s.Dir(n), "stray")
	s.must(os.Remove(filepath.Join(machines, "image")))
	s.must(s.Create(stray))
	s.wants(s.Remove(request), snapshot.ErrNested)
	sv, err = s.Info(stray)
	s.must(err)
	s.must(s.Delete(stray, sv.ID))
	s.must(s.Remove(request))
	s.untouched(before)
}

func testRemoveResumes(t *testing.T, s *system) {
	before := s.subvolumes()
	n, made := s.make(first)
	_, err := s.Flush(n, made[snapshot.RoleSnapshot], true)
	s.must(err)
	// As after a cut: the name is given up and some of it is gone.
	dying := s.at(".snapshots/.txupd/del-" + first)
	s.must(os.Rename(s.Dir(n), dying))
	if sv, err := s.Info(filepath.Join(dying, "base/etc")); err == nil {
		s.must(s.SetReadOnly(filepath.Join(dying, "base"), false))
		s.must(s.Delete(filepath.Join(dying, "base/etc"), sv.ID))
	}
	s.must(s.Delete(filepath.Join(dying, "base"), made[snapshot.RoleBase].ID))
	s.must(os.Remove(filepath.Join(dying, "record.json")))

	orphans, err := s.Orphans()
	s.must(err)
	if len(orphans) != 1 || orphans[0] != (snapshot.Orphan{UUID: first, Dir: dying, Deleting: true}) {
		t.Errorf("the orphans are %+v", orphans)
	}
	s.must(s.Remove(snapshot.RemoveRequest{UUID: first, Number: n, Subvolumes: made}))
	s.untouched(before)
	if _, err := os.Lstat(dying); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the rest is there: %v", err)
	}
}

// mountSnapshots mounts .snapshots inside a snapshot, as its fstab would.
func mountSnapshots(s *system, root string) error {
	if _, isFake := s.Driver.(*Fake); isFake {
		return errors.New("the fake has no mounts")
	}
	return bind(s.TB, s.Layout().SnapshotsDir, filepath.Join(root, ".snapshots"))
}
