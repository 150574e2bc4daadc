// Recovery as something that can be asked for: what a start mends, what it did,
// and what it could not do.

package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/engine"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// repairedKey is where the journal keeps the last repair beside its event.
const repairedKey = "repaired"

// Repair does again what every start does: it ends what was interrupted, and
// rebuilds what is derived. done says what it did, left what it could not do.
func (u *Updater) Repair(ctx context.Context, actor record.Actor) (bus.Repair, error) {
	h, over, err := u.changeAnyhow(ctx, "a repair", actor)
	if err != nil {
		return bus.Repair{}, err
	}
	defer over()
	defer u.letGo(h)
	u.mu.Lock()
	u.troubles = nil
	u.mu.Unlock()
	done, err := u.endInterrupted(ctx)
	if err != nil {
		return bus.Repair{}, err
	}
	done = append(done, u.handOverLate(ctx)...)
	u.trouble(u.tidyShared(nil), "what was kept of shared trees could not be removed")
	boot, err := u.reconcileBoot(ctx)
	u.trouble(err, "the boot menu could not be brought up to date")
	done = append(done, boot...)
	err = u.noteRepair(&actor, done)
	u.printHead()
	return bus.Repair{Done: append([]string{}, done...), Left: append([]string{}, u.standingTroubles()...)}, err
}

// endInterrupted finishes or undoes every transaction that was interrupted, and
// removes what no recorded step speaks of any more.
func (u *Updater) endInterrupted(ctx context.Context) (done []string, err error) {
	var unfinished []uint64
	if err := u.Journal.View(func(tx *journal.Tx) (err error) {
		unfinished, err = tx.Unfinished()
		return err
	}); err != nil {
		return nil, err
	}
	for _, n := range unfinished {
		did, err := u.resume(ctx, n)
		if errors.Is(err, engine.ErrUnknownKind) {
			// A newer version wrote it. Nothing may be changed around it; reading does no harm.
			u.mu.Lock()
			u.blocked = fmt.Errorf("transaction %d is unfinished and of a newer version: %w", n, err)
			u.mu.Unlock()
		}
		u.trouble(err, fmt.Sprintf("transaction %d could not be resumed", n))
		if err == nil && did != "" {
			done = append(done, did)
		}
	}
	swept, err := u.sweep()
	u.trouble(err, "what an interrupted transaction left could not be removed")
	return append(done, swept...), nil
}

// sweep removes half-made and half-removed snapshots that no recorded step
// speaks of: what a lost journal leaves.
func (u *Updater) sweep() (done []string, err error) {
	orphans, err := u.Store.Orphans()
	if err != nil {
		return nil, err
	}
	for _, o := range orphans {
		t := u.Current()
		if t != nil && t.rec.UUID == o.UUID {
			continue
		}
		e := u.Store.Remove(snapshot.RemoveRequest{UUID: o.UUID})
		if e == nil {
			done = append(done, fmt.Sprintf("removed what transaction %s left", o.UUID))
		}
		err = errors.Join(err, e)
	}
	return done, err
}

// reconcileBoot rebuilds what is derived from records and menu: the default
// subvolume, entries of snapshots that are gone or new, staged kernels.
func (u *Updater) reconcileBoot(ctx context.Context) (done []string, err error) {
	f, ok, err := u.menuFacts()
	if err != nil || !ok {
		return nil, err
	}
	refreshed, err := u.refreshEntry()
	if err != nil {
		return nil, err
	}
	st, err := u.menuState(ctx)
	if err != nil || !st.Found {
		return nil, err
	}
	next, err := u.recordOf(st.Default)
	if err != nil {
		return nil, err
	}
	m, err := u.menu(f, menuRequest{next: next})
	if err != nil {
		return nil, err
	}
	if due := m.Summary().Entries; refreshed || !slices.Equal(due, st.Entries) {
		if err := u.Boot.Switch(ctx, m); err != nil {
			return nil, err
		}
		done = append(done, fmt.Sprintf("wrote the boot menu anew, with entries for %s", numberWords(due)))
	}
	before, err := u.Driver.Default(u.Root)
	if err == nil {
		err = u.follow(ctx, menuData{Number: snapshot.Number(next.Number)})
	}
	if now, e := u.Driver.Default(u.Root); err == nil && e == nil && now != before {
		done = append(done, fmt.Sprintf("made the default subvolume follow the boot menu, which boots snapshot %d", next.Number))
	}
	return done, errors.Join(err, u.sweepKernels(ctx))
}

// numberWords lists the numbers of snapshots.
func numberWords(numbers []uint64) string {
	if len(numbers) == 0 {
		return "no snapshot"
	}
	text := fmt.Sprint(numbers[0])
	for i, n := range numbers[1:] {
		if i == len(numbers)-2 {
			text += " and "
		} else {
			text += ", "
		}
		text += fmt.Sprint(n)
	}
	return text
}

// noteRepair records what was repaired, if anything was; actor is nil where a start did it.
func (u *Updater) noteRepair(actor *record.Actor, done []string) error {
	if len(done) == 0 {
		return nil
	}
	for _, words := range done {
		u.Log.Warn("repaired: " + words)
	}
	raw, err := json.Marshal(bus.Repaired{Time: u.Now().UTC(), Done: done})
	if err != nil {
		return err
	}
	return u.Journal.Update(func(tx *journal.Tx) error {
		return errors.Join(tx.Tell("repaired", actor, done), tx.PutMeta(repairedKey, raw))
	})
}

// lastRepair is the latest one, nil where there was none.
func (u *Updater) lastRepair() (last *bus.Repaired, err error) {
	return last, u.Journal.View(func(tx *journal.Tx) error { return noteIn(tx, repairedKey, &last) })
}

// trouble notes what is wrong, for the log and for those who ask. It does not
// keep the daemon from serving: reading, and rolling back, matter most then.
func (u *Updater) trouble(err error, what string) {
	if err == nil {
		return
	}
	u.Log.Error(what, "error", err)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.troubles = append(u.troubles, fmt.Sprintf("%s: %v", what, err))
}

// standingTroubles are what could not be mended.
func (u *Updater) standingTroubles() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.troubles)
}
