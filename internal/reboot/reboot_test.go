package reboot

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/window"
)

// machine is a Host whose clock, people and inhibitors the test moves.
type machine struct {
	t          testing.TB
	now        time.Time
	people     []string
	inhibitors []string
	work       string
	fails      error
	told       []string
	reboots    int
	keeper     *Keeper
	config     Config

	other  error // why what boots next takes another kernel
	noSoft error // why the machine cannot begin another root without one
	broken error // what becomes of a soft-reboot
	soft   []uint64
}

// errOther is how what boots next differs, unless a test says otherwise.
var errOther = errors.New("the kernel changes from 1 to 2")

func (m *machine) Soft(context.Context) error { return m.noSoft }
func (m *machine) SoftReboot(_ context.Context, subvolume uint64) error {
	if m.broken == nil {
		m.reboots++
		m.soft = append(m.soft, subvolume)
	}
	return m.broken
}

func (m *machine) People(context.Context) ([]string, error)     { return m.people, nil }
func (m *machine) Inhibitors(context.Context) ([]string, error) { return m.inhibitors, nil }
func (m *machine) Tell(_ context.Context, words string) error {
	m.told = append(m.told, words)
	return nil
}
func (m *machine) Reboot(context.Context) error {
	if m.fails == nil {
		m.reboots++
	}
	return m.fails
}

// newMachine has a window every night from 03:00 for two hours, and a clock that
// shows the first of June at noon.
func newMachine(t testing.TB, dir string) *machine {
	m := &machine{t: t, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), other: errOther}
	m.config = Config{
		Path: filepath.Join(dir, "reboot.json"), BootID: "this", MachineID: "0123", Sessions: true, Notice: time.Minute,
		Calendar: window.Calendar{{Start: 3 * time.Hour, Length: 2 * time.Hour, Zone: time.UTC}},
		Method:   bus.RebootAuto, SameKernel: func() (uint64, error) { return 300, m.other },
		Host: m, AtWork: func() string { return m.work }, Soon: func(time.Time, string) {}, Now: func() time.Time { return m.now }, Log: slog.New(slog.DiscardHandler),
	}
	m.keeper = New(m.config)
	return m
}

func (m *machine) ask(when string, at time.Time) {
	m.t.Helper()
	if err := m.keeper.Ask(context.Background(), when, at, "", "root", "an update"); err != nil {
		m.t.Fatal(err)
	}
}

// until lets the clock run as the keeper wants to be woken, and reports whether it rebooted.
func (m *machine) until(end time.Time) bool {
	for m.now.Before(end) && m.reboots == 0 {
		wait := m.keeper.look(context.Background())
		if m.reboots > 0 {
			break
		}
		if wait <= 0 || wait > patience {
			m.t.Fatalf("it is looked at again after %s", wait)
		}
		m.now = m.now.Add(wait)
	}
	return m.reboots > 0
}

func clock(day, hour, minute int) time.Time {
	return time.Date(2026, 6, day, hour, minute, 0, 0, time.UTC)
}

func TestARebootTakesPlaceAtItsTime(t *testing.T) {
	for _, c := range []struct {
		name string
		when string
		at   time.Time
		want time.Time
		with func(*machine)
	}{
		{"now", bus.RebootNow, time.Time{}, clock(1, 12, 0), func(m *machine) { m.people = []string{"alice"} }},
		{"at", bus.RebootAt, clock(1, 18, 30), clock(1, 18, 30), nil},
		{"at, with people", bus.RebootAt, clock(1, 18, 30), clock(1, 18, 31), func(m *machine) { m.people = []string{"alice"} }},
		{"window", bus.RebootWindow, time.Time{}, clock(2, 3, 0), nil},
		{"the deadline is earlier", bus.RebootWindow, time.Time{}, clock(1, 20, 0), func(m *machine) { m.keeper.Deadline = 8 * time.Hour }},
		{"people, and a deadline", bus.RebootWindow, time.Time{}, clock(3, 12, 1), func(m *machine) {
			m.people, m.keeper.Deadline = []string{"alice"}, 48*time.Hour
		}},
		{"people are not respected", bus.RebootWindow, time.Time{}, clock(2, 3, 1), func(m *machine) { m.people, m.keeper.Sessions = []string{"alice"}, false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, t.TempDir())
			if c.with != nil {
				c.with(m)
			}
			m.ask(c.when, c.at)
			if !m.until(clock(9, 0, 0)) || m.now.Sub(c.want).Abs() > near {
				t.Errorf("%d reboots, the last at %s, not at %s", m.reboots, m.now, c.want)
			}
			if len(m.people) > 0 && c.when != bus.RebootNow && len(m.told) == 0 {
				t.Error("nobody was told")
			}
		})
	}
}

