package snapshottest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/txupd/txupd/pkg/snapshot"
)

// testStill: what is held still does not move, and nothing is left of it.
func testStill(t *testing.T, s *system) {
	before := s.subvolumes()
	s.write("etc/motd", "then")
	booted, err := s.Booted()
	s.must(err)
	still, release, err := s.Still(booted.Identity(), first)
	s.must(err)
	s.write("etc/motd", "now")
	held, err := os.ReadFile(filepath.Join(still.Dir, "etc/motd"))
	if err != nil || string(held) != "then" {
		t.Errorf("it holds %q, %v", held, err)
	}
	if !still.Subvolume.ReadOnly || still.Subvolume.ParentUUID != booted.UUID {
		t.Errorf("it is %+v", still.Subvolume)
	}
	if _, _, err := s.Still(booted.Identity(), first); !errors.Is(err, os.ErrExist) {
		t.Errorf("twice under one uuid: %v", err)
	}
	orphans, err := s.Orphans()
	if err != nil || len(orphans) != 1 || orphans[0].UUID != first {
		t.Errorf("after a crash nothing would find it: %+v, %v", orphans, err)
	}
	s.must(release())
	if now := s.subvolumes(); len(now) != len(before) {
		t.Errorf("left behind: %q, before %q", now, before)
	}
	if _, _, err := s.Still(snapshot.Identity{ID: booted.ID}, first); !errors.Is(err, snapshot.ErrNoSubvolume) {
		t.Errorf("another uuid: %v", err)
	}
}

// testReach: a root is found wherever it lies, and nothing stays mounted for it.
func testReach(t *testing.T, s *system) {
	top, unmount, err := s.MountTop(s.top)
	s.must(err)
	elsewhere := filepath.Join(top, "elsewhere")
	s.must(s.Create(elsewhere))
	s.must(os.WriteFile(filepath.Join(elsewhere, "here"), []byte("it"), 0o600))
	sv, err := s.Info(elsewhere)
	s.must(err)
	s.must(unmount())
	dir, found, release, err := s.Reach(sv.Identity())
	s.must(err)
	if text, err := os.ReadFile(filepath.Join(dir, "here")); err != nil || string(text) != "it" || found.Identity() != sv.Identity() {
		t.Errorf("%s holds %q, %v, and is %+v", dir, text, err, found)
	}
	s.must(release())
	if mounted, err := filepath.Glob("/run/txupd-top-*"); err != nil || slices.Contains(mounted, filepath.Dir(dir)) {
		t.Errorf("left behind: %q, %v", mounted, err)
	}
	booted, err := s.Booted()
	s.must(err)
	dir, _, release, err = s.Reach(booted.Identity())
	if err != nil || !strings.HasPrefix(dir, s.Layout().RootDir) {
		t.Errorf("the booted one is at %q, %v", dir, err)
	}
	s.must(release())
	if _, _, _, err := s.Reach(snapshot.Identity{ID: sv.ID}); !errors.Is(err, snapshot.ErrNoSubvolume) {
		t.Errorf("another uuid: %v", err)
	}
}
