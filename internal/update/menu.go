// The boot menu: one entry for each snapshot that can be booted, rendered anew
// from the records at every change.

package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/inroot"
	"github.com/txupd/txupd/pkg/grubcfg"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// titleLength is how much of a message an entry's title has, in characters: GRUB
// cuts lines at the width of the screen, and what comes after it matters more.
const titleLength = 40

// menuRequest says what the menu is to be.
type menuRequest struct {
	next    record.Record // boots next
	without []uint64      // snapshots that are about to go
}

// menu is the whole menu. Whether the next one is on trial follows from its
// verdict: what was never found good is tried, and counted where that is possible.
func (u *Updater) menu(f boot.Facts, q menuRequest) (grubcfg.Menu, error) {
	m := grubcfg.Menu{Default: q.next.Number}
	subvolumes, err := u.Driver.List(u.Root)
	if err != nil {
		return m, err
	}
	records, err := u.bootableRecords(q)
	if err != nil {
		return m, err
	}
	for _, rec := range records {
		at := slices.IndexFunc(subvolumes, func(s snapshot.Subvolume) bool { return s.Identity() == rootOfRecord(rec) })
		if at < 0 {
			if rec.Number == q.next.Number {
				return m, fmt.Errorf("snapshot %d cannot boot: its subvolume is gone: %w", rec.Number, fault.ErrNotFound)
			}
			continue
		}
		m.Entries = append(m.Entries, u.menuEntry(f, rec, subvolumes[at].Path))
	}
	fallback, err := u.fallbackOf(records, q.next.Number)
	if err != nil {
		return m, err
	}
	m.Fallback = fallback
	if f.Once {
		m.Once = f.Counter
	}
	if q.next.Verdict != record.Good && q.next.BootEntry.Assessed && f.Counts && fallback != nil {
		m.Trial = &grubcfg.Trial{Tries: u.Config.Boot.Tries}
		if f.Counter != nil {
			m.Trial.Counter = *f.Counter
		}
		m.Entries[0].CommandLine = unattended(m.Entries[0].CommandLine)
	}
	return m, nil
}

// bootableRecords are the committed snapshots that know what they boot with, the next one first,
// then the newest first, and what txupd did not make last.
func (u *Updater) bootableRecords(q menuRequest) ([]record.Record, error) {
	if q.next.BootEntry == nil {
		return nil, fmt.Errorf("%w: snapshot %d has no boot entry: it was made before the boot menu was set up", fault.ErrNotSupported, q.next.Number)
	}
	records := []record.Record{q.next}
	var adopted []record.Record
	err := u.Journal.View(func(tx *journal.Tx) error {
		for rec, err := range u.standing(tx) {
			if err != nil {
				return err
			}
			if rec.Number == q.next.Number || rec.Phase != record.Committed || rec.Deleted != nil || rec.BootEntry == nil || slices.Contains(q.without, rec.Number) {
				continue
			}
			if rec.Adopted {
				adopted = append(adopted, rec)
				continue
			}
			records = append(records, rec)
		}
		return nil
	})
	return append(records, adopted...), err
}

// fallbackOf is what boots when the next one cannot: the last good one of the records, else what runs.
func (u *Updater) fallbackOf(records []record.Record, next uint64) (*uint64, error) {
	var best *record.Record
	for i, rec := range records {
		if rec.Number != next && rec.Verdict == record.Good && (best == nil || rec.VerdictSequence > best.VerdictSequence) {
			best = &records[i]
		}
	}
	if best != nil {
		return &best.Number, nil
	}
	booted, err := u.booted()
	if err != nil {
		return nil, err
	}
	n := uint64(booted.number)
	if booted.foreign || n == next || !slices.ContainsFunc(records, func(r record.Record) bool { return r.Number == n }) {
		return nil, nil
	}
	return &n, nil
}

func (u *Updater) booted() (view, error) {
	s, err := u.Store.Booted()
	if err != nil {
		return view{}, err
	}
	return u.viewOf(s)
}

