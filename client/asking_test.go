package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// played deletes for those who let somebody be asked for a password.
type played struct {
	flags  chan dbus.Flags
	answer *dbus.Error
}

func (p played) Delete(m dbus.Message, _ uint64, _ map[string]dbus.Variant) *dbus.Error {
	p.flags <- m.Flags & dbus.FlagAllowInteractiveAuthorization
	if m.Flags&dbus.FlagAllowInteractiveAuthorization == 0 {
		return dbus.NewError("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", []any{"a password is needed"})
	}
	return p.answer
}

// seen are the flags of all calls until now.
func (p played) seen() (list []dbus.Flags) {
	for {
		select {
		case f := <-p.flags:
			list = append(list, f)
		default:
			return list
		}
	}
}

// TestSomebodyIsAskedOnlyWhereThatIsWhatIsMissing: and whoever asks is there for that call alone.
func TestSomebodyIsAskedOnlyWhereThatIsWhatIsMissing(t *testing.T) {
	const ask = dbus.FlagAllowInteractiveAuthorization
	for name, c := range map[string]struct {
		may, quiet bool
		answer     *dbus.Error
		flags      []dbus.Flags
		agents     int
		want       error
	}{
		"nobody may be asked": {flags: []dbus.Flags{0}, want: fault.ErrNotAuthorized},
		"a password":          {may: true, flags: []dbus.Flags{0, ask}, agents: 1},
		"a wrong password": {may: true, answer: dbus.NewError(fault.Prefix+"NotAuthorized", []any{"wrong"}), flags: []dbus.Flags{0, ask}, agents: 1,
			want: fault.ErrNotAuthorized},
		"another failure": {may: true, answer: dbus.NewError(fault.Prefix+"Busy", []any{"busy"}), flags: []dbus.Flags{0, ask}, agents: 1, want: fault.ErrBusy},
		"not for this":    {may: true, quiet: true, flags: []dbus.Flags{0}, want: fault.ErrNotAuthorized},
	} {
		t.Run(name, func(t *testing.T) {
			asking, conn := connected(t)
			p := played{make(chan dbus.Flags, 10), c.answer}
			if err := conn.Export(p, bus.Path, bus.ManagerInterface); err != nil {
				t.Fatal(err)
			}
			take(t, conn)
			agents, there := 0, false
			if c.may {
				asking.OnAsking(func(context.Context) func() {
					agents++
					there = true
					return func() { there = false }
				})
			}
			ctx := t.Context()
			if c.quiet {
				ctx = client.WithoutAsking(ctx)
			}
			if err := asking.Delete(ctx, 4); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if got := p.seen(); !slices.Equal(got, c.flags) || agents != c.agents || there {
				t.Errorf("called with the flags %v and %d agents (left: %v), want %v and %d", got, agents, there, c.flags, c.agents)
			}
		})
	}
}
