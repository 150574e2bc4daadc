// What the journal and the snapshots say, for those who only ask.

package update

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Show returns one record with its file changes.
func (u *Updater) Show(n snapshot.Number) (record.Record, error) {
	var rec record.Record
	err := u.Journal.View(func(tx *journal.Tx) (err error) {
		if rec, err = tx.Record(uint64(n)); err != nil {
			return err
		}
		rec.FileChanges, err = tx.Files(uint64(n))
		if errors.Is(err, journal.ErrNotFound) {
			err = nil
		}
		return err
	})
	if errors.Is(err, journal.ErrNotFound) {
		return rec, fmt.Errorf("snapshot %d: %w", n, fault.ErrNotFound)
	}
	return complete(rec), err
}

// ShowNow is Show with the roles that the snapshot has now, none where there is none.
func (u *Updater) ShowNow(n snapshot.Number) (bus.Shown, error) {
	rec, err := u.Show(n)
	doc := bus.Shown{Record: rec, Roles: []string{}}
	if err != nil {
		return doc, err
	}
	v, err := u.existing(n)
	if errors.Is(err, fault.ErrNotFound) {
		return doc, nil
	} else if err != nil {
		return doc, err
	}
	r, err := u.roles()
	if err != nil {
		return doc, err
	}
	doc.Roles = r.describe(v).Roles
	return doc, nil
}

// complete makes absent lists empty ones, so that the JSON has no null where a list belongs.
func complete(rec record.Record) record.Record {
	if rec.Tags == nil {
		rec.Tags = []string{}
	}
	if rec.Commands == nil {
		rec.Commands = []record.Command{}
	}
	if rec.PackageChanges == nil {
		rec.PackageChanges = []record.PackageChange{}
	}
	if rec.FileChanges == nil {
		rec.FileChanges = []record.FileChange{}
	}
	if rec.EtcDecisions == nil {
		rec.EtcDecisions = []record.EtcDecision{}
	}
	if rec.Boots == nil {
		rec.Boots = []record.Boot{}
	}
	return rec
}

// Available lists the names of packages that begin with prefix and that the
// repositories had when their lists were read last.
func (u *Updater) Available(ctx context.Context, prefix string) (bus.PackageNames, error) {
	if err := pkgmgr.CheckPrefix(prefix); err != nil {
		return bus.PackageNames{}, fmt.Errorf("%w: %w", fault.ErrInvalidArgument, err)
	}
	m, err := u.manager()
	if err != nil {
		return bus.PackageNames{}, err
	}
	booted, err := u.booted()
	if err != nil {
		return bus.PackageNames{}, err
	}
	dir, err := u.Store.Locate(booted.subvolume.Identity())
	if err != nil {
		return bus.PackageNames{}, err
	}
	u.queries.Lock()
	defer u.queries.Unlock()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	// The caches are those of the running system, which a sandbox has, too.
	running := pkgmgr.Root{Dir: u.Root, Run: u.rootOf(dir, booted.number).Run}
	names, err := m.Available(ctx, running, prefix)
	if err != nil {
		return bus.PackageNames{}, err
	}
	return bus.PackageNames{Manager: m.Name(), Names: append([]string{}, names...)}, nil
}

// queryTimeout ends a query of the package database that hangs.
const queryTimeout = time.Minute

// Installed lists the packages of a snapshot, by a word or number as for a transaction.
func (u *Updater) Installed(ctx context.Context, from string) (bus.Packages, error) {
	v, err := u.parentOf(from)
	if err != nil {
		return bus.Packages{}, err
	}
	dir, err := u.Store.Locate(v.subvolume.Identity())
	if err != nil {
		return bus.Packages{}, err
	}
	m, err := u.manager()
	if err != nil {
		return bus.Packages{}, err
	}
	// Anybody may ask, and rpm's database needs a process: one at a time, and not for ever.
	u.queries.Lock()
	defer u.queries.Unlock()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	found, err := m.Installed(ctx, u.rootOf(dir, v.number))
	if err != nil {
		return bus.Packages{}, fmt.Errorf("cannot list the packages of snapshot %d: %w", v.number, err)
	}
	doc := bus.Packages{Manager: m.Name(), Snapshot: uint64(v.number), Packages: make([]bus.Package, len(found))}
	for i, p := range found {
		doc.Packages[i] = bus.Package{Name: p.Name, Arch: p.Arch, Version: p.Version}
	}
	return doc, nil
}
