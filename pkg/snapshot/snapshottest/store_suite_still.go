package snapshottest

import (
	"errors"
	"os"
	"path/filepath"
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
