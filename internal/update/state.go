// The state outside of a snapshot at the turn from one root to the next: at
// shutdown and early in the first boot, without the bus. See DESIGN §7.

package update

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Turned is what was done at such a turn.
type Turned struct {
	// Words say it, a sentence each.
	Words []string
	// Decided are the decisions about /etc, those of before left out.
	Decided []record.EtcDecision
}

// AtShutdown brings what was edited in the running /etc into the snapshot that
// boots next, if that has never booted: what booted keeps its /etc as it is.
func (u *Updater) AtShutdown(ctx context.Context) (Turned, error) {
	r, err := u.roles()
	if err != nil {
		return Turned{}, err
	}
	next, ok := r.pending()
	if !ok || !u.first(next) || next.rec.EtcOf != r.booted.subvolume.UUID.String() {
		return Turned{}, nil
	}
	return u.turnEtc(ctx, next, r.booted.subvolume, false)
}

// AtBoot is called before anything reads /etc or uses a shared tree: it merges
// what a shutdown did not come to, because the power was cut, and hands over
// what was captured.
func (u *Updater) AtBoot(ctx context.Context) (Turned, error) {
	// A power cut may have come between a switch and its record.
	if err := u.rebuild(ctx); err != nil {
		return Turned{}, err
	}
	if _, err := u.endInterrupted(ctx); err != nil {
		return Turned{}, err
	}
	did, err := u.etcAtBoot(ctx)
	shared, failed := u.HandOver(ctx)
	did.Words = slices.Concat(did.Words, shared.Done, shared.Left, shared.Waits)
	return did, errors.Join(err, failed)
}

func (u *Updater) etcAtBoot(ctx context.Context) (Turned, error) {
	booted, err := u.booted()
	if err != nil {
		return Turned{}, err
	}
	if booted.foreign {
		return Turned{Words: []string{"the root that was booted has no record here: nothing is merged into its /etc"}}, nil
	}
	if !u.first(booted) {
		return Turned{}, nil
	}
	from, err := u.former(booted.rec.EtcOf)
	if errors.Is(err, snapshot.ErrNoSubvolume) {
		words := fmt.Sprintf("the root that ran before snapshot %d is gone: what was edited in its /etc last is not merged", booted.number)
		return Turned{Words: []string{words}}, u.settleEtc(booted.rec)
	}
	if err != nil {
		return Turned{}, err
	}
	return u.turnEtc(ctx, booted, from, true)
}

// first reports whether a snapshot has not booted since it was made from what
// ran, so that its /etc can still follow the one of that.
func (u *Updater) first(v view) bool {
	return !v.foreign && v.rec.EtcOf != "" && !v.rec.EtcSettled && len(v.rec.Boots) == 0
}

// former finds the root with a uuid.
func (u *Updater) former(uuid string) (snapshot.Subvolume, error) {
	all, err := u.Driver.List(u.Root)
	if err != nil {
		return snapshot.Subvolume{}, err
	}
	if i := slices.IndexFunc(all, func(s snapshot.Subvolume) bool { return s.UUID.String() == uuid }); i >= 0 {
		return all[i], nil
	}
	return snapshot.Subvolume{}, snapshot.ErrNoSubvolume
}

// turnEtc merges into a committed snapshot, and settles that there: it is its last merge.
func (u *Updater) turnEtc(ctx context.Context, v view, from snapshot.Subvolume, settle bool) (did Turned, err error) {
	dir, _, release, err := u.Store.Reach(from.Identity())
	if err != nil {
		return did, err
	}
	defer func() { err = errors.Join(err, release()) }()
	// What was written a moment ago counts, too.
	if err := u.Store.Sync(); err != nil {
		return did, err
	}
	m := etcMerge{u: u, number: v.number, rec: v.rec, from: from.Identity()}
	m.decided = func(rows []record.EtcDecision) error {
		did.Decided = rows
		rec := m.rec
		rec.EtcDecisions = append(slices.Clone(rec.EtcDecisions), rows...)
		return u.put("etc-merging", nil, rec)
	}
	merged, err := m.do(ctx, dir)
	// The merge may have opened it. What ran tells whether roots are sealed here.
	root := u.Store.Path(v.number, snapshot.RoleSnapshot)
	if now, e := u.Driver.Info(root); e == nil && from.ReadOnly && !now.ReadOnly {
		err = errors.Join(err, u.Driver.SetReadOnly(root, true))
	}
	if err != nil {
		return did, fmt.Errorf("cannot merge the /etc of what ran before into snapshot %d: %w", v.number, err)
	}
	if merged {
		did.Words = append(did.Words, fmt.Sprintf("merged what was edited in /etc since snapshot %d was made", v.number))
	}
	if m.imaged { // a power cut must not bring back what the record knows nothing of
		if err := u.Store.Sync(); err != nil {
			return did, err
		}
	}
	if settle {
		return did, u.settleEtc(m.rec)
	}
	if merged {
		return did, u.put("etc-merged", nil, m.rec)
	}
	return did, nil
}

// settleEtc records that the /etc of a snapshot is merged no more, and first beside
// the snapshot: a journal that has to be rebuilt from there must not merge again
// what has been in use since.
func (u *Updater) settleEtc(rec record.Record) error {
	rec.EtcSettled = true
	if err := u.markAgain(rec); err != nil {
		return err
	}
	return u.put("etc-settled", nil, rec)
}

// tidyLive removes the images of merges that a power cut ended, where no merge
// follows that would do so.
func (u *Updater) tidyLive() error {
	return u.Journal.View(func(tx *journal.Tx) error {
		for rec, err := range u.standing(tx) {
			if err != nil {
				return err
			}
			if !rec.EtcSettled {
				continue
			}
			if err := u.Store.DropNextLive(snapshot.Number(rec.Number)); err != nil {
				return err
			}
		}
		return nil
	})
}

// missed says so where a snapshot runs into whose /etc nobody merged what was
// edited last: a system that does not have the unit for it. It is too late then.
func (u *Updater) missed(v view) error {
	if !u.first(v) {
		return nil
	}
	u.trouble(errors.New("txupd-state.service did not run"), fmt.Sprintf("what was edited in /etc between the commit of snapshot %d and its boot was not looked for", v.number))
	return u.settleEtc(v.rec)
}
