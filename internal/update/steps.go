// The steps of a transaction, each with its undo beside it. Data is what is in
// the journal before the step acts.

package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/txupd/txupd/internal/engine"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Kinds of steps, as they stand in journals: never rename one.
const (
	stepPrepare    = "prepare"     // new-UUID with its subvolumes
	stepPublish    = "publish"     // new-UUID becomes N
	stepSeal       = "seal"        // the read-only image of what was made
	stepSetDefault = "set-default" // the commit point
	stepRemove     = "remove"      // a snapshot's directory and subvolumes go
)

// makeData is the data of prepare, publish and seal.
type makeData struct {
	UUID   string               `json:"uuid"`
	Number snapshot.Number      `json:"number"`
	Parent snapshot.SubvolumeID `json:"parent"`
	Record *record.Record       `json:"record,omitempty"`
	// Live is where the parent's image of the running root is, nil where the base is that.
	Live *liveData `json:"live,omitempty"`
	Seal bool      `json:"seal,omitempty"` // the root itself is sealed instead of a read-only fork
}

// switchData is the data of set-default. A transaction intends its switch
// before its snapshot is made: To is 0 then, and the marker tells which it is.
type switchData struct {
	Number snapshot.Number      `json:"number"`
	UUID   string               `json:"uuid,omitempty"`
	From   snapshot.SubvolumeID `json:"from"`
	To     snapshot.SubvolumeID `json:"to,omitempty"`
}

// removeData is the data of remove.
type removeData struct {
	Number     snapshot.Number             `json:"number"`
	UUID       string                      `json:"uuid"`
	Subvolumes map[string]record.Subvolume `json:"subvolumes,omitempty"`
}

// kinds ties the names to what they do.
func (u *Updater) kinds() map[string]engine.Kind {
	return map[string]engine.Kind{
		stepPrepare:    {Do: typed(u.prepare), Undo: typed(u.unmake)},
		stepPublish:    {Do: typed(u.publish), Undo: typed(u.unmake)},
		stepCapture:    {Do: typed(u.capture)},
		stepSealShared: {Do: typed(u.sealShared)},
		stepSeal:       {Do: typed(u.seal)}, // what it makes goes with the directory
		stepSetDefault: {Do: typed(u.setDefault), Happened: typedBool(u.isDefault)},
		stepRemove:     {Do: typed(u.remove)}, // a removal that began is always finished
		stepStage:      {Do: typed(u.stage), Undo: typed(u.unstage)},
		stepBootMenu:   {Do: typed(u.bootMenu), Undo: typed(u.disarm), Happened: typedBool(u.isMenuDefault)},
		stepFollow:     {Do: typed(u.follow)},
		stepForget:     {Do: typed(u.forget)},
		stepResolve:    {Do: typed(u.endResolve)},
	}
}

func typed[T any](fn func(context.Context, T) error) func(context.Context, json.RawMessage) error {
	return func(ctx context.Context, raw json.RawMessage) error {
		var data T
		if err := json.Unmarshal(raw, &data); err != nil {
			return fmt.Errorf("cannot read the data of a recorded step: %w", err)
		}
		return fn(ctx, data)
	}
}

func typedBool[T any](fn func(context.Context, T) (bool, error)) func(context.Context, json.RawMessage) (bool, error) {
	return func(ctx context.Context, raw json.RawMessage) (yes bool, err error) {
		err = typed(func(ctx context.Context, data T) (err error) {
			yes, err = fn(ctx, data)
			return err
		})(ctx, raw)
		return yes, err
	}
}

// setDefault is the commit point where the loader follows the default
// subvolume: compare, swap, make durable.
func (u *Updater) setDefault(ctx context.Context, d switchData) error {
	to, err := u.target(d)
	if err != nil {
		return err
	}
	now, err := u.Driver.Default(u.Root)
	if err != nil {
		return err
	}
	if now == to {
		return u.Driver.Sync(u.Root)
	}
	if now != d.From {
		return fmt.Errorf("%w: it was subvolume %d and is %d", fault.ErrStale, d.From, now)
	}
	// The last moment at which a cancelled caller changes anything.
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", fault.ErrCancelled, err)
	}
	return u.Store.SetDefault(to)
}

// target is the subvolume that becomes the default: a snapshot of the
// transaction and no other that may have taken its number.
func (u *Updater) target(d switchData) (snapshot.SubvolumeID, error) {
	if d.To != 0 {
		return d.To, nil
	}
	if _, err := u.markedRecord(d.Number, d.UUID); err != nil {
		return 0, err
	}
	root, err := u.Driver.Info(u.Store.Path(d.Number, snapshot.RoleSnapshot))
	return root.ID, err
}

