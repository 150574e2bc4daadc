// Settling a conflict of a merge of /etc: what was kept beside the file that won
// is taken, or goes. In a snapshot that is a change after its commit, as any
// that is made to it once it runs: its image of the commit stays as it was.

package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/engine"
	"github.com/txupd/txupd/internal/etcmerge"
	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/textdiff"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// stepResolve settles one conflict; where it is cut, it is undone.
const stepResolve = "resolve-etc"

// ruleResolved is the rule of rows that a person decided.
const ruleResolved = "resolve"

// resolveData is the data of resolve-etc.
type resolveData struct {
	Number snapshot.Number `json:"number"`
	// Root is the subvolume that the snapshot's /etc is beneath.
	Root   snapshot.Identity `json:"root"`
	Path   string            `json:"path"`
	Kept   string            `json:"kept"`
	Choice string            `json:"choice"`
	// Sealed: what holds /etc was read-only, and is again afterwards.
	Sealed bool         `json:"sealed,omitempty"`
	Actor  record.Actor `json:"actor"`
}

// ResolveRequest says which conflict is settled, and how.
type ResolveRequest struct {
	Path string // of the file, or of what was kept beside it
	// Snapshot is a word or number: the /etc that the conflict is in. "" is the pending one if it is there, else the running one.
	Snapshot string
	Choice   string // bus.ChoiceOurs, bus.ChoiceTheirs or bus.ChoiceEdited
	// Content goes with ChoiceEdited. State is that of bus.EtcSides: the content was made of that.
	Content []byte
	State   string
	Actor   record.Actor
}

// conflictAt is a conflict and where it is.
type conflictAt struct {
	bus.EtcConflict
	look *etcLook
	left int // others in the same /etc
}

