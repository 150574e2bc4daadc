// Questions about /etc.

package busclient

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
func (c *Client) Etc(ctx context.Context, snapshot string) (doc bus.Etc, err error) {
	return doc, c.document(ctx, "Etc", []any{ofSnapshot(snapshot)}, &doc)
}

// EtcDiff tells what becomes of the contents of files in /etc. Patch of the options is taken for granted.
func (c *Client) EtcDiff(ctx context.Context, snapshot string, d DiffOptions) (doc bus.EtcDiff, err error) {
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
