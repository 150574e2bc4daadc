package snapshottest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/txupd/txupd/pkg/snapshot"
)

func TestFakeIsADriver(t *testing.T) {
	RunDriver(t, func(t *testing.T) (snapshot.Driver, string) {
		f := NewFake(t)
		return f, f.Top
	})
}

func TestFakeHoldsAStore(t *testing.T) {
	RunStore(t, func(t *testing.T) (snapshot.Driver, string) {
		f := NewFake(t)
		return f, NewRoot(t, f)
	})
}

func TestFakeSwapFileKeepsFromForking(t *testing.T) {
	f := NewFake(t)
	if err := f.Create(filepath.Join(f.Top, "a")); err != nil {
		t.Fatal(err)
	}
	f.SwapFile = filepath.Join(f.Top, "a/swap")
	err := f.Fork(filepath.Join(f.Top, "a"), filepath.Join(f.Top, "b"), true)
	if !errors.Is(err, snapshot.ErrSwapFile) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(f.Top, "b")); err == nil {
		t.Error("it was forked")
	}
}

// forgetful takes a default and does not keep it, as a read-only file system
// with a broken kernel might.
type forgetful struct{ *Fake }

func (forgetful) SetDefault(string, snapshot.SubvolumeID) error { return nil }

func TestDefaultThatDidNotStickIsAnError(t *testing.T) {
	f := NewFake(t)
	root := NewRoot(t, f)
	s, err := snapshot.Open(root, forgetful{f}, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetDefault(snapshot.TopLevel); err == nil {
		t.Error("nothing was said")
	}
}
