// Questions about /etc.

package client

import (
	"context"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
)

// ofSnapshot names a snapshot by a number or word, "" for the usual one.
func ofSnapshot(name string) options {
	o := options{}
	if name != "" {
		o[bus.OptSnapshot] = dbus.MakeVariant(name)
	}
	return o
}

// Etc tells how the running /etc and that of a snapshot differ, "" for the pending one.
func (c *Client) Etc(ctx context.Context, snapshot string) (doc Etc, err error) {
	return doc, c.document(ctx, "Etc", []any{ofSnapshot(snapshot)}, &doc)
}

// EtcDiff tells what becomes of the contents of files in /etc. Patch of the options is taken for granted.
func (c *Client) EtcDiff(ctx context.Context, snapshot string, d DiffOptions) (doc EtcDiff, err error) {
	o := ofSnapshot(snapshot)
	if d.Now {
		o[bus.OptNow] = dbus.MakeVariant(true)
	}
	if len(d.Paths) > 0 {
		o[bus.OptPaths] = dbus.MakeVariant(d.Paths)
	}
	if d.Context != nil {
		o[bus.OptContext] = dbus.MakeVariant(*d.Context)
	}
	return doc, c.document(ctx, "EtcDiff", []any{o}, &doc)
}

// EtcSides returns both sides of a conflict. path is of the file, or of what was kept beside it; snapshot
// is "" for the pending one if it is there, else the running /etc.
func (c *Client) EtcSides(ctx context.Context, path, snapshot string) (doc EtcSides, err error) {
	return doc, c.document(ctx, "EtcSides", []any{path, ofSnapshot(snapshot)}, &doc)
}

// Resolution says how a conflict is settled.
type Resolution struct {
	Choice   string // bus.ChoiceOurs, bus.ChoiceTheirs or bus.ChoiceEdited
	Snapshot string
	// Content and State go with ChoiceEdited: State is that of the sides that Content was made of.
	Content []byte
	State   string
}

// EtcResolve settles a conflict.
func (c *Client) EtcResolve(ctx context.Context, path string, r Resolution) (doc EtcResolved, err error) {
	o := ofSnapshot(r.Snapshot)
	if r.Choice == bus.ChoiceEdited {
		o[bus.OptContent], o[bus.OptSeen] = dbus.MakeVariant(append([]byte{}, r.Content...)), dbus.MakeVariant(r.State)
	}
	return doc, c.told(ctx, "EtcResolve", []any{path, r.Choice, o}, &doc)
}
