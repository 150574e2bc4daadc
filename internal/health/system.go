// The running machine: systemd over D-Bus, routes from /proc.

package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
)

// System is the running machine, as seen from Root ("/").
type System struct{ Root string }

// manager connects to systemd: over the system bus, or its own socket where
// the bus does not run.
func (s System) manager(ctx context.Context) (*dbus.Conn, error) {
	// The mark of a booted systemd, as in sd_booted(3).
	if _, err := os.Lstat(filepath.Join("/", s.Root, "run/systemd/system")); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoManager
	}
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach systemd: %w", err)
	}
	return conn, nil
}

// FailedUnits names the units that are failed, sorted.
func (s System) FailedUnits(ctx context.Context) ([]string, error) {
	conn, err := s.manager(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	units, err := conn.ListUnitsFilteredContext(ctx, []string{"failed"})
	if err != nil {
		return nil, fmt.Errorf("cannot ask systemd for failed units: %w", err)
	}
	names := make([]string, len(units))
	for i, unit := range units {
		names[i] = unit.Name
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// UnitState is the ActiveState of a unit: "active", "activating", "failed",
// "inactive", … A unit that waits for its turn is inactive still.
func (s System) UnitState(ctx context.Context, unit string) (string, error) {
	conn, err := s.manager(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	property, err := conn.GetUnitPropertyContext(ctx, unit, "ActiveState")
	if err != nil {
		return "", fmt.Errorf("cannot ask systemd for the state of %s: %w", unit, err)
	}
	state, ok := property.Value.Value().(string)
	if !ok {
		return "", fmt.Errorf("systemd answers %v for the state of %s", property.Value, unit)
	}
	return state, nil
}

// DefaultRoute reports whether there is one by IPv4 or IPv6 that leads out of
// the machine, as far as the network namespace shows it.
func (s System) DefaultRoute() (bool, error) {
	seen := false
	for name, is := range map[string]func([]string) bool{"route": isDefault4, "ipv6_route": isDefault6} {
		text, err := os.ReadFile(filepath.Join("/", s.Root, "proc/net", name))
		if errors.Is(err, fs.ErrNotExist) { // IPv6 is switched off, or no /proc
			continue
		}
		if err != nil {
			return false, fmt.Errorf("cannot read the routes: %w", err)
		}
		seen = true
		for line := range strings.Lines(string(text)) {
			if is(strings.Fields(line)) {
				return true, nil
			}
		}
	}
	if !seen {
		return false, ErrNoNetwork
	}
	return false, nil
}

// Flags of a route: linux/route.h.
const (
	routeUp     = 0x1
	routeReject = 0x200
)

// isDefault4: a line of /proc/net/route, net/ipv4/fib_trie.c, fib_route_seq_show:
// interface, destination, gateway, flags, …, mask (eighth).
func isDefault4(fields []string) bool {
	return len(fields) >= 8 && fields[1] == "00000000" && fields[7] == "00000000" && leadsOut(fields[0], fields[3])
}

// isDefault6: a line of /proc/net/ipv6_route, net/ipv6/route.c, rt6_info_route:
// destination, its prefix length, source, its prefix length, next hop, metric,
// references, uses, flags, interface.
func isDefault6(fields []string) bool {
	return len(fields) >= 10 && strings.Trim(fields[0], "0") == "" && fields[1] == "00" && leadsOut(fields[9], fields[8])
}

func leadsOut(device, flags string) bool {
	value, err := strconv.ParseUint(flags, 16, 32)
	return err == nil && value&routeUp != 0 && value&routeReject == 0 && device != "lo"
}
