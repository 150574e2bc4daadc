// What a Store does with roots that are not as simple as one would like.

package snapshottest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

func testFlush(t *testing.T, s *system) {
	n, made := s.make(first)
	root := s.Path(n, snapshot.RoleSnapshot)
	s.must(os.WriteFile(filepath.Join(root, "usr/bin/new"), []byte("new"), 0o755))
	s.must(os.WriteFile(filepath.Join(root, "etc/new"), []byte("new"), 0o644))
	flushed, err := s.Flush(n, made[snapshot.RoleSnapshot], false)
	s.must(err)
	after := s.Path(n, snapshot.RoleAfter)
	s.reads(filepath.Join(after, "usr/bin/new"), "new")
	s.reads(filepath.Join(after, "etc/new"), "new")
	for role, id := range flushed {
		sv, err := s.Info(filepath.Join(s.Dir(n), string(role)))
		s.must(err)
		s.same(string(role), sv.Identity(), id)
		s.same(string(role)+" is sealed", sv.ReadOnly, true)
	}
	sv, err := s.Info(root)
	s.must(err)
	s.same("the snapshot is sealed", sv.ReadOnly, false)

	// Once more, after more work: what a retried commit does.
	s.must(os.WriteFile(filepath.Join(root, "etc/new"), []byte("newer"), 0o644))
	again, err := s.Flush(n, made[snapshot.RoleSnapshot], false)
	s.must(err)
	s.reads(filepath.Join(after, "etc/new"), "newer")
	if again[snapshot.RoleAfter] == flushed[snapshot.RoleAfter] {
		t.Error("the image was not made anew")
	}
}

func testFlushSeals(t *testing.T, s *system) {
	n, made := s.make(first)
	for range 2 {
		_, err := s.Flush(n, made[snapshot.RoleSnapshot], true)
		s.must(err)
		sv, err := s.Info(s.Path(n, snapshot.RoleSnapshot))
		s.must(err)
		s.same("the snapshot is sealed", sv.ReadOnly, true)
		if etc, err := s.Info(s.Path(n, "snapshot/etc")); err == nil {
			s.same("its etc is sealed", etc.ReadOnly, false)
			etc, err = s.Info(s.Path(n, "after/etc"))
			s.must(err)
			s.same("the image of its etc is sealed", etc.ReadOnly, true)
		} else if s.sealed {
			t.Errorf("there is no nested etc: %v", err)
		}
	}
	s.must(s.Remove(snapshot.RemoveRequest{UUID: first, Number: n, Subvolumes: made}))
}

func testFlushForeign(t *testing.T, s *system) {
	n, made := s.make(first)
	other := made[snapshot.RoleSnapshot]
	other.UUID[3] ^= 1
	_, err := s.Flush(n, other, true)
	s.wants(err, snapshot.ErrForeign)
	s.gone(s.Path(n, snapshot.RoleAfter))
}

// A package can leave anything in a root, links where directories were among it.
func testFlushLinks(t *testing.T, s *system) {
	store, err := snapshot.Open(s.top, s.Driver, snapshot.Options{Nested: []string{"/etc", "/usr/local"}})
	s.must(err)
	s.Store = store
	n, made := s.make(first)
	outside := s.at(".snapshots/outside")
	s.must(s.Create(outside))
	s.must(s.Create(filepath.Join(outside, "local")))
	s.must(os.WriteFile(filepath.Join(outside, "local/precious"), nil, 0o644))
	root := s.Path(n, snapshot.RoleSnapshot)
	s.must(os.Rename(filepath.Join(root, "usr"), filepath.Join(root, "usr.old")))
	s.must(os.Symlink(outside, filepath.Join(root, "usr")))
	_, err = s.Flush(n, made[snapshot.RoleSnapshot], false)
	s.must(err)
	s.must(s.Remove(snapshot.RemoveRequest{UUID: first, Number: n, Subvolumes: made}))
	if _, err := os.Stat(filepath.Join(outside, "local/precious")); err != nil {
		t.Errorf("what a link led to is gone: %v", err)
	}
}

