// The hand-over: at the first boot of a snapshot the live trees get what was
// captured of them, by its own transaction and by those that it is stacked on.
//
// While it is under way the journal says so (handOverKey). It may be cut short at
// any instant, and is done again by the next call; by a call at a boot of another
// root it is taken back. Once it is done the records say so, and what is needed
// to take it back is kept until the boot is found good: forks of the live trees
// from before and after it, and N/handed-over.json with all that became of paths.

package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/handover"
	"github.com/txupd/txupd/internal/sharedtree"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Keys of what the journal keeps beside its records.
const (
	handOverKey = "hand-over"      // the one that is under way
	restoreKey  = "restore-shared" // the one that a rollback wants taken back
)

// HandOver is what became of shared trees at a boot, in words.
type HandOver struct {
	// Done is what was done, Left what stays as it is, Waits what could not be done now and is tried again.
	Done, Left, Waits []string
}

func (h *HandOver) did(format string, args ...any) {
	h.Done = append(h.Done, fmt.Sprintf(format, args...))
}
func (h *HandOver) wait(format string, args ...any) {
	h.Waits = append(h.Waits, fmt.Sprintf(format, args...))
}
func (h *HandOver) leave(format string, args ...any) {
	h.Left = append(h.Left, fmt.Sprintf(format, args...))
}

// underWay is the value of handOverKey.
type underWay struct {
	Number uint64 `json:"number"`
	Root   string `json:"root"` // the uuid of the subvolume that is booted
}

// HandOver brings the shared trees to what the booted root expects: what a
// rollback to it wants taken back is taken back, and what was captured for it is
// handed over, the oldest first. Call it early in a boot, before anything uses
// the trees; it needs no bus, and nothing else to be called before. Where there is
// nothing to do it does nothing. It may be interrupted at any instant and called
// again. A root without a record gets nothing. After an error what could be done
// is done, and the next call tries the rest again.
func (u *Updater) HandOver(ctx context.Context) (HandOver, error) {
	var h HandOver
	booted, err := u.booted()
	if err != nil {
		return h, err
	}
	way, request, err := u.handOverNotes()
	if err != nil {
		return h, err
	}
	if booted.foreign {
		h.leave("nothing is known of the root that runs (subvolume %d): nothing is handed over to shared trees", booted.subvolume.ID)
		return h, nil
	}
	if booted.rec.Phase == record.Open {
		// Its commit was cut short right after the switch.
		if _, err := u.resume(ctx, booted.rec.Number); err != nil {
			return h, err
		}
		if booted, err = u.booted(); err != nil {
			return h, err
		}
	}
	if way != nil && way.Root != booted.subvolume.UUID.String() {
		if err := u.takeBackInterrupted(ctx, *way, &h); err != nil {
			return h, err
		}
	}
	if request != nil {
		if err := u.restoreShared(ctx, booted, *request, &h); err != nil {
			return h, err
		}
	}
	if err := u.handOver(ctx, booted, &h); err != nil {
		return h, err
	}
	if way, _, err = u.handOverNotes(); err != nil || way == nil {
		return h, err
	}
	return h, u.Journal.Update(func(tx *journal.Tx) error { return tx.PutMeta(handOverKey, nil) })
}

// handOverNotes are what the journal says of shared trees beside its records.
func (u *Updater) handOverNotes() (way *underWay, request *restoreRequest, err error) {
	err = u.Journal.View(func(tx *journal.Tx) error {
		return errors.Join(noteIn(tx, handOverKey, &way), noteIn(tx, restoreKey, &request))
	})
	return way, request, err
}

func noteIn[T any](tx *journal.Tx, key string, to **T) error {
	raw, err := tx.Meta(key)
	if err != nil || raw == nil {
		return err
	}
	*to = new(T)
	if err := json.Unmarshal(raw, *to); err != nil {
		return fmt.Errorf("cannot read %q in the journal: %w", key, err)
	}
	return nil
}

func (u *Updater) note(key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return u.Journal.Update(func(tx *journal.Tx) error { return tx.PutMeta(key, raw) })
}

// share is a capture that waits, with its record.
type share struct {
	rec     record.Record
	capture sharedtree.Capture
}