// findConflict finds the one that a path names.
func (u *Updater) findConflict(ctx context.Context, name, word string) (conflictAt, error) {
	if _, err := etcPath(name); err != nil {
		return conflictAt{}, err
	}
	words := []string{word}
	if word == "" {
		words = []string{bus.WordDefault, bus.WordBooted}
	}
	for _, w := range words {
		l, err := u.etcLook(w)
		if word == "" && w == bus.WordDefault && errors.Is(err, fault.ErrNotSupported) {
			continue // what boots next cannot be reached, what runs can
		}
		if err != nil {
			return conflictAt{}, err
		}
		all, err := u.conflictsIn(ctx, l.dir, l.of.number)
		if err != nil {
			return conflictAt{}, unreadable(err)
		}
		var found []bus.EtcConflict
		for _, c := range all {
			if c.Kept == name {
				return conflictAt{c, l, len(all) - 1}, nil
			}
			if c.Path == name {
				found = append(found, c)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return conflictAt{found[0], l, len(all) - 1}, nil
		default:
			var kept []string
			for _, c := range found {
				kept = append(kept, c.Kept)
			}
			return conflictAt{}, fmt.Errorf("%w: path %q has more than one conflict; name one of %s", fault.ErrInvalidArgument, name, strings.Join(kept, ", "))
		}
	}
	return conflictAt{}, fmt.Errorf("no conflict about %q waits for a decision; \"txctl etc\" lists those that do: %w", name, fault.ErrNotFound)
}

// EtcSides reads both sides of a conflict, for somebody who makes one of both.
func (u *Updater) EtcSides(ctx context.Context, name, word string) (bus.EtcSides, error) {
	c, err := u.findConflict(ctx, name, word)
	if err != nil {
		return bus.EtcSides{}, err
	}
	return c.sides()
}

func (c conflictAt) sides() (bus.EtcSides, error) {
	doc := bus.EtcSides{EtcConflict: c.EtcConflict}
	root, err := os.OpenRoot(c.look.dir)
	if err != nil {
		return doc, err
	}
	defer root.Close()
	sum := sha256.New()
	for _, one := range []struct {
		path string
		into *[]byte
	}{{c.Path, &doc.Theirs}, {c.Kept, &doc.Ours}} {
		name := strings.TrimPrefix(one.path, "/")
		f, err := describeFile(root, name)
		if err == nil && f != nil {
			switch {
			case f.Type != bus.FileRegular:
				err = fmt.Errorf("%w: %s is a %s, and cannot be edited: choose one of both sides", fault.ErrNotSupported, one.path, f.Type)
			case f.Size > mostPatched:
				err = fmt.Errorf("%w: %s is %d bytes long, too large to be edited here: choose one of both sides", fault.ErrNotSupported, one.path, f.Size)
			default:
				*one.into, err = readIn(root, name)
			}
		}
		if err == nil && !textdiff.IsText(*one.into) {
			err = fmt.Errorf("%w: %s is no text, and cannot be edited: choose one of both sides", fault.ErrNotSupported, one.path)
		}
		if err != nil {
			return doc, err
		}
		fmt.Fprintf(sum, "%v %d\n%s", *one.into == nil, len(*one.into), *one.into)
	}
	doc.State = hex.EncodeToString(sum.Sum(nil))
	return doc, nil
}

// ResolveEtc settles a conflict, in a snapshot or in the running /etc, and records who decided what.
func (u *Updater) ResolveEtc(ctx context.Context, q ResolveRequest) (bus.EtcResolved, error) {
	switch {
	case q.Choice != bus.ChoiceOurs && q.Choice != bus.ChoiceTheirs && q.Choice != bus.ChoiceEdited:
		return bus.EtcResolved{}, fmt.Errorf("%w: choice %q: %s, %s or %s is accepted", fault.ErrInvalidArgument, q.Choice, bus.ChoiceOurs, bus.ChoiceTheirs, bus.ChoiceEdited)
	case q.Choice == bus.ChoiceEdited && q.State == "":
		return bus.EtcResolved{}, fmt.Errorf("%w: an edited content needs the state that it was made of", fault.ErrInvalidArgument)
	case q.Choice != bus.ChoiceEdited && (q.Content != nil || q.State != ""):
		return bus.EtcResolved{}, fmt.Errorf("%w: a content goes with choice %s only", fault.ErrInvalidArgument, bus.ChoiceEdited)
	case len(q.Content) > mostPatched:
		return bus.EtcResolved{}, fmt.Errorf("%w: a content of %d bytes, at most %d are accepted", fault.ErrInvalidArgument, len(q.Content), mostPatched)
	}
	if _, err := etcPath(q.Path); err != nil {
		return bus.EtcResolved{}, err
	}
	h, done, err := u.change(ctx, "the settling of a conflict in /etc", q.Actor)
	if err != nil {
		return bus.EtcResolved{}, err
	}
	defer done()
	defer u.letGo(h)
	c, err := u.findConflict(ctx, q.Path, q.Snapshot)
	if err != nil {
		return bus.EtcResolved{}, err
	}
	if q.Choice == bus.ChoiceEdited {
		now, err := c.sides()
		if err != nil {
			return bus.EtcResolved{}, err
		}
		if now.State != q.State {
			return bus.EtcResolved{}, fmt.Errorf("%s or %s was changed while it was edited: edit it again", c.Path, c.Kept)
		}
	}
	if err := u.resolveConflict(ctx, c, q); err != nil {
		return bus.EtcResolved{}, fmt.Errorf("cannot settle %s: %w", c.Path, err)
	}
	u.notify(Event{Kind: SnapshotsChanged})
	return bus.EtcResolved{EtcConflict: c.EtcConflict, Choice: q.Choice, Left: c.left}, nil
}

// resolveConflict records, acts, and records.
func (u *Updater) resolveConflict(ctx context.Context, c conflictAt, q ResolveRequest) error {
	v := c.look.of
	if v.foreign {
		return fmt.Errorf("%w: subvolume %d was not made by txupd", fault.ErrNotSupported, v.subvolume.ID)
	}
	holds, err := u.etcSubvolume(c.look.dir)
	if err != nil {
		return err
	}
	if holds.ReadOnly && c.look.runs {
		return fmt.Errorf("%w: the running /etc is read-only", fault.ErrNotSupported)
	}
	data := resolveData{Number: v.number, Root: v.subvolume.Identity(), Path: c.Path, Kept: c.Kept, Choice: q.Choice, Sealed: holds.ReadOnly, Actor: q.Actor}
	plan := &engine.Plan{}
	if err := plan.Intend(stepResolve, data); err != nil {
		return err
	}
	u.makeRoom()
	if err := u.recordPlan("etc-resolve", q.Actor, v.rec, plan); err != nil {
		return err
	}
	failed := failpoint.Around("etc/resolve", func() error { return u.decide(context.WithoutCancel(ctx), c.look.dir, data, q.Content) })
	// What it left, it takes back; what was done by then counts.
	if err := u.endResolve(context.WithoutCancel(ctx), data); err != nil {
		return errors.Join(failed, err) // the step stays: the next start tries again
	}
	settled, err := u.settled(c.look.dir, data)
	if err != nil {
		return errors.Join(failed, err)
	}
	if !settled {
		return errors.Join(failed, u.close(v.rec, "etc-resolve-failed"))
	}
	return u.recordResolved(v.rec, data)
}

// decide changes the directory.
func (u *Updater) decide(ctx context.Context, root string, data resolveData, content []byte) error {
	if data.Sealed {
		if err := u.Driver.SetReadOnly(u.etcHolder(root), false); err != nil {
			return err
		}
	}
	dir, err := etcmerge.Open(root, "etc")
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, err := etcmerge.Recover(ctx, dir); err != nil {
		return err
	}
	aside, err := etcPath(data.Kept)
	if err != nil {
		return err
	}
	switch data.Choice {
	case bus.ChoiceOurs:
		return etcmerge.Resolve(ctx, dir, aside, etcmerge.Ours)
	case bus.ChoiceTheirs:
		return etcmerge.Resolve(ctx, dir, aside, etcmerge.Theirs)
	}
	return etcmerge.ResolveTo(ctx, dir, aside, content)
}

// endResolve leaves nothing half done, and seals what was sealed. It may be
// asked again, and where nothing was done.
func (u *Updater) endResolve(ctx context.Context, data resolveData) error {
	root, err := u.Store.Locate(data.Root)
	if errors.Is(err, snapshot.ErrNoSubvolume) {
		return nil // it was deleted since
	}
	if err != nil {
		return err
	}
	dir, err := etcmerge.Open(root, "etc")
	if err != nil {
		return err
	}
	defer dir.Close()
	holds, err := u.etcSubvolume(root)
	if err != nil {
		return err
	}
	if !holds.ReadOnly { // else it did not come to begin
		if _, err := etcmerge.Recover(ctx, dir); err != nil {
			return err
		}
	}
	if data.Sealed && !holds.ReadOnly {
		return u.Driver.SetReadOnly(u.etcHolder(root), true)
	}
	return nil
}

// etcHolder is where the subvolume is that holds a root's /etc.
func (u *Updater) etcHolder(root string) string {
	etc := path.Join(root, "etc")
	if _, err := u.Driver.Info(etc); err == nil {
		return etc
	}
	return root
}

// settled reports whether what was kept is there no more.
func (u *Updater) settled(root string, data resolveData) (bool, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return false, err
	}
	defer r.Close()
	f, err := describeFile(r, strings.TrimPrefix(data.Kept, "/"))
	return f == nil, err
}