func testRefusals(t *testing.T, s *system) {
	parent := s.booted().Identity()
	s.must(s.Refusals(parent))
	s.unsealed(func() {
		s.must(s.Create(s.at("var/lib/machines")))
		s.must(s.Create(s.at("tmp/disposable")))
		s.write("var/lib/machines/image", "data")
		s.must(s.Create(s.at("usr/deep")))
		s.must(s.Create(s.at("usr/deep/deeper")))
	})
	before := s.subvolumes()
	err := s.Refusals(parent)
	var refused *snapshot.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	slices.Sort(refused.Nested)
	s.same("what would be left behind", strings.Join(refused.Nested, " "), "/usr/deep /var/lib/machines")
	s.wants(err, snapshot.ErrNested)
	if refused.Remedy() == "" {
		t.Error("there is no way out")
	}
	_, err = s.Prepare(t.Context(), snapshot.PrepareRequest{UUID: first, Number: 2, Parent: parent})
	s.wants(err, snapshot.ErrNested)
	s.untouched(before)
	s.gone(s.at(".snapshots/.txupd/new-" + first))
}

func testEmptyNested(t *testing.T, s *system) {
	s.unsealed(func() {
		s.must(s.Create(s.at("var/lib/machines")))
		s.must(os.Chmod(s.at("var/lib/machines"), 0o700))
		s.must(os.Remove(s.at("tmp")))
		s.must(s.Create(s.at("tmp")))
		s.must(unix.Chmod(s.at("tmp"), 0o1777))
		s.write("tmp/file", "nobody keeps this")
	})
	n, made := s.make(first)
	for path, mode := range map[string]os.FileMode{"var/lib/machines": 0o700, "tmp": 0o777 | os.ModeSticky} {
		for _, role := range []snapshot.Role{snapshot.RoleBase, snapshot.RoleSnapshot} {
			at := filepath.Join(s.Path(n, role), path)
			info, err := os.Stat(at)
			s.must(err)
			s.same("the mode of "+at, info.Mode().Perm()|info.Mode()&os.ModeSticky, mode)
			_, err = s.Info(at)
			s.wants(err, snapshot.ErrNotSubvolume)
		}
		s.must(os.WriteFile(filepath.Join(s.Path(n, snapshot.RoleSnapshot), path, "file"), nil, 0o644))
	}
	base, err := s.Info(s.Path(n, snapshot.RoleBase))
	s.must(err)
	s.same("the base is sealed", base.ReadOnly, true)
	s.must(s.Remove(snapshot.RemoveRequest{UUID: first, Number: n, Subvolumes: made}))
	s.reads(s.at("tmp/file"), "nobody keeps this")
}

func testSwap(t *testing.T, s *system) {
	s.unsealed(func() {
		s.write("var/lib/swap file", "")
	})
	proc := t.TempDir()
	s.must(os.WriteFile(filepath.Join(proc, "swaps"), []byte(
		"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"+
			"/dev/vda2                               partition\t1048572\t\t0\t\t-2\n"+
			filepath.Join(proc, "swaps")+"    file\t4\t0\t-4\n"+
			strings.ReplaceAll(s.at("var/lib/swap file"), " ", `\040`)+" file\t\t1048572\t\t0\t\t-3\n"), 0o644))
	store, err := snapshot.Open(s.top, s.Driver, snapshot.Options{Proc: proc})
	s.must(err)
	err = store.Refusals(s.booted().Identity())
	var refused *snapshot.RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, snapshot.ErrSwapFile) {
		t.Fatalf("got %v", err)
	}
	found := strings.Join(refused.SwapFiles, " ")
	if _, isFake := s.Driver.(*Fake); isFake {
		found = strings.TrimPrefix(found, filepath.Join(proc, "swaps")+" ") // one device for everything
	}
	s.same("the swap files", found, "/var/lib/swap file")
	if !strings.Contains(refused.Remedy(), "swapoff '/var/lib/swap file'") {
		t.Errorf("the way out is %q", refused.Remedy())
	}
}