// handOver hands over what waits for a root.
func (u *Updater) handOver(ctx context.Context, to view, h *HandOver) error {
	waiting, err := u.shares(to, h)
	if err != nil || len(waiting) == 0 {
		return err
	}
	trees, _, err := u.sharedTrees()
	if err != nil {
		return err
	}
	if err := u.note(handOverKey, underWay{Number: to.rec.Number, Root: to.subvolume.UUID.String()}); err != nil {
		return err
	}
	done, err := readHandedTo(u.Store.Dir(to.number))
	if err != nil {
		return err
	}
	done.Boot = u.BootID
	var errs []error
	for _, tree := range treesOf(waiting) {
		given, err := u.giveTree(ctx, to, done.of(tree), sharesOf(waiting, tree), trees, h)
		var left *leftTree
		switch {
		case errors.As(err, &left):
			h.wait("%v", err)
		case err != nil:
			errs = append(errs, err)
		default:
			done.add(given)
			if err := u.recordHandOver(to, done, given, h); err != nil {
				return err
			}
		}
	}
	return errors.Join(errs...)
}

// shares lists the captures that a root has to hand over, the oldest first.
func (u *Updater) shares(to view, h *HandOver) ([]share, error) {
	numbers, err := u.waiting(to.rec)
	if err != nil {
		return nil, err
	}
	var list []share
	for _, n := range slices.Backward(numbers) {
		rec := to.rec
		if n != rec.Number {
			if rec, err = u.recordOf(n); err != nil {
				return nil, err
			}
		}
		made, err := u.loadCaptures(snapshot.Number(n))
		if err != nil {
			return nil, err
		}
		for _, tree := range rec.Shared {
			if tree.HandedOver != nil {
				continue
			}
			c := captureOf(made, tree.Tree)
			if c == nil {
				h.wait("what transaction %d captured of %s is not there any more", n, tree.Tree)
				continue
			}
			list = append(list, share{rec, *c})
		}
	}
	return list, nil
}

func treesOf(list []share) []string {
	var trees []string
	for _, s := range list {
		trees = append(trees, s.capture.Tree)
	}
	slices.Sort(trees)
	return slices.Compact(trees)
}

func sharesOf(list []share, tree string) []share {
	return slices.DeleteFunc(slices.Clone(list), func(s share) bool { return s.capture.Tree != tree })
}

// leftTree is a tree that nothing was done to, and why.
type leftTree struct{ err error }

func (e *leftTree) Error() string { return e.err.Error() }
func (e *leftTree) Unwrap() error { return e.err }

// giveTree hands over all that was captured of one tree. *leftTree where nothing of it was.
func (u *Updater) giveTree(ctx context.Context, to view, given handedTree, shares []share, trees []sharedtree.Tree, h *HandOver) (handedTree, error) {
	tree, before := given.Tree, len(given.Given)
	live, err := shares[len(shares)-1].capture.At(trees)
	if err != nil {
		return given, &leftTree{fmt.Errorf("what was captured of %s is not handed over: %w", tree, err)}
	}
	kept := sharedtree.Kept{Dir: u.Store.Dir(to.number), Tree: tree}
	if given.Forked, err = kept.ForkBefore(u.Driver, live); err != nil {
		return given, err
	}
	for i, s := range shares {
		r := handover.Request{Capture: u.given(snapshot.Number(s.rec.Number), &s.capture), Live: live.Dir}
		var rows []handover.Row
		err := failpoint.Around("hand-over/give", func() (err error) {
			rows, err = handover.Give(ctx, r)
			return err
		})
		if errors.Is(err, handover.ErrFormat) && before+i > 0 {
			h.wait("%v", err)
			break // older ones are handed over
		}
		if errors.Is(err, handover.ErrFormat) {
			return given, &leftTree{errors.Join(err, kept.Remove(u.Driver))}
		}
		if err != nil {
			return given, err
		}
		given.Given = slices.DeleteFunc(slices.Clone(given.Given), func(g handedShare) bool { return g.Number == s.rec.Number })
		given.Given = append(given.Given, handedShare{Number: s.rec.Number, Rows: handedRows(rows)})
	}
	if given.Forked {
		err = kept.ForkAfter(u.Driver, live)
	}
	return given, err
}

