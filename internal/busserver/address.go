// Where the bus listens.

package busserver

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// systemBus is where the system bus listens unless the environment says otherwise.
const systemBus = "unix:path=/var/run/dbus/system_bus_socket"

// dial connects to the first of the addresses that answers.
//
// Format: D-Bus Specification, "Server Addresses".
func dial(addresses string) (*net.UnixConn, error) {
	if addresses == "" {
		addresses = systemBus
	}
	var failed []error
	for one := range strings.SplitSeq(addresses, ";") {
		if one == "" {
			continue
		}
		name, err := socketName(one)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return nil, fmt.Errorf("bus address %q names no bus", addresses)
	}
	return nil, errors.Join(failed...)
}

// socketName is the socket of one address; an abstract one begins with "@".
func socketName(address string) (string, error) {
	pairs, ok := strings.CutPrefix(address, "unix:")
	if ok {
		for pair := range strings.SplitSeq(pairs, ",") {
			key, value, _ := strings.Cut(pair, "=")
			value, err := url.PathUnescape(value)
			if err != nil || value == "" {
				continue
			}
			switch key {
			case "path":
				return value, nil
			case "abstract":
				return "@" + value, nil
			}
		}
	}
	return "", fmt.Errorf("bus address %q: unix:path=FILE or unix:abstract=NAME is accepted", address)
}
