// Shared trees in a transaction: shown to its commands as overlays that capture
// what is written, and sealed at its commit. What becomes of captures at a boot
// is in handover.go.

package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/handover"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/internal/sharedtree"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Kinds of steps, as they stand in journals: never rename one.
const (
	stepCapture    = "capture"     // what captures the writes to shared trees
	stepSealShared = "seal-shared" // what was captured is made durable and read-only
)

// captureData is the data of capture and seal-shared.
type captureData struct {
	UUID   string          `json:"uuid"`
	Number snapshot.Number `json:"number"`
	// Over are the snapshots that it is stacked on whose captures are not handed over, the newest first.
	Over []snapshot.Number `json:"over,omitempty"`
}

// sharedTrees finds the shared trees of the system, and what a transaction does not see.
func (u *Updater) sharedTrees() ([]sharedtree.Tree, []sharedtree.Hidden, error) {
	l := u.Store.Layout()
	return sharedtree.Find(l.RootDir, sharedtree.Options{Own: snapshot.DefaultNested, Snapshots: l.SnapshotsDir})
}

// captures reports whether anything is captured of a tree.
func captures(t sharedtree.Tree) bool { return t.Bind == "" && !t.ReadOnly }

// outside is what a transaction meets of what is not part of the root.
type outside struct {
	mounts []string // all there are: what lies below them in a snapshot never shows up
	unseen []string // those that are no shared trees of the transaction
	shown  bool     // there is a tree to show
	words  []string // what is worth a warning
}

func (u *Updater) outside() (outside, error) {
	var o outside
	var err error
	if o.mounts, err = u.hiddenTrees(); err != nil || len(o.mounts) == 0 {
		return o, err
	}
	trees, hidden, err := u.sharedTrees()
	if err != nil {
		return o, err
	}
	o.shown = len(trees) > 0
	o.unseen = slices.DeleteFunc(slices.Clone(o.mounts), func(m string) bool {
		return slices.ContainsFunc(trees, func(t sharedtree.Tree) bool { return t.Path == m })
	})
	for _, h := range hidden {
		o.words = append(o.words, fmt.Sprintf("%s is not seen inside the transaction: %s", h.Path, h.Reason))
	}
	return o, nil
}

// waiting lists the snapshots whose captures the next boot of a snapshot has to
// hand over, the newest first: its own and of those that it is stacked on.
func (u *Updater) waiting(rec record.Record) ([]uint64, error) {
	if len(rec.Shared) == 0 && len(rec.SharedBelow) == 0 {
		return nil, nil
	}
	var list []uint64
	if !handedOver(rec) {
		list = append(list, rec.Number)
	}
	return list, u.Journal.View(func(tx *journal.Tx) error {
		for _, n := range rec.SharedBelow {
			below, err := tx.Record(n)
			if errors.Is(err, journal.ErrNotFound) {
				continue // another journal's: nothing is known of it any more
			}
			if err != nil {
				return err
			}
			if below.Deleted == nil && !handedOver(below) {
				list = append(list, n)
			}
		}
		return nil
	})
}

// handedOver reports whether the live trees have all that was captured.
func handedOver(rec record.Record) bool {
	return !slices.ContainsFunc(rec.Shared, func(s record.SharedTree) bool { return s.HandedOver == nil })
}

// intendCapture records that shared trees will be captured.
func (t *Transaction) intendCapture() error {
	return errors.Join(t.plan.Intend(stepCapture, t.captured()), t.plan.Intend(stepSealShared, t.captured()))
}

// captured is the data of the steps for shared trees.
func (t *Transaction) captured() captureData {
	d := captureData{UUID: t.rec.UUID, Number: t.number}
	for _, n := range t.rec.SharedBelow {
		d.Over = append(d.Over, snapshot.Number(n))
	}
	return d
}

