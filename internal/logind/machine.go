// The machine as a reboot sees it: who is logged in, and who keeps it up.

package logind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// Names of org.freedesktop.login1(5).
const (
	name     = "org.freedesktop.login1"
	path     = "/org/freedesktop/login1"
	login    = name + ".Manager"
	session  = name + ".Session"
	unknown  = name + ".NoSuchSession"
	noObject = "org.freedesktop.DBus.Error.UnknownObject"
)

// Machine is the running one.
type Machine struct {
	// Panic is after how long a kernel that gives up after a soft-reboot reboots.
	Panic time.Duration
}

// with calls fn with a connection of its own: what is seldom asked needs none that stays.
func with(ctx context.Context, fn func(*dbus.Conn) error) error {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("cannot reach logind: %w", err)
	}
	defer conn.Close()
	return fn(conn)
}

// People are those with a session of their own, as "alice (tty2)": no
// greeters, and none that is just ending.
func (Machine) People(ctx context.Context) (people []string, err error) {
	return people, with(ctx, func(conn *dbus.Conn) error {
		var sessions []struct {
			ID   string
			UID  uint32
			User string
			Seat string
			Path dbus.ObjectPath
		}
		if err := conn.Object(name, path).CallWithContext(ctx, login+".ListSessions", 0).Store(&sessions); err != nil {
			return fmt.Errorf("cannot ask logind who is logged in: %w", err)
		}
		for _, s := range sessions {
			var is map[string]dbus.Variant
			err := conn.Object(name, s.Path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, session).Store(&is)
			var failed dbus.Error
			if errors.As(err, &failed) && (failed.Name == unknown || failed.Name == noObject) {
				continue // it ended meanwhile
			}
			if err != nil {
				return fmt.Errorf("cannot ask logind about session %s: %w", s.ID, err)
			}
			text := func(key string) string { v, _ := is[key].Value().(string); return v }
			if text("Class") != "user" || text("State") == "closing" {
				continue
			}
			where := text("TTY")
			for _, key := range []string{"RemoteHost", "Service"} {
				if where == "" {
					where = text(key)
				}
			}
			if where != "" {
				s.User += " (" + where + ")"
			}
			people = append(people, s.User)
		}
		slices.Sort(people)
		people = slices.Compact(people)
		return nil
	})
}

// Inhibitors are who keeps the machine from shutting down, as "backup: nightly run".
func (Machine) Inhibitors(ctx context.Context) (inhibitors []string, err error) {
	return inhibitors, with(ctx, func(conn *dbus.Conn) error {
		var all []struct {
			What, Who, Why, Mode string
			UID, PID             uint32
		}
		if err := conn.Object(name, path).CallWithContext(ctx, login+".ListInhibitors", 0).Store(&all); err != nil {
			return fmt.Errorf("cannot ask logind who keeps the machine up: %w", err)
		}
		for _, one := range all {
			// A delay is short, and logind itself waits for it.
			if one.Mode != "delay" && slices.Contains(strings.Split(one.What, ":"), "shutdown") {
				inhibitors = append(inhibitors, one.Who+": "+one.Why)
			}
		}
		slices.Sort(inhibitors)
		return nil
	})
}

// Tell writes to the terminals of all who are logged in, by wall(1).
func (Machine) Tell(ctx context.Context, words string) error {
	cmd := exec.CommandContext(ctx, "wall")
	cmd.Stdin = strings.NewReader(words + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("wall: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// Reboot begins a reboot in which everything is stopped in order.
func (Machine) Reboot(ctx context.Context) error {
	return with(ctx, func(conn *dbus.Conn) error {
		if err := conn.Object(name, path).CallWithContext(ctx, login+".Reboot", 0, false).Err; err != nil {
			return fmt.Errorf("logind does not reboot the machine: %w", err)
		}
		return nil
	})
}
