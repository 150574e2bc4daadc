// What boots now and next: roles are computed from the file system each time,
// and matched with records by subvolume uuid, never by number alone.

package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// view is one snapshot as it stands: what the file system and the journal say of it.
type view struct {
	number    snapshot.Number
	subvolume snapshot.Subvolume
	rec       record.Record
	// foreign: the journal has no record that matches the subvolume.
	foreign bool
}

// same reports whether two views are the same subvolume.
func (v view) same(o view) bool { return v.subvolume.Identity() == o.subvolume.Identity() }

// roles is what boots now and next.
type roles struct {
	u               *Updater
	facts           boot.Facts
	booted, standby view // standby: the default, which may be the booted one
	good            good // the last good one
}

// roles asks the file system; its cost does not grow with the number of snapshots.
func (u *Updater) roles() (*roles, error) {
	r := &roles{u: u}
	var err error
	if r.booted, err = u.booted(); err != nil {
		return nil, err
	}
	if r.facts, err = u.facts(); err != nil {
		return nil, err
	}
	if r.standby, err = u.next(r.facts, r.booted); err != nil {
		return nil, err
	}
	r.good, err = u.lastGood()
	return r, err
}

// viewOf matches a subvolume with its record.
func (u *Updater) viewOf(s snapshot.Subvolume) (view, error) {
	n, _ := u.Store.NumberOf(s) // a root outside .snapshots is number 0
	v := view{number: n, subvolume: s}
	err := u.Journal.View(func(tx *journal.Tx) (err error) {
		v.rec, err = tx.Record(uint64(n))
		return err
	})
	switch {
	case errors.Is(err, journal.ErrNotFound):
		v.foreign = true
	case err != nil:
		return view{}, err
	case rootOfRecord(v.rec) != s.Identity():
		v.rec, v.foreign = record.Record{}, true
	}
	return v, nil
}

// pending is the default where it is not booted.
func (r *roles) pending() (view, bool) { return r.standby, !r.standby.same(r.booted) }

// choose resolves a word or a number; "" is the pending one, else the booted one.
func (r *roles) choose(word string) (view, error) {
	switch word {
	case "", bus.WordDefault:
		return r.standby, nil
	case bus.WordBooted:
		return r.booted, nil
	case bus.WordPending:
		if v, ok := r.pending(); ok {
			return v, nil
		}
		return view{}, fmt.Errorf("no snapshot is pending: %w", fault.ErrNotFound)
	case bus.WordLastGood:
		if !r.good.ok {
			return view{}, fmt.Errorf("no snapshot has a good verdict: %w", fault.ErrNotFound)
		}
		return r.u.existing(r.good.number)
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return view{}, fmt.Errorf("%w: snapshot %q: neither a number nor one of booted, default, pending, last-good", fault.ErrInvalidArgument, word)
	}
	return r.u.existing(snapshot.Number(n))
}

// existing finds the committed snapshot with that number, record and subvolume matching.
func (u *Updater) existing(n snapshot.Number) (view, error) {
	rec, err := u.recordOf(uint64(n))
	if err != nil {
		return view{}, err
	}
	switch {
	case rec.Deleted != nil:
		return view{}, fmt.Errorf("snapshot %d was deleted: %w", n, fault.ErrNotFound)
	case rec.Phase != record.Committed:
		return view{}, fmt.Errorf("transaction %d is %s and has no snapshot: %w", n, rec.Phase, fault.ErrNotFound)
	}
	want := rootOfRecord(rec)
	s, err := u.Driver.ByID(u.Root, want.ID)
	if errors.Is(err, snapshot.ErrNoSubvolume) || err == nil && s.Identity() != want {
		return view{}, fmt.Errorf("snapshot %d is recorded, but its subvolume is gone: %w", n, fault.ErrNotFound)
	}
	return view{number: n, subvolume: s, rec: rec}, err
}

// lastGood is the snapshot with the latest good verdict, by sequence of
// verdicts. It is looked for once, and again when a verdict may have changed.
func (u *Updater) lastGood() (good, error) {
	u.mu.Lock()
	known := u.good
	u.mu.Unlock()
	if known == nil {
		found, err := u.latestGood(nil)
		if err != nil {
			return good{}, err
		}
		known = &found
		u.mu.Lock()
		u.good = known
		u.mu.Unlock()
	}
	return *known, nil
}

// good is a snapshot with a good verdict, where there is one.
type good struct {
	number snapshot.Number
	ok     bool
}

// forgetGood is called where a verdict may have changed.
func (u *Updater) forgetGood() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.good = nil
}