// TestNobodyIsDisturbed: it waits, says for what, and takes place once that is over.
func TestNobodyIsDisturbed(t *testing.T) {
	for what, c := range map[string]struct{ begin, end func(*machine) }{
		"logged in: alice (tty2)":    {func(m *machine) { m.people = []string{"alice (tty2)"} }, func(m *machine) { m.people = nil }},
		"held by backup: at work":    {func(m *machine) { m.inhibitors = []string{"backup: at work"} }, func(m *machine) { m.inhibitors = nil }},
		"transaction 7 is under way": {func(m *machine) { m.work = "transaction 7 is under way" }, func(m *machine) { m.work = "" }},
	} {
		m := newMachine(t, t.TempDir())
		c.begin(m)
		m.ask(bus.RebootWindow, time.Time{})
		if m.until(clock(2, 4, 0)) {
			t.Fatalf("%s: it rebooted at %s", what, m.now)
		}
		if st := m.keeper.Status(t.Context()); st == nil || st.Waits != what {
			t.Errorf("%s: the status is %+v", what, st)
		}
		if m.people != nil && (len(m.told) != 1 || !strings.Contains(m.told[0], "an update")) {
			t.Errorf("%s: told was %q", what, m.told)
		}
		c.end(m)
		if !m.until(clock(2, 4, 1)) {
			t.Errorf("%s: it does not reboot when that is over: %+v", what, m.keeper.Status(t.Context()))
		}
	}
	// A window that closes meanwhile is followed by the next.
	m := newMachine(t, t.TempDir())
	m.people = []string{"alice"}
	m.ask(bus.RebootWindow, time.Time{})
	m.until(clock(2, 5, 0))
	m.people = nil
	if m.until(clock(3, 2, 59)) || !m.until(clock(3, 3, 1)) {
		t.Errorf("%d reboots at %s", m.reboots, m.now)
	}
}

func TestARequestOutlivesTheDaemonAndNotTheBoot(t *testing.T) {
	m := newMachine(t, t.TempDir())
	m.ask(bus.RebootWindow, time.Time{})
	if err := m.keeper.Ask(t.Context(), bus.RebootAt, clock(1, 20, 0), "", "alice", "a new kernel"); err != nil {
		t.Fatal(err)
	}
	// The earlier one counts, whoever came first; reasons are kept.
	if err := m.keeper.Ask(t.Context(), bus.RebootWindow, time.Time{}, "", "bob", "an update"); err != nil {
		t.Fatal(err)
	}
	m.keeper = New(m.config)
	st := m.keeper.Status(t.Context())
	if st == nil || st.When != bus.RebootAt || !st.Next.Equal(clock(1, 20, 0)) || st.By != "root" || strings.Join(st.Reasons, "|") != "an update|a new kernel" {
		t.Errorf("after the daemon: %+v", st)
	}
	next := m.config
	next.BootID = "the next"
	if st := New(next).Status(t.Context()); st != nil {
		t.Errorf("after the boot: %+v", st)
	}
	if _, err := os.Stat(m.config.Path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if err := os.WriteFile(m.config.Path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if st := New(m.config).Status(t.Context()); st != nil {
		t.Errorf("of a damaged file: %+v", st)
	}
}

func TestARequestIsCancelled(t *testing.T) {
	m := newMachine(t, t.TempDir())
	if err := m.keeper.Cancel("root"); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("without a request: %v", err)
	}
	m.ask(bus.RebootWindow, time.Time{})
	if err := m.keeper.Cancel("root"); err != nil || m.keeper.Pending() || New(m.config).Pending() {
		t.Errorf("it is still asked for (%v)", err)
	}
	if m.until(clock(3, 0, 0)) {
		t.Error("it rebooted")
	}
}

func TestARebootThatFailsIsTriedAgain(t *testing.T) {
	m := newMachine(t, t.TempDir())
	m.fails = errors.New("no logind")
	m.ask(bus.RebootNow, time.Time{})
	if m.until(clock(1, 12, 5)) || m.keeper.Status(t.Context()).Waits != "no logind" {
		t.Errorf("the status is %+v", m.keeper.Status(t.Context()))
	}
	m.fails = nil
	if !m.until(clock(1, 12, 8)) {
		t.Error("it was not tried again")
	}
	if err := m.keeper.Cancel("root"); !errors.Is(err, fault.ErrStale) {
		t.Errorf("cancelled when it had begun: %v", err)
	}
	// One that does not come is begun again.
	m.reboots = 0
	if m.until(m.now.Add(stuck - time.Minute)) {
		t.Error("it was begun again at once")
	}
	if !m.until(m.now.Add(2 * time.Minute)) {
		t.Error("it was not begun again")
	}
}

func TestWrongTimesAreRefused(t *testing.T) {
	m := newMachine(t, t.TempDir())
	for when, at := range map[string]time.Time{bus.RebootAt: m.now, "at ": m.now.Add(400 * 24 * time.Hour), "tomorrow": {}, "": {}} {
		if err := m.keeper.Ask(t.Context(), strings.TrimSpace(when), at, "", "root", ""); !errors.Is(err, fault.ErrInvalidArgument) {
			t.Errorf("%q at %s: %v", when, at, err)
		}
	}
	if m.keeper.Pending() {
		t.Error("something is asked for")
	}
}

// TestMachinesRebootOneAfterTheOther: each at its own time of the window, always
// the same, in its first half, and never outside.
func TestMachinesRebootOneAfterTheOther(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		m := newMachine(t, dir)
		m.keeper.MachineID = rapid.StringMatching(`[0-9a-f]{32}`).Draw(r, "id")
		m.keeper.Spread = time.Duration(rapid.IntRange(0, 4*60).Draw(r, "spread")) * time.Minute
		m.now = m.now.Add(time.Duration(rapid.IntRange(0, 48*60).Draw(r, "now")) * time.Minute)
		asked := m.now
		m.ask(bus.RebootWindow, time.Time{})
		if !m.until(m.now.Add(49 * time.Hour)) {
			r.Fatal("it did not reboot in two days")
		}
		span := m.keeper.Calendar.Next(m.now)
		open := span.Open.Add(m.keeper.share(min(m.keeper.Spread, time.Hour)))
		if !span.Contains(m.now) || m.now.Before(open) || asked.Before(open) && !m.now.Equal(open) {
			r.Fatalf("asked at %s it rebooted at %s; this machine's part begins at %s", asked, m.now, open)
		}
		if open.Sub(span.Open) > time.Hour {
			r.Fatalf("its part begins at %s", open)
		}
	})
}