// capture makes a capture of each tree that has none. What it makes goes with
// the directory of the snapshot.
func (u *Updater) capture(_ context.Context, d captureData) error {
	if err := u.isMadeBy(d.Number, d.UUID); err != nil {
		return err
	}
	made, err := u.loadCaptures(d.Number)
	if err != nil {
		return err
	}
	trees, _, err := u.sharedTrees()
	if err != nil {
		return err
	}
	for _, t := range trees {
		if !captures(t) || captureOf(made, t.Path) != nil {
			continue
		}
		if _, err := sharedtree.Prepare(u.Driver, u.Store.Dir(d.Number), t, d.Over, u.Store.Dir); err != nil {
			return classify(err)
		}
	}
	return nil
}

// isMadeBy fails where a number is that of another transaction.
func (u *Updater) isMadeBy(n snapshot.Number, uuid string) error {
	marker, err := u.Store.ReadMarker(n)
	if err == nil && marker.UUID != uuid {
		err = fmt.Errorf("snapshot %d: %w", n, snapshot.ErrForeign)
	}
	return err
}

// loadCaptures lists what a snapshot captured, after whatever a crash left.
func (u *Updater) loadCaptures(n snapshot.Number) ([]sharedtree.Capture, error) {
	dir := u.Store.Dir(n)
	if err := sharedtree.Tidy(u.Driver, dir); err != nil {
		return nil, err
	}
	return sharedtree.Load(dir)
}

// captureOf is the one of a tree, nil where there is none.
func captureOf(list []sharedtree.Capture, tree string) *sharedtree.Capture {
	if i := slices.IndexFunc(list, func(c sharedtree.Capture) bool { return c.Tree == tree }); i >= 0 {
		return &list[i]
	}
	return nil
}

// showShared prepares what a sandbox of the transaction shows of shared trees.
func (t *Transaction) showShared(ctx context.Context) ([]sandbox.Shared, error) {
	if !t.plan.Has(stepCapture) {
		return nil, nil
	}
	u := t.u
	if err := u.engine.Do(ctx, t.plan, stepCapture); err != nil {
		return nil, fmt.Errorf("cannot capture what is written to shared trees: %w", err)
	}
	trees, _, err := u.sharedTrees()
	if err != nil {
		return nil, err
	}
	made, err := sharedtree.Load(u.Store.Dir(t.number))
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(trees, func(one sharedtree.Tree) bool { return captures(one) && captureOf(made, one.Path) == nil }) {
		// It was mounted meanwhile, or a commit that was cut short removed the capture, which was empty.
		if err := u.capture(ctx, t.captured()); err != nil {
			return nil, err
		}
		if made, err = sharedtree.Load(u.Store.Dir(t.number)); err != nil {
			return nil, err
		}
	}
	var shown []sandbox.Shared
	for _, one := range trees {
		switch {
		case one.Bind != "":
			shown = append(shown, sandbox.Shared{Path: one.Path, Bind: one.Bind, ReadOnly: one.ReadOnly})
		case one.ReadOnly:
			shown = append(shown, sandbox.Shared{Path: one.Path, Lower: []string{one.Dir}})
		}
	}
	for _, c := range made {
		one, err := u.showCapture(c, trees)
		if err != nil {
			return nil, fmt.Errorf("cannot show the shared tree %s: %w", c.Tree, err)
		}
		shown = append(shown, one)
	}
	return shown, nil
}

func (u *Updater) showCapture(c sharedtree.Capture, trees []sharedtree.Tree) (sandbox.Shared, error) {
	live, err := c.At(trees)
	if err != nil && !(errors.Is(err, sharedtree.ErrElsewhere) && live.Path == "" && c.Forked) {
		return sandbox.Shared{}, err
	}
	sealed, err := c.Sealed(u.Driver)
	if err == nil && sealed { // by a commit that was cut short
		err = c.Unseal(u.Driver)
	}
	return sandbox.Shared{Path: c.Tree, Lower: c.Lower(u.Store.Dir, live.Dir), Upper: c.Upper(), Work: c.Work()}, err
}

