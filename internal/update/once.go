// Booting a snapshot for one boot only.

package update

import (
	"context"
	"fmt"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

// BootOnce makes the next boot, and only that, one of the snapshot; "" takes it back.
func (u *Updater) BootOnce(ctx context.Context, to string, actor record.Actor) error {
	h, done, err := u.change(ctx, "boot-once", actor)
	if err != nil {
		return err
	}
	defer done()
	defer u.letGo(h)
	r, err := u.roles()
	if err != nil {
		return err
	}
	if err := r.facts.Err(); err != nil {
		return err
	}
	if r.facts.Mode != boot.FollowsMenu {
		return fmt.Errorf("%w: the boot loader follows the default subvolume here and cannot be told to boot another one once; \"txctl rollback\" changes what boots", fault.ErrNotSupported)
	}
	if to == "" {
		return u.Boot.Once(nil)
	}
	target, err := r.choose(to)
	if err != nil {
		return err
	}
	if target.foreign || target.rec.BootEntry == nil {
		return fmt.Errorf("%w: snapshot %d is not in the boot menu", fault.ErrNotSupported, target.number)
	}
	n := uint64(target.number)
	if err := u.Boot.Once(&n); err != nil {
		return err
	}
	if err := u.put("boot-once", &actor, target.rec); err != nil {
		return err
	}
	u.notify(Event{Kind: SnapshotsChanged})
	return nil
}
