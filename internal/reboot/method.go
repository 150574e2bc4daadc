// Which kind of reboot it is.

package reboot

import (
	"context"
	"fmt"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// methodOf checks the method that is asked for and returns the one that counts.
func (k *Keeper) methodOf(ctx context.Context, q *request) (string, error) {
	switch q.Method {
	case "":
		return k.Method, nil
	case bus.RebootAuto, bus.RebootFull:
	case bus.RebootSoft:
		if _, err := k.soft(ctx); err != nil {
			return "", fmt.Errorf("%w: a soft-reboot is not possible: %w", fault.ErrNotSupported, err)
		}
	default:
		return "", fmt.Errorf("%w: a machine is rebooted by the method %s, %s or %s, not %q",
			fault.ErrInvalidArgument, bus.RebootAuto, bus.RebootFull, bus.RebootSoft, q.Method)
	}
	return q.Method, nil
}

// soft is the root of a soft-reboot, or why there can be none.
func (k *Keeper) soft(ctx context.Context) (subvolume uint64, err error) {
	if subvolume, err = k.SameKernel(); err != nil {
		return 0, err
	}
	return subvolume, k.Host.Soft(ctx)
}

// way is how the request would be carried out now, and why so. A soft-reboot
// that has become impossible since it was asked for is a full one.
func (k *Keeper) way(ctx context.Context, q *request) (subvolume uint64, method, why string) {
	switch {
	case q.Method == bus.RebootFull:
		return 0, bus.RebootFull, "it was asked for"
	case q.Method == "" && k.Method == bus.RebootFull:
		return 0, bus.RebootFull, "it is configured (reboot.method)"
	}
	subvolume, err := k.soft(ctx)
	if err != nil {
		return 0, bus.RebootFull, err.Error()
	}
	return subvolume, bus.RebootSoft, "the kernel and its command line stay the same"
}

// begin reboots.
func (k *Keeper) begin(ctx context.Context, q *request, now time.Time) error {
	subvolume, method, why := k.way(ctx, q)
	k.Log.Info("rebooting", "method", method, "why", why, "asked", q.Requested, "by", q.By, "reasons", q.Reasons)
	k.Soon(now, "rebooting now")
	if method == bus.RebootSoft {
		err := k.Host.SoftReboot(ctx, subvolume)
		if err == nil {
			return nil
		}
		k.Log.Warn("the soft-reboot does not begin; a full one does", "error", err)
	}
	return k.Host.Reboot(ctx)
}
