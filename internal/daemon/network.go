// What the network costs.

package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// metered reports whether the network costs by what is sent, as far as
// NetworkManager knows; where that does not run, it does not.
//
// NMMetered in NetworkManager's D-Bus types: 1 is yes, 3 a guess that says yes.
func metered(ctx context.Context) (bool, error) {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	var v dbus.Variant
	err = conn.Object("org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager").
		CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, "org.freedesktop.NetworkManager", "Metered").Store(&v)
	var failed dbus.Error
	if errors.As(err, &failed) && (failed.Name == "org.freedesktop.DBus.Error.ServiceUnknown" || failed.Name == "org.freedesktop.DBus.Error.NameHasNoOwner") {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot ask NetworkManager: %w", err)
	}
	m, _ := v.Value().(uint32)
	return m == 1 || m == 3, nil
}
