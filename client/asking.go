// Calls for which somebody may be asked for a password.

package client

import (
	"context"
	"errors"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
)

// errInteractive is what a call is answered with that somebody may be asked for a password for.
const errInteractive = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"

// OnAsking lets whoever sits there be asked for a password. fn is called when
// that is needed, and makes sure that there is somebody who asks, until done is
// called. Without it such calls fail with ErrNotAuthorized. Set it before the first call.
func (c *Client) OnAsking(fn func(context.Context) (done func())) { c.asking = fn }

type withoutAsking struct{}

// WithoutAsking is for calls that nobody shall be asked for a password for.
func WithoutAsking(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutAsking{}, true)
}

// authorised makes a call, and where a password is all that is missing once
// more: the daemon has done nothing then.
func (c *Client) authorised(ctx context.Context, path, method string, args []any) *dbus.Call {
	call := c.send(ctx, path, method, 0, args)
	var e dbus.Error
	if c.asking == nil || !errors.As(call.Err, &e) || e.Name != errInteractive || ctx.Value(withoutAsking{}) != nil {
		return call
	}
	defer c.asking(ctx)()
	return c.send(ctx, path, method, dbus.FlagAllowInteractiveAuthorization, args)
}

// send makes one call to its end. The library's own way drops the flag.
func (c *Client) send(ctx context.Context, path, method string, flags dbus.Flags, args []any) *dbus.Call {
	dot := strings.LastIndexByte(method, '.')
	m := &dbus.Message{Type: dbus.TypeMethodCall, Flags: flags, Body: args, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(bus.Name), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath(path)),
		dbus.FieldInterface: dbus.MakeVariant(method[:dot]), dbus.FieldMember: dbus.MakeVariant(method[dot+1:]),
	}}
	if len(args) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(args...))
	}
	return <-c.conn.SendWithContext(ctx, m, make(chan *dbus.Call, 1)).Done
}
