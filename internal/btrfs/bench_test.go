package btrfs

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

// populate makes a store with a number of snapshots besides.
func populate(b *testing.B, snapshots int) (*snapshot.Store, string) {
	b.Helper()
	root := testbed.Layout(b, "opensuse")
	s, err := snapshot.Open(root, Driver{}, snapshot.Options{})
	if err != nil {
		b.Fatal(err)
	}
	booted, err := s.Booted()
	if err != nil {
		b.Fatal(err)
	}
	for n := range snapshots / 2 {
		uuid := fmt.Sprintf("44444444-4444-4444-8444-%012d", n)
		_, err := s.Prepare(b.Context(), snapshot.PrepareRequest{UUID: uuid, Number: snapshot.Number(n + 2), Parent: booted.Identity()})
		if err == nil {
			_, err = s.Publish(uuid, 0)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return s, root
}

// BenchmarkTransaction is everything that the store does for a committed
// transaction; BenchmarkBareTransaction what of that the kernel does.
func BenchmarkTransaction(b *testing.B) {
	for _, n := range []int{0, 1000} {
		b.Run(fmt.Sprintf("subvolumes=%d", n), func(b *testing.B) {
			s, _ := populate(b, n)
			i := 0
			for b.Loop() {
				i++
				uuid := fmt.Sprintf("55555555-5555-4555-8555-%012d", i)
				booted, err := s.Booted()
				if err != nil {
					b.Fatal(err)
				}
				next, err := s.NextNumber(0)
				if err != nil {
					b.Fatal(err)
				}
				made, err := s.Prepare(b.Context(), snapshot.PrepareRequest{UUID: uuid, Number: next, Parent: booted.Identity()})
				if err != nil {
					b.Fatal(err)
				}
				number, err := s.Publish(uuid, 0)
				if err != nil {
					b.Fatal(err)
				}
				root := made.Subvolumes[snapshot.RoleSnapshot]
				if _, err := s.Flush(number, root, false); err != nil {
					b.Fatal(err)
				}
				if err := s.SetDefault(root.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBareTransaction(b *testing.B) {
	for _, n := range []int{0, 1000} {
		b.Run(fmt.Sprintf("subvolumes=%d", n), func(b *testing.B) {
			s, root := populate(b, n)
			i := 0
			for b.Loop() {
				i++
				if err := bare(root, filepath.Join(s.Layout().SnapshotsDir, fmt.Sprint("bare", i))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// bare is two forks, a seal, a new default and one commit.
func bare(root, fork string) error {
	var d Driver
	if err := d.Fork(root, fork+"base", true); err != nil {
		return err
	}
	if err := d.Fork(root, fork, false); err != nil {
		return err
	}
	if err := d.SetReadOnly(fork, true); err != nil {
		return err
	}
	sv, err := d.Info(fork)
	if err != nil {
		return err
	}
	if err := d.SetDefault(root, sv.ID); err != nil {
		return err
	}
	return d.Sync(root)
}

func BenchmarkReading(b *testing.B) {
	s, root := populate(b, 1000)
	d := Driver{}
	booted, err := s.Booted()
	if err != nil {
		b.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"List":     func() error { _, err := d.List(root); return err },
		"Info":     func() error { _, err := d.Info(root); return err },
		"Default":  func() error { _, err := s.Default(); return err },
		"Refusals": func() error { return s.Refusals(booted.Identity()) },
		"Numbers":  func() error { _, err := s.Numbers(); return err },
		"Entries":  func() error { _, err := s.Entries(); return err },
		"Open":     func() error { _, err := snapshot.Open(root, d, snapshot.Options{}); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