// recordHandOver writes down what became of one tree, for good.
func (u *Updater) recordHandOver(to view, done handedTo, given handedTree, h *HandOver) error {
	if err := failpoint.Around("hand-over/write", func() error { return writeHandedTo(u.Store.Dir(to.number), done) }); err != nil {
		return err
	}
	now, by := u.Now().UTC(), to.rec.Number
	var words []string
	changed, err := u.changeShares(given, func(s handedShare, rec record.Record, tree *record.SharedTree) {
		tree.HandedOver, tree.By = &now, &by
		tree.Became, tree.Decisions = became(s.rows(given.Tree))
		words = append(words, handedWords(rec.Number, *tree))
	})
	if err != nil {
		return err
	}
	if err := u.Journal.Update(func(tx *journal.Tx) error { return putAll(tx, "handed-over", changed) }); err != nil {
		return err
	}
	h.Done = append(h.Done, words...)
	return nil
}

// changeShares returns the records of what was handed over to a tree, changed, and
// writes them beside their snapshots: a journal that has to be rebuilt from there
// must neither hand over twice nor not at all.
func (u *Updater) changeShares(given handedTree, change func(handedShare, record.Record, *record.SharedTree)) ([]record.Record, error) {
	var changed []record.Record
	for _, s := range given.Given {
		rec, err := u.recordOf(s.Number)
		if errors.Is(err, fault.ErrNotFound) || err == nil && rec.Deleted != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		tree := sharedOf(&rec, given.Tree)
		if tree == nil {
			return nil, fmt.Errorf("internal error: transaction %d captured nothing of %s", s.Number, given.Tree)
		}
		change(s, rec, tree)
		if err := u.markAgain(rec); err != nil {
			return nil, err
		}
		changed = append(changed, rec)
	}
	return changed, nil
}

// markAgain is mark for what a crash may have kept from being written before.
func (u *Updater) markAgain(rec record.Record) error {
	if err := u.Store.DropLeftovers(snapshot.Number(rec.Number)); err != nil {
		return err
	}
	return u.mark(rec)
}

func putAll(tx *journal.Tx, event string, changed []record.Record) error {
	for _, rec := range changed {
		if err := tx.Put(event, nil, rec); err != nil {
			return err
		}
	}
	return nil
}

// sharedOf is what a record says of a tree, nil for nothing.
func sharedOf(rec *record.Record, tree string) *record.SharedTree {
	rec.Shared = slices.Clone(rec.Shared)
	if i := slices.IndexFunc(rec.Shared, func(s record.SharedTree) bool { return s.Tree == tree }); i >= 0 {
		return &rec.Shared[i]
	}
	return nil
}

// became counts decisions, and takes those that a person may have to look at.
func became(rows []handover.Row) (map[string]int, []record.SharedPath) {
	counts := map[string]int{}
	var otherwise []handover.Row
	for _, r := range rows {
		counts[string(r.Decision)]++
		if r.Decision == handover.Kept || r.Decision == handover.Skipped {
			otherwise = append(otherwise, r)
		}
	}
	if len(otherwise) == 0 {
		return counts, nil
	}
	return counts, sharedPaths(otherwise)
}

func handedWords(number uint64, s record.SharedTree) string {
	words := fmt.Sprintf("handed over to %s what transaction %d captured: %d paths", s.Tree, number, s.Paths)
	if n := s.Became[string(handover.Kept)]; n > 0 {
		words += fmt.Sprintf(", %d of them kept as the live side had them", n)
	}
	if n := s.Became[string(handover.Skipped)]; n > 0 {
		words += fmt.Sprintf(", %d skipped", n)
	}
	return words
}

// handOverLate does at the start of the daemon what no early boot did.
func (u *Updater) handOverLate(ctx context.Context) []string {
	h, err := u.HandOver(ctx)
	u.trouble(err, "what was captured of shared trees could not be handed over")
	for _, words := range h.Left {
		u.Log.Warn(words)
	}
	for _, words := range h.Waits {
		u.trouble(errors.New(words), "captures of shared trees wait")
	}
	return h.Done
}
