// Package logind speaks with systemd-logind about shutting down.
//
// The interface is described in org.freedesktop.login1(5).
package logind

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/login1"
)

// Delay makes logind wait with a shutdown until release is called, but no
// longer than its InhibitDelayMaxSec= (5 s unless configured). It is an error
// where there is no logind.
func Delay(why string) (release func(), err error) {
	conn, err := login1.New()
	if err != nil {
		return nil, fmt.Errorf("cannot reach logind: %w", err)
	}
	defer conn.Close()
	lock, err := conn.Inhibit("shutdown", "txupd", why, "delay")
	if err != nil {
		return nil, fmt.Errorf("cannot delay a shutdown: %w", err)
	}
	return func() { lock.Close() }, nil
}