// latestGood is that of the snapshots that exist; except leaves one out.
func (u *Updater) latestGood(except *snapshot.Number) (good, error) {
	var best record.Record
	found := false
	err := u.Journal.View(func(tx *journal.Tx) error {
		for rec, err := range u.standing(tx) {
			if err != nil {
				return err
			}
			if rec.Verdict != record.Good || rec.Phase != record.Committed || rec.Deleted != nil ||
				except != nil && rec.Number == uint64(*except) {
				continue
			}
			if !found || rec.VerdictSequence > best.VerdictSequence {
				best, found = rec, true
			}
		}
		return nil
	})
	return good{snapshot.Number(best.Number), found}, err
}

// Status answers "what runs, what boots next, what is going on".
func (u *Updater) Status(ctx context.Context) (bus.Status, error) {
	r, err := u.roles()
	if err != nil {
		return bus.Status{}, err
	}
	st := bus.Status{Warnings: []string{}, Capabilities: u.capabilities(r.facts)}
	describe := func(v view) *bus.Snapshot {
		s := r.describe(v)
		return &s
	}
	st.Booted, st.Default = describe(r.booted), describe(r.standby)
	if v, ok := r.pending(); ok {
		st.Pending, st.RebootRequired = describe(v), true
	}
	if r.good.ok {
		if v, err := u.existing(r.good.number); err == nil {
			st.LastGood = describe(v)
		} else if !errors.Is(err, fault.ErrNotFound) {
			return bus.Status{}, err
		}
	}
	if t := u.Current(); t != nil {
		st.Transaction = t.describe()
	}
	st.Reboot = u.Reboot(ctx).Reboot
	st.EtcConflicts = u.etcConflicts(r)
	st.Warnings = append(st.Warnings, conflictWarnings(st.EtcConflicts)...)
	st.Warnings = append(st.Warnings, u.standingTroubles()...)
	last, err := u.lastAuto()
	if err != nil {
		return bus.Status{}, err
	}
	st.Warnings = append(st.Warnings, autoWarnings(last)...)
	if err := r.facts.Err(); err != nil {
		st.Pending, st.RebootRequired = nil, false // what is the default does not matter here
		st.Warnings = append(st.Warnings, err.Error())
	}
	if r.facts.Mode == boot.FollowsMenu && !r.facts.Counts {
		st.Warnings = append(st.Warnings, "the boot loader cannot count trial boots here: a snapshot that does not come up has to be left by hand; \"txctl doctor\" says why")
	}
	for _, v := range []struct {
		role string
		view view
	}{{"booted", r.booted}, {"default", r.standby}} {
		if v.view.foreign && (v.role == "booted" || !r.standby.same(r.booted)) {
			st.Warnings = append(st.Warnings, fmt.Sprintf("the %s subvolume %d (%s) was not made by txupd: nothing is known of it",
				v.role, v.view.subvolume.ID, v.view.subvolume.Path))
		}
	}
	news, err := u.badNews(r)
	if err != nil {
		return bus.Status{}, err
	}
	st.Warnings = append(st.Warnings, news...)
	superseded, err := u.superseded(r)
	if err != nil {
		return bus.Status{}, err
	}
	for _, rec := range superseded {
		st.Warnings = append(st.Warnings, supersededWords(rec.Number))
	}
	return st, nil
}

func supersededWords(n uint64) string {
	return fmt.Sprintf("snapshot %d is superseded and still there: \"txctl rollback %d\" makes it the default again", n, n)
}

// superseded finds the committed snapshots that would have been booted, were
// it not for a later decision: newer than the booted one, never booted, and
// contained neither in what boots next nor in each other.
func (u *Updater) superseded(r *roles) ([]record.Record, error) {
	var found []record.Record
	contained := map[uint64]bool{}
	err := u.Journal.View(func(tx *journal.Tx) error {
		// The ancestors of the default are contained in it.
		for at := &r.standby.rec; at != nil && !r.standby.foreign; {
			if contained[at.Number] {
				break
			}
			contained[at.Number] = true
			if at.Parent == nil || at.Number <= uint64(r.booted.number) { // older ones are not asked about
				break
			}
			parent, err := tx.Record(*at.Parent)
			if errors.Is(err, journal.ErrNotFound) {
				break
			} else if err != nil {
				return err
			}
			at = &parent
		}
		for rec, err := range u.standing(tx) {
			if err != nil {
				return err
			}
			if rec.Number <= uint64(r.booted.number) {
				break
			}
			if rec.Phase == record.Committed && rec.Deleted == nil && len(rec.Boots) == 0 && !rec.Adopted && !contained[rec.Number] {
				found = append(found, rec)
			}
		}
		return nil
	})
	// Of a chain the last one alone is named: it holds the others.
	parents := map[uint64]bool{}
	for _, rec := range found {
		if rec.Parent != nil {
			parents[*rec.Parent] = true
		}
	}
	found = slices.DeleteFunc(found, func(rec record.Record) bool { return parents[rec.Number] })
	slices.Reverse(found)
	return found, err
}

