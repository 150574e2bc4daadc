package reboot

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// TestTheMethodIsChosenAndSaid: softly only where nothing speaks against it, and what speaks against it is said.
func TestTheMethodIsChosenAndSaid(t *testing.T) {
	for _, c := range []struct {
		name                string
		configured, asked   string
		other, noSoft, fail error
		said, why           string
		soft                bool
	}{
		{name: "same kernel", said: bus.RebootSoft, why: "stay the same", soft: true},
		{name: "another kernel", other: errOther, said: bus.RebootFull, why: "from 1 to 2"},
		{name: "an old systemd", noSoft: errors.New("systemd is 252"), said: bus.RebootFull, why: "systemd is 252"},
		{name: "configured", configured: bus.RebootFull, said: bus.RebootFull, why: "reboot.method"},
		{name: "asked for", asked: bus.RebootFull, said: bus.RebootFull, why: "asked for"},
		{name: "asked for otherwise than configured", configured: bus.RebootFull, asked: bus.RebootSoft, said: bus.RebootSoft, why: "stay the same", soft: true},
		{name: "chosen otherwise than configured", configured: bus.RebootNone, asked: bus.RebootAuto, said: bus.RebootSoft, why: "stay the same", soft: true},
		{name: "it does not begin", fail: errors.New("busy"), said: bus.RebootSoft, why: "stay the same"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, t.TempDir())
			m.other, m.noSoft, m.broken = c.other, c.noSoft, c.fail
			if c.configured != "" {
				m.keeper.Method = c.configured
			}
			if err := m.keeper.Ask(t.Context(), bus.RebootAt, clock(1, 12, 30), c.asked, "root", ""); err != nil {
				t.Fatal(err)
			}
			if st := m.keeper.Status(t.Context()); st.Method != c.said || !strings.Contains(st.Why, c.why) {
				t.Errorf("it is %s, because %s", st.Method, st.Why)
			}
			// The choice outlives the daemon.
			m.config.Method = m.keeper.Method
			m.keeper = New(m.config)
			if !m.until(clock(2, 0, 0)) || m.reboots != 1 || (len(m.soft) == 1 && m.soft[0] == 300) != c.soft {
				t.Errorf("%d reboots, softly into %v", m.reboots, m.soft)
			}
		})
	}
}

func TestAMethodThatCannotBe(t *testing.T) {
	m := newMachine(t, t.TempDir())
	ask := func(method string) error {
		return m.keeper.Ask(context.Background(), bus.RebootNow, time.Time{}, method, "root", "")
	}
	if err := ask(bus.RebootSoft); !errors.Is(err, fault.ErrNotSupported) || !strings.Contains(err.Error(), "from 1 to 2") {
		t.Errorf("a soft-reboot into another kernel: %v", err)
	}
	for _, method := range []string{bus.RebootNone, "hibernate"} {
		if err := ask(method); !errors.Is(err, fault.ErrInvalidArgument) || !strings.Contains(err.Error(), method) {
			t.Errorf("by %s: %v", method, err)
		}
	}
	// By none, nothing is kept that could take place.
	m.keeper.Method = bus.RebootNone
	if err := ask(""); err != nil {
		t.Error(err)
	}
	if m.keeper.Pending() || m.until(clock(3, 0, 0)) {
		t.Errorf("%d reboots, %+v", m.reboots, m.keeper.Status(t.Context()))
	}
}
