// What boots next, and by whose word: where the loader follows the default
// subvolume that is the default subvolume, where it has a menu of ours the
// default entry of the menu, and the default subvolume follows it.

package update

import (
	"context"
	"errors"
	"fmt"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// facts asks the machine how it boots. It is asked each time: a mounted boot
// partition, an edited fstab, a setup change the answer while the daemon runs.
func (u *Updater) facts() (boot.Facts, error) {
	f, err := u.Boot.Probe(context.Background())
	if err != nil {
		return f, fmt.Errorf("cannot find out how this machine boots: %w", err)
	}
	return f, nil
}

// menuFacts are the facts of a machine whose menu decides and can be written; ok is false on others.
func (u *Updater) menuFacts() (f boot.Facts, ok bool, err error) {
	f, err = u.facts()
	return f, err == nil && f.Mode == boot.FollowsMenu && f.Err() == nil, err
}

// next is what boots next.
func (u *Updater) next(f boot.Facts, booted view) (view, error) {
	if f.Mode != boot.FollowsMenu {
		s, err := u.Store.Default()
		if err != nil {
			return view{}, err
		}
		return u.viewOf(s)
	}
	st, err := u.menuState(context.Background())
	if err != nil {
		return view{}, err
	}
	if !st.Found || st.Default == uint64(booted.number) && !booted.foreign {
		return booted, nil // without a menu of ours the machine boots what it always did
	}
	v, err := u.existing(snapshot.Number(st.Default))
	if errors.Is(err, fault.ErrNotFound) {
		return view{number: snapshot.Number(st.Default), foreign: true}, nil
	}
	return v, err
}

// menuState is what the menu says. One that is damaged says nothing any more;
// the default subvolume, which follows it, stands in until it is written anew.
func (u *Updater) menuState(ctx context.Context) (boot.State, error) {
	st, err := u.Boot.State(ctx)
	if !errors.Is(err, grubcfg.ErrMenuChanged) && !errors.Is(err, grubcfg.ErrNotMenu) {
		return st, err
	}
	damage := err
	s, err := u.Store.Default()
	if err != nil {
		return st, errors.Join(damage, err)
	}
	v, err := u.viewOf(s)
	if err != nil || v.foreign {
		return st, errors.Join(damage, err)
	}
	return boot.State{Found: true, Default: uint64(v.number)}, nil
}

// sameNumber reports whether both name the same entry of the menu, or both none.
func sameNumber(a, b *uint64) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// menuDefault is the number that the menu boots, nil where there is no menu yet.
func (u *Updater) menuDefault() (*uint64, error) {
	st, err := u.menuState(context.Background())
	if err != nil || !st.Found {
		return nil, err
	}
	return &st.Default, nil
}

// entryOf records what a snapshot boots with.
func entryOf(k boot.Kernel, commandLine string, assessed bool) *record.BootEntry {
	return &record.BootEntry{
		KernelVersion: k.Version, Kernel: k.Kernel, Initrd: k.Initrd, BootUUID: k.BootUUID,
		CommandLine: commandLine, Assessed: assessed,
	}
}

func kernelOf(e *record.BootEntry) boot.Kernel {
	return boot.Kernel{Version: e.KernelVersion, Kernel: e.Kernel, Initrd: e.Initrd, BootUUID: e.BootUUID}
}
