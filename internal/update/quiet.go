// The running system while a package manager is at work on it: a fork of it would
// have half of a change.

package update

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/pkgmgr"
)

// lookAgain is how often it is looked whether a package manager has ended: locks
// of others tell nobody.
const lookAgain = 200 * time.Millisecond

// atWork is a package manager that changes the running system.
type atWork struct {
	who    pkgmgr.Working
	waited time.Duration
	// meanwhile: it began just when the running system was forked.
	meanwhile bool
}

func (e *atWork) Error() string {
	if e.meanwhile {
		return fmt.Sprintf("a package manager began to work on the running system meanwhile: %v", e.who)
	}
	return fmt.Sprintf("a package manager is at work on the running system: %v; waited %v for it (packages.wait)", e.who, e.waited)
}
func (e *atWork) Unwrap() error { return fault.ErrBusy }

// again reports whether a beginning is worth another try: others got in its way.
func again(err error) bool {
	var work *atWork
	return errors.Is(err, errTaken) || errors.As(err, &work) && work.meanwhile
}

// awaitQuiet waits until no package manager changes the parent, if that is the
// running system, for as long as the configuration says.
func (u *Updater) awaitQuiet(ctx context.Context, parent view) error {
	if runs, err := u.runs(parent); err != nil || !runs {
		return err
	}
	// Of the system's clock nothing is asked: it may be set meanwhile.
	patience := time.NewTimer(u.Config.Packages.Wait)
	defer patience.Stop()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		who, busy, err := pkgmgr.AtWork(u.Root)
		if err != nil || !busy {
			return err
		}
		if u.stopping() {
			return fmt.Errorf("%w: the daemon is stopping", fault.ErrBusy)
		}
		select {
		case <-patience.C:
			return &atWork{who: who, waited: u.Config.Packages.Wait}
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", fault.ErrCancelled, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// undisturbed looks once more, when the fork is made.
func (u *Updater) undisturbed(parent view) error {
	if runs, err := u.runs(parent); err != nil || !runs {
		return err
	}
	who, busy, err := pkgmgr.AtWork(u.Root)
	if err == nil && busy {
		err = &atWork{who: who, meanwhile: true}
	}
	return err
}

// runs reports whether a root is the running one.
func (u *Updater) runs(v view) (bool, error) {
	booted, err := u.Store.Booted()
	return err == nil && booted.Identity() == v.subvolume.Identity(), err
}