// flushShared makes durable what commands wrote to shared trees so far.
func (t *Transaction) flushShared() error {
	if !t.plan.Has(stepCapture) {
		return nil
	}
	made, err := sharedtree.Load(t.u.Store.Dir(t.number))
	if err != nil {
		return err
	}
	for _, c := range made {
		if empty, err := c.Empty(); err != nil {
			return err
		} else if empty {
			continue // what was there and is gone is a name, which the next commit of the file system has
		}
		if err := c.Flush(t.u.Driver); err != nil {
			return err
		}
	}
	return nil
}

// sealShared makes captures durable and read-only, notes what they hold, and
// removes those that hold nothing.
func (u *Updater) sealShared(ctx context.Context, d captureData) error {
	t, err := u.Transaction(d.Number)
	if err != nil {
		return err
	}
	if err := u.isMadeBy(d.Number, d.UUID); err != nil {
		return err
	}
	made, err := sharedtree.Load(u.Store.Dir(d.Number))
	if err != nil || len(made) == 0 {
		return err
	}
	trees, _, err := u.sharedTrees()
	if err != nil {
		return err
	}
	var held []record.SharedTree
	worth := false
	for i := range made {
		rows, err := u.sealCapture(ctx, d.Number, &made[i], trees)
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			held = append(held, record.SharedTree{Tree: made[i].Tree, Paths: len(rows), Captured: sharedPaths(rows)})
		}
		worth = worth || slices.ContainsFunc(rows, worthABoot)
	}
	sharedtree.RemoveDirectories(u.Store.Dir(d.Number))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec.Shared, t.worth = held, worth
	return nil
}

// sealCapture returns what was captured.
func (u *Updater) sealCapture(ctx context.Context, n snapshot.Number, c *sharedtree.Capture, trees []sharedtree.Tree) ([]handover.Row, error) {
	sealed, err := c.Sealed(u.Driver)
	if err != nil {
		return nil, err
	}
	if !sealed && !c.Forked {
		live, err := c.At(trees)
		if err != nil {
			return nil, fmt.Errorf("cannot seal what was captured of %s: %w", c.Tree, err)
		}
		now, err := sharedtree.Now()
		if err != nil {
			return nil, err
		}
		below := handover.Capture{Number: uint64(n), Tree: c.Tree, Upper: c.Upper(), Before: c.Lower(u.Store.Dir, live.Dir)}
		if err := handover.Witness(ctx, below, c.Begun.Trusted(now), c.Manifest()); err != nil {
			return nil, err
		}
	}
	rows, err := handover.Captured(ctx, u.given(n, c))
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, c.Remove(u.Driver)
	}
	return rows, c.Seal(u.Driver)
}

// given is a sealed capture as a hand-over takes it.
func (u *Updater) given(n snapshot.Number, c *sharedtree.Capture) handover.Capture {
	g := handover.Capture{Number: uint64(n), Tree: c.Tree, Upper: c.Upper()}
	if c.Forked {
		g.Before = c.Lower(u.Store.Dir, "")
	} else {
		g.Manifest = c.Manifest()
	}
	return g
}

// passing are directories whose content is a by-product: who runs a package
// manager that finds nothing to do has its log all the same.
var passing = []string{"/var/log", "/var/cache", "/var/tmp"}

// worthABoot reports whether a path alone makes a snapshot worth booting.
func worthABoot(r handover.Row) bool {
	return r.Decision != handover.Skipped && !slices.ContainsFunc(passing, func(dir string) bool { return below(r.Path, dir) })
}

// sharedPaths are the rows that a record has.
func sharedPaths(rows []handover.Row) []record.SharedPath {
	list := []record.SharedPath{}
	for _, r := range rows[:min(len(rows), record.MaxSharedPaths)] {
		list = append(list, record.SharedPath{
			Path: strings.ToValidUTF8(r.Path, "�"), Decision: string(r.Decision), Aside: strings.ToValidUTF8(r.Aside, "�"), Reason: r.Reason,
		})
	}
	return list
}
