// Housekeeping: which snapshots go, and by which rule ([gc] of the configuration).

package update

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/retention"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// GC deletes what the rules let go, the oldest first, and then, while the file
// system has less free than is wanted, more of the oldest that may go. One that
// cannot be deleted stays, and the others go all the same. With dryRun it only
// says what the rules would do: how much space what goes gives back is not known before.
func (u *Updater) GC(ctx context.Context, dryRun bool, actor record.Actor) (bus.GC, error) {
	doc := bus.GC{DryRun: dryRun, Deleted: []uint64{}, Failed: []bus.GCFailure{}}
	if err := u.configured(); err != nil {
		return doc, err
	}
	decided, err := u.retained()
	if err != nil {
		return doc, err
	}
	if doc.Before, err = u.freeSpace(); err != nil {
		return doc, err
	}
	doc.After = doc.Before
	var spare []retention.Decision
	remove := func(d retention.Decision) error {
		err := u.deleteFor(ctx, snapshot.Number(d.Number), actor, u.ruleInWords(d))
		var derived *derivedError
		switch {
		case err == nil || errors.As(err, &derived):
			doc.Deleted = append(doc.Deleted, d.Number)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fault.ErrBusy):
			return err
		default: // the next one may go all the same
			doc.Failed = append(doc.Failed, bus.GCFailure{Number: d.Number, Message: err.Error()})
		}
		return nil
	}
	for _, d := range decided {
		doc.Snapshots = append(doc.Snapshots, bus.GCSnapshot{
			Number: d.Number, Created: d.Created, Delete: d.Delete, Rule: string(d.Rule), Why: u.ruleInWords(d),
		})
		if d.Rule == retention.Spare {
			spare = append(spare, d)
		}
		if d.Delete && !dryRun {
			if err := remove(d); err != nil {
				return doc, err
			}
		}
	}
	if dryRun {
		return doc, nil
	}
	return doc, u.makeSpace(ctx, &doc, spare, remove)
}

// makeSpace deletes what may go until there is as much free as is wanted.
func (u *Updater) makeSpace(ctx context.Context, doc *bus.GC, spare []retention.Decision, remove func(retention.Decision) error) (err error) {
	for {
		if len(doc.Deleted) > 0 {
			// What was deleted is not free before the kernel has taken it apart.
			if err := u.reaped(ctx); err != nil {
				return err
			}
		}
		if doc.After, err = u.freeSpace(); err != nil {
			return err
		}
		if !doc.After.Lacking() || len(spare) == 0 {
			return nil
		}
		next := spare[0]
		spare = spare[1:]
		for i := range doc.Snapshots {
			if s := &doc.Snapshots[i]; s.Number == next.Number {
				s.Delete, s.Rule, s.Why = true, bus.GCRuleSpace, tooLittle
			}
		}
		next.Rule = bus.GCRuleSpace
		if err := remove(next); err != nil {
			return err
		}
	}
}

// retained is what the rules say of all snapshots.
func (u *Updater) retained() ([]retention.Decision, error) {
	r, err := u.roles()
	if err != nil {
		return nil, err
	}
	views, _, err := u.views(r)
	if err != nil {
		return nil, err
	}
	// What others need of captures is the same for each of them.
	keeping := sync.OnceValues(u.keeping)
	all := make([]retention.Snapshot, 0, len(views))
	for _, v := range views {
		s := retention.Snapshot{Number: uint64(v.number), Created: v.rec.Created, Pinned: v.rec.Pinned, Tags: v.rec.Tags}
		if s.Needed, err = u.protection(r, v, keeping); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	c := u.Config.GC
	return retention.Decide(all, retention.Rules{
		Least: c.Least, Most: c.Most, For: time.Duration(c.Days) * 24 * time.Hour, Tags: c.Tags,
	}, u.Now()), nil
}

// ruleInWords says for people which rule decided.
func (u *Updater) ruleInWords(d retention.Decision) string {
	c := u.Config.GC
	switch d.Rule {
	case retention.Needed:
		return d.Needed
	case retention.Pinned:
		return "it is pinned"
	case retention.Tagged:
		return "it has a tag that keeps it"
	case retention.Least:
		return fmt.Sprintf("one of the newest %d", c.Least)
	case retention.Most:
		return fmt.Sprintf("there are more than %d", c.Most)
	case retention.Age:
		return fmt.Sprintf("older than %d days", c.Days)
	case bus.GCRuleSpace:
		return tooLittle
	}
	return "there is room"
}

const tooLittle = "too little is free"

// freeSpace is what is free, and what is wanted to be.
func (u *Updater) freeSpace() (bus.GCSpace, error) {
	usage, err := u.Driver.Usage(u.Root)
	if err != nil {
		return bus.GCSpace{}, err
	}
	percent := uint64(u.Config.GC.FreePercent)
	data := usage.DataTotal + usage.Unallocated/max(usage.DataCopies, 1)
	// Metadata has no share of its own of what is not allocated: it takes of it as it needs.
	return bus.GCSpace{
		Data: usage.Data(), DataWanted: data / 100 * percent,
		Metadata: usage.Metadata(), MetadataWanted: min(usage.MetadataTotal/100*percent, wantedMetadata),
	}, nil
}

// wantedMetadata is as much of metadata as is ever wanted free (bytes).
const wantedMetadata = 1 << 30

// reapTime bounds how long the kernel is given to take deleted subvolumes apart.
const reapTime = 10 * time.Minute

// reaped waits until what was deleted is free.
func (u *Updater) reaped(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reapTime, fmt.Errorf("the kernel has not taken deleted subvolumes apart within %v", reapTime))
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		dying, err := snapshot.Dying(u.Search, u.Root)
		if err != nil {
			return err
		}
		if len(dying) == 0 { // and their space is given back with the file system's next commit
			return u.Driver.Sync(u.Root)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
