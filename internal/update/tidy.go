// Housekeeping by itself: after every commit what the rules let go goes, in the
// background and behind everybody who wants to change something.

package update

import (
	"errors"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

// tidying is what housekeeping has to do.
type tidying struct {
	running bool
	again   bool // there was another commit since it looked
}

// tidy starts housekeeping, unless somebody wants to do it himself.
func (u *Updater) tidy() {
	if !u.Config.GC.Automatic || u.configured() != nil {
		return
	}
	u.mu.Lock()
	u.tidying.again = true
	running := u.tidying.running || u.closing
	if !running {
		u.tidying.running = true
		u.active++
		u.work.Add(1)
	}
	u.mu.Unlock()
	if running {
		return
	}
	go func() {
		defer u.endWork()
		for u.moreToTidy() {
			u.tidyOnce()
		}
	}()
}

// moreToTidy reports whether there was a commit since housekeeping looked.
func (u *Updater) moreToTidy() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	more := u.tidying.again && !u.closing
	u.tidying = tidying{running: more}
	return more
}

// tidyOnce deletes what may go. Where somebody is at work it is left to the next
// commit, which may be his.
func (u *Updater) tidyOnce() {
	doc, err := u.GC(u.life, false, record.Actor{Name: "txupd"})
	if len(doc.Deleted) > 0 {
		u.Log.Info("old snapshots were deleted", "snapshots", doc.Deleted)
	}
	for _, f := range doc.Failed {
		u.Log.Warn("an old snapshot could not be deleted", "snapshot", f.Number, "error", f.Message)
	}
	if err != nil && !errors.Is(err, fault.ErrBusy) && u.life.Err() == nil {
		u.Log.Error("old snapshots could not be deleted", "error", err)
	}
}