// markedRecord is the record beside a snapshot of the transaction, and of no
// other that may have taken its number.
func (u *Updater) markedRecord(n snapshot.Number, uuid string) (record.Record, error) {
	var rec record.Record
	marker, err := u.Store.ReadMarker(n)
	if err != nil {
		return rec, err
	}
	if marker.UUID != uuid {
		return rec, fmt.Errorf("snapshot %d: %w", n, snapshot.ErrForeign)
	}
	if err := json.Unmarshal(marker.Record, &rec); err != nil {
		return rec, fmt.Errorf("cannot read the record beside snapshot %d: %w", n, err)
	}
	return rec, nil
}

func (u *Updater) isDefault(_ context.Context, d switchData) (bool, error) {
	to, err := u.target(d)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, snapshot.ErrForeign) {
		return false, nil // it was never published
	}
	if err != nil {
		return false, err
	}
	now, err := u.Driver.Default(u.Root)
	if err != nil || now == to {
		return now == to, err
	}
	if d.To != 0 {
		return false, nil // a rollback: that it was booted before says nothing
	}
	booted, err := u.Store.Booted()
	if err != nil || booted.ID == to {
		return booted.ID == to, err
	}
	// Neither what it was nor what it should become: if the snapshot is said to be
	// committed, somebody has switched again since, and nothing is taken away.
	rec, err := u.markedRecord(d.Number, d.UUID)
	return now != d.From && err == nil && rec.Phase == record.Committed, nil
}

// remove deletes a snapshot that is protected by nothing; asked again at the
// last moment, because a default may have changed by other hands.
func (u *Updater) remove(_ context.Context, d removeData) error {
	ids, err := identities(d.Subvolumes)
	if err != nil {
		return err
	}
	err = u.Store.Remove(snapshot.RemoveRequest{UUID: d.UUID, Number: d.Number, Subvolumes: ids})
	if errors.Is(err, snapshot.ErrForeign) {
		return nil // ours is gone, and another tool has taken its number
	}
	return classify(err)
}

// prepare makes the subvolumes aside.
func (u *Updater) prepare(ctx context.Context, d makeData) error {
	raw, err := json.Marshal(d.Record)
	if err != nil {
		return err
	}
	parent, err := u.Driver.ByID(u.Root, d.Parent)
	if err != nil {
		return err
	}
	req := snapshot.PrepareRequest{
		UUID: d.UUID, Number: d.Number, Parent: parent.Identity(), Record: raw,
		Info: snapshot.Info{Description: d.Record.Message, UID: d.Record.Actor.UID},
	}
	if d.Live != nil {
		image, err := u.Driver.Info(u.Store.Path(d.Live.Number, d.Live.Role))
		if err != nil {
			return fmt.Errorf("cannot take over what /etc was merged with: %w", err)
		}
		req.Live, req.LiveAt, req.LiveRole = image.Identity(), d.Live.Number, d.Live.Role
	}
	_, err = u.Store.Prepare(ctx, req)
	return err
}

// errTaken: another tool took the number between our looking and our publishing.
var errTaken = errors.New("another tool took its number")

// publish gives what was prepared its number, the recorded one or none.
func (u *Updater) publish(_ context.Context, d makeData) error {
	n, err := u.Store.Publish(d.UUID, d.Number-1)
	if err != nil {
		return err
	}
	if n != d.Number {
		return errors.Join(fmt.Errorf("cannot publish snapshot %d: %w", d.Number, errTaken),
			u.Store.Remove(snapshot.RemoveRequest{UUID: d.UUID, Number: n}))
	}
	return nil
}

// unmake undoes prepare, publish and seal, however far they came.
func (u *Updater) unmake(_ context.Context, d makeData) error {
	err := u.Store.Remove(snapshot.RemoveRequest{UUID: d.UUID, Number: d.Number})
	if errors.Is(err, snapshot.ErrForeign) {
		return nil
	}
	return classify(err)
}

// seal makes the snapshot durable and keeps its image.
func (u *Updater) seal(_ context.Context, d makeData) error {
	root, err := u.Driver.Info(u.Store.Path(d.Number, snapshot.RoleSnapshot))
	if err != nil {
		return err
	}
	marker, err := u.Store.ReadMarker(d.Number)
	if err != nil {
		return err
	}
	if marker.UUID != d.UUID {
		return fmt.Errorf("cannot seal snapshot %d: %w", d.Number, snapshot.ErrForeign)
	}
	_, err = u.Store.Flush(d.Number, root.Identity(), d.Seal)
	return err
}
