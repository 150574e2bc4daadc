// The steps of a transaction that concern its boot, where the loader has a menu
// of ours.

package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/engine"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Kinds of steps, as they stand in journals: never rename one.
const (
	stepStage    = "stage"     // kernel and initrd onto the boot partition
	stepBootMenu = "boot-menu" // the commit point where the loader has a menu
	stepFollow   = "follow"    // the default subvolume follows the menu
	stepForget   = "forget"    // the menu without a snapshot that is to go
)

// menuData is the data of boot-menu, follow and forget.
type menuData struct {
	Number snapshot.Number `json:"number"`
	UUID   string          `json:"uuid,omitempty"` // of the transaction that makes it; "" where the record is closed
	// From is what the menu booted before, nil where there was no menu.
	From *uint64 `json:"from"`
}

// intendSwitch records how a snapshot becomes what boots next on this machine.
func (u *Updater) intendSwitch(plan *engine.Plan, f boot.Facts, d switchData) error {
	if f.Mode != boot.FollowsMenu {
		return plan.Intend(stepSetDefault, d)
	}
	from, err := u.menuDefault()
	if err != nil {
		return err
	}
	m := menuData{Number: d.Number, UUID: d.UUID, From: from}
	return errors.Join(plan.Intend(stepBootMenu, m), plan.Intend(stepFollow, m))
}

// stage puts what the snapshot boots with where the loader reads it, and notes it in the record.
func (u *Updater) stage(ctx context.Context, d makeData) error {
	t, err := u.Transaction(d.Number)
	if err != nil {
		return err
	}
	root := u.Store.Path(d.Number, snapshot.RoleSnapshot)
	k, err := boot.Find(root)
	if err != nil {
		return fmt.Errorf("snapshot %d would not boot: %w", d.Number, err)
	}
	if k, err = u.Boot.Stage(ctx, root, k); err != nil {
		return err
	}
	line, err := u.commandLine()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec.BootEntry = entryOf(k, line, assessed(root))
	return nil
}

// unstage removes what was staged for a transaction that came to nothing.
func (u *Updater) unstage(ctx context.Context, d makeData) error {
	if t, err := u.Transaction(d.Number); err == nil {
		t.mu.Lock()
		t.rec.BootEntry = nil
		t.mu.Unlock()
	}
	return u.sweepKernels(ctx)
}

// bootMenu is the commit point where the loader has a menu: compare, arm the
// counter, replace the menu, read it back.
func (u *Updater) bootMenu(ctx context.Context, d menuData) error {
	f, err := u.facts()
	if err != nil {
		return err
	}
	if err := f.Err(); err != nil {
		return err
	}
	rec, err := u.switched(d)
	if err != nil {
		return err
	}
	now, err := u.menuDefault()
	if err != nil {
		return err
	}
	number := uint64(d.Number)
	if !sameNumber(now, &number) {
		if !sameNumber(now, d.From) {
			return fmt.Errorf("%w: the boot menu had %s and has %s", fault.ErrStale, menuWords(d.From), menuWords(now))
		}
		// The last moment at which a cancelled caller changes anything.
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", fault.ErrCancelled, err)
		}
	}
	m, err := u.menu(f, menuRequest{next: rec})
	if err != nil {
		return err
	}
	// What the menu will point at is durable before the menu can be.
	if err := u.Driver.Sync(u.Root); err != nil {
		return err
	}
	if m.Trial != nil {
		if err := u.Boot.Arm(rec.Number, m.Trial.Tries); err != nil {
			return fmt.Errorf("cannot set the boot counter: %w", err)
		}
	}
	return u.Boot.Switch(ctx, m)
}

func menuWords(n *uint64) string {
	if n == nil {
		return "no entry of ours"
	}
	return fmt.Sprintf("snapshot %d", *n)
}

// switched is the record of what boots next: from beside the snapshot where its transaction is not closed yet.
func (u *Updater) switched(d menuData) (record.Record, error) {
	if d.UUID == "" {
		return u.recordOf(uint64(d.Number))
	}
	return u.markedRecord(d.Number, d.UUID)
}

// disarm takes the counter back of a snapshot that was not switched to.
func (u *Updater) disarm(_ context.Context, d menuData) error {
	if d.UUID == "" {
		return nil // a rollback: it may be on trial all the same
	}
	return u.Boot.Disarm(uint64(d.Number))
}

// isMenuDefault: the switch happened where the menu says so, or where it runs already.
func (u *Updater) isMenuDefault(_ context.Context, d menuData) (bool, error) {
	now, err := u.menuDefault()
	if err != nil {
		return false, err
	}
	if number := uint64(d.Number); sameNumber(now, &number) {
		return true, nil
	}
	rec, err := u.switched(d)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, snapshot.ErrForeign) || errors.Is(err, fault.ErrNotFound) {
		return false, nil // it was never published
	}
	if err != nil {
		return false, err
	}
	if d.UUID == "" {
		return false, nil // a rollback: that it was booted before says nothing
	}
	booted, err := u.Store.Booted()
	if err != nil {
		return false, err
	}
	if booted.Identity() == rootOfRecord(rec) {
		return true, nil
	}
	// Neither what it was nor what it should become: somebody has switched again since.
	return !sameNumber(now, d.From) && rec.Phase == record.Committed, nil
}

// follow makes the default subvolume what the menu boots: for those who look
// there, and for a loader without our menu.
func (u *Updater) follow(_ context.Context, d menuData) error {
	root, err := u.Driver.Info(u.Store.Path(d.Number, snapshot.RoleSnapshot))
	if errors.Is(err, fs.ErrNotExist) || d.Number == 0 {
		v, err := u.existing(d.Number)
		if err != nil {
			return err
		}
		root = v.subvolume
	} else if err != nil {
		return err
	}
	now, err := u.Driver.Default(u.Root)
	if err != nil || now == root.ID {
		return err
	}
	return u.Store.SetDefault(root.ID)
}

// forget writes the menu without a snapshot that is about to be removed.
func (u *Updater) forget(ctx context.Context, d menuData) error {
	f, err := u.facts()
	if err != nil || f.Mode != boot.FollowsMenu {
		return err
	}
	if err := u.writeMenu(ctx, f, uint64(d.Number)); err != nil {
		return err
	}
	return u.Boot.Disarm(uint64(d.Number))
}

// commandLine is what the kernel was started with, without what named its root.
// Where the system that is served is not the running one, it is taken from the
// latest entry that was made while it ran.
func (u *Updater) commandLine() (string, error) {
	if u.CommandLine != "" {
		return grubcfg.CommandLine(u.CommandLine), nil
	}
	booted, err := u.booted()
	if err != nil {
		return "", err
	}
	if e := booted.rec.BootEntry; e != nil {
		return e.CommandLine, nil
	}
	return "", fmt.Errorf("%w: the kernel command line of this system is not known: it has to be running", fault.ErrNotSupported)
}