// describe makes the document of one snapshot.
func (r *roles) describe(v view) bus.Snapshot {
	s := recordedSnapshot(v.rec)
	if v.foreign {
		s = bus.Snapshot{
			Number: uint64(v.number), Created: v.subvolume.Created,
			Phase: record.Committed, Verdict: record.Untried, Roles: []string{}, Tags: []string{}, Foreign: true,
		}
	}
	s.SubvolumeID = uint64(v.subvolume.ID)
	add := func(role string, yes bool) {
		if yes {
			s.Roles = append(s.Roles, role)
		}
	}
	isBooted, isDefault := v.same(r.booted), v.same(r.standby)
	add(bus.RoleBooted, isBooted)
	add(bus.RoleDefault, isDefault)
	add(bus.RolePending, isDefault && !isBooted)
	add(bus.RoleLastGood, r.good.ok && !v.foreign && v.number == r.good.number)
	add(bus.RoleOpen, s.Phase == record.Open)
	add(bus.RoleSuperseded, !v.foreign && !isBooted && !isDefault && s.Phase == record.Committed && len(v.rec.Boots) == 0 && !v.rec.Adopted)
	return s
}

// List describes every snapshot that exists, by number.
func (u *Updater) List() (bus.List, error) {
	r, err := u.roles()
	if err != nil {
		return bus.List{}, err
	}
	views, heirs, err := u.views(r)
	if err != nil {
		return bus.List{}, err
	}
	list := bus.List{Snapshots: []bus.Snapshot{}}
	for _, v := range views {
		s := r.describe(v)
		if heir, ok := heirs[s.Number]; ok && slices.Contains(s.Roles, bus.RoleSuperseded) {
			s.ContainedIn = &heir
		}
		list.Snapshots = append(list.Snapshots, s)
	}
	return list, nil
}

// views are all snapshots that exist, by number, and the first committed child of each that has one.
func (u *Updater) views(r *roles) (views []view, heirs map[uint64]uint64, err error) {
	all, err := u.Driver.List(u.Root)
	if err != nil {
		return nil, nil, err
	}
	byID := make(map[snapshot.SubvolumeID]snapshot.Subvolume, len(all))
	for _, s := range all {
		byID[s.ID] = s
	}
	heirs = map[uint64]uint64{}
	err = u.Journal.View(func(tx *journal.Tx) error {
		for rec, err := range u.standing(tx) {
			if err != nil {
				return err
			}
			if rec.Deleted != nil || rec.Phase != record.Committed && rec.Phase != record.Open {
				continue
			}
			if rec.Phase == record.Committed && rec.Parent != nil {
				heirs[*rec.Parent] = rec.Number // the lowest number comes last
			}
			want := rootOfRecord(rec)
			s, ok := byID[want.ID]
			if !ok || s.Identity() != want {
				continue
			}
			views = append(views, view{number: snapshot.Number(rec.Number), subvolume: s, rec: rec})
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	known := func(v view) bool { return slices.ContainsFunc(views, v.same) }
	if !known(r.booted) {
		views = append(views, r.booted)
	}
	if !known(r.standby) {
		views = append(views, r.standby)
	}
	slices.SortStableFunc(views, func(a, b view) int { return int(int64(a.number) - int64(b.number)) })
	return views, heirs, nil
}

// capabilities says what works on this machine, so that nothing is claimed that is not there.
func (u *Updater) capabilities(f boot.Facts) map[string]any {
	c := map[string]any{
		"layout":         u.Store.Layout().Name,
		"read_only_root": u.Store.Layout().ReadOnlyRoots,
		"commit_point":   string(f.Mode),
		"boot_counting":  f.Counts,
	}
	if m, err := u.manager(); err == nil {
		c["package_manager"] = m.Name()
	}
	return c
}

// Snapshot describes one snapshot that exists.
func (u *Updater) Snapshot(n snapshot.Number) (bus.Snapshot, error) {
	v, err := u.existing(n)
	if errors.Is(err, fault.ErrNotFound) {
		// One that is open or that another tool made is listed all the same.
		list, failed := u.List()
		if i := slices.IndexFunc(list.Snapshots, func(s bus.Snapshot) bool { return s.Number == uint64(n) }); i >= 0 {
			return list.Snapshots[i], nil
		}
		return bus.Snapshot{}, errors.Join(failed, err)
	}
	if err != nil {
		return bus.Snapshot{}, err
	}
	r, err := u.roles()
	if err != nil {
		return bus.Snapshot{}, err
	}
	return r.describe(v), nil
}