// recordResolved adds the row, if that is not done, in the journal and beside the
// snapshot. The step stays until both have it.
func (u *Updater) recordResolved(rec record.Record, data resolveData) error {
	last := len(rec.EtcDecisions) - 1
	if last < 0 || rec.EtcDecisions[last].Rule != ruleResolved || rec.EtcDecisions[last].Kept != data.Kept {
		now := u.Now().UTC()
		rec.EtcDecisions = append(rec.EtcDecisions, record.EtcDecision{
			Path: data.Path, Decision: data.Choice, Rule: ruleResolved, Kept: data.Kept, At: &now, By: &data.Actor,
		})
		if err := u.put("etc-resolved", &data.Actor, rec); err != nil {
			return err
		}
	}
	u.spread(rec)
	return u.Journal.Update(func(tx *journal.Tx) error { return tx.DeleteSteps(rec.Number) })
}

// resumeResolve ends what a crash cut, and says what became of it.
func (u *Updater) resumeResolve(ctx context.Context, rec record.Record, raw json.RawMessage) (did string, err error) {
	var data resolveData
	if err := json.Unmarshal(raw, &data); err != nil {
		return "", fmt.Errorf("cannot read the data of a recorded step: %w", err)
	}
	if err := errors.Join(u.Store.DropLeftovers(data.Number), u.endResolve(ctx, data)); err != nil {
		return "", err
	}
	root, err := u.Store.Locate(data.Root)
	if err == nil {
		var settled bool
		if settled, err = u.settled(root, data); err == nil && settled {
			return fmt.Sprintf("recorded that the conflict about %s in snapshot %d was settled", data.Path, rec.Number), u.recordResolved(rec, data)
		}
	}
	if err != nil && !errors.Is(err, snapshot.ErrNoSubvolume) && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return fmt.Sprintf("undid the interrupted settling of the conflict about %s in snapshot %d", data.Path, rec.Number), u.close(rec, "etc-resolve-failed")
}