func (u *Updater) menuEntry(f boot.Facts, rec record.Record, path string) grubcfg.Entry {
	e := rec.BootEntry
	return grubcfg.Entry{
		Number: rec.Number, Title: title(rec), RootUUID: f.RootUUID, RootPath: path,
		Kernel: e.Kernel, Initrd: e.Initrd, BootUUID: e.BootUUID, KernelVersion: e.KernelVersion,
		CommandLine: u.rebootOnPanic(e.CommandLine),
	}
}

// title is what a person chooses by.
func title(rec record.Record) string {
	words, _, _ := strings.Cut(rec.Message, "\n")
	if r := []rune(words); len(r) > titleLength {
		words = string(r[:titleLength-1]) + "…"
	}
	return fmt.Sprintf("%d: %s (%s, %s)", rec.Number, words, rec.Created.Local().Format("2006-01-02 15:04"), rec.BootEntry.KernelVersion)
}

// rebootOnPanic lets a kernel that gives up reboot, so that the loader comes to
// count: also the initial ramdisk heeds it, where init cannot be started. What
// the administrator said stays.
func (u *Updater) rebootOnPanic(line string) string {
	if _, said := grubcfg.Parameter(line, "panic"); said {
		return line
	}
	return grubcfg.WithParameters(line, fmt.Sprintf("panic=%d", int(u.Config.Boot.PanicTimeout.Seconds())))
}

// unattended keeps an initial ramdisk of dracut from waiting for a person where
// it cannot go on (dracut.cmdline(7)); that of Debian heeds panic=.
func unattended(line string) string {
	return grubcfg.WithParameters(line, "rd.shell=0", "rd.emergency=reboot")
}

// assessed reports whether a root contains what gives its boot a verdict, and runs it at boot.
func assessed(root string) bool {
	r, err := inroot.Open(root)
	if err != nil {
		return false
	}
	defer r.Close()
	if _, err := r.Stat("usr/libexec/txupd"); err != nil {
		return false
	}
	for _, unit := range []string{"etc/systemd/system/multi-user.target.wants/", "usr/lib/systemd/system/multi-user.target.wants/"} {
		// A link, absolute as systemctl makes them: it need not lead anywhere from here.
		if _, err := r.Lstat(unit + verdictUnit); err == nil {
			return true
		}
	}
	return false
}

const verdictUnit = "txupd-boot-verdict.service"

// writeMenu writes the menu as it is now due, without changing what boots next.
func (u *Updater) writeMenu(ctx context.Context, f boot.Facts, without ...uint64) error {
	st, err := u.menuState(ctx)
	if err != nil || !st.Found {
		return err
	}
	next, err := u.recordOf(st.Default)
	if err != nil {
		return err
	}
	m, err := u.menu(f, menuRequest{next: next, without: without})
	if err != nil {
		return err
	}
	u.makeRoom()
	return u.Boot.Switch(ctx, m)
}

func (u *Updater) recordOf(n uint64) (record.Record, error) {
	var rec record.Record
	err := u.Journal.View(func(tx *journal.Tx) (err error) {
		rec, err = tx.Record(n)
		return err
	})
	if errors.Is(err, journal.ErrNotFound) {
		err = fmt.Errorf("snapshot %d: %w", n, fault.ErrNotFound)
	}
	return rec, err
}

// sweepKernels removes staged kernels that no snapshot needs any more.
func (u *Updater) sweepKernels(ctx context.Context) error {
	var keep []boot.Kernel
	err := u.Journal.View(func(tx *journal.Tx) error {
		for rec, err := range u.standing(tx) {
			if err != nil {
				return err
			}
			if rec.BootEntry != nil && rec.Deleted == nil && (rec.Phase == record.Committed || rec.Phase == record.Open) {
				keep = append(keep, kernelOf(rec.BootEntry))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return u.Boot.Sweep(ctx, keep)
}
