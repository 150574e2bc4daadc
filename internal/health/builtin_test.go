package health

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestUnitsThatFailAndDidNotBefore(t *testing.T) {
	before := Baseline{Known: true, FailedUnits: []string{"old.service"}}
	for name, c := range map[string]struct {
		now    []string
		err    error
		before Baseline
		ignore []string
		fails  string
		note   string
	}{
		"none":                     {before: before},
		"the same":                 {now: []string{"old.service"}, before: before},
		"new ones":                 {now: []string{"a.mount", "b.service", "old.service"}, before: before, fails: "failed, and did not before: a.mount, b.service"},
		"ignored by name":          {now: []string{"a.service"}, before: before, ignore: []string{"a.service"}},
		"ignored by glob":          {now: []string{"backup-1.service", "backup-2.service"}, before: before, ignore: []string{"x", "backup-?.service"}},
		"ignored, escaped":         {now: []string{`dev-a\x2db.device`}, before: before, ignore: []string{`dev-a\x2db.device`}},
		"others are ignored":       {now: []string{"a.service"}, before: before, ignore: []string{"a", "*.socket"}, fails: "failed, and did not before: a.service"},
		"no baseline, none":        {},
		"no baseline, some":        {now: []string{"a.service"}, note: "failed-units was not checked: how it was before is not known; failed now: a.service"},
		"no systemd":               {err: ErrNoManager, before: before, note: "failed-units was not checked: systemd does not run here"},
		"systemd does not answer":  {err: errors.New("cannot reach systemd: it hangs"), before: before, fails: "cannot reach systemd: it hangs"},
		"no baseline nor answer":   {err: errors.New("cannot reach systemd: it hangs"), fails: "cannot reach systemd: it hangs"},
		"an unknown one is before": {now: []string{"a.service"}, before: Baseline{FailedUnits: []string{"a.service"}}, note: "failed-units was not checked: how it was before is not known; failed now: a.service"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, t.TempDir(), func(o *Options) {
				o.FailedUnits, o.Before, o.IgnoreUnits, o.Machine = true, c.before, c.ignore, machine{units: c.now, unitsErr: c.err}
			})
			expect(t, r, "failed-units", c.fails, c.note)
		})
	}
}

// expect holds a report of one built-in check to how it should have gone.
func expect(t *testing.T, r Report, name, fails, note string) {
	t.Helper()
	if len(r.Results) != 1 || r.Results[0].Name != name || r.Results[0].Kind != Builtin || r.Results[0].Exit != NoExit {
		t.Fatalf("results: %+v", r.Results)
	}
	failed, notes := []string{}, []string(nil)
	if fails != "" {
		failed = []string{name + ": " + fails}
	}
	if note != "" {
		notes = []string{note}
	}
	if diff := cmp.Diff(failed, r.Failed) + cmp.Diff(notes, r.Notes); diff != "" || r.Healthy != (fails == "") || r.Results[0].OK != (fails == "") {
		t.Errorf("(-want +got):\n%s%+v", diff, r)
	}
}

func TestTheNetworkThatWasThereBefore(t *testing.T) {
	before := Baseline{Known: true, Network: true}
	answers := func(list ...bool) func() (bool, error) {
		return func() (bool, error) {
			there := list[0]
			if len(list) > 1 {
				list = list[1:]
			}
			return there, nil
		}
	}
	fails := func(err error) func() (bool, error) { return func() (bool, error) { return false, err } }
	for name, c := range map[string]struct {
		route  func() (bool, error)
		before Baseline
		fails  string
		note   string
	}{
		"there":              {answers(true), before, "", ""},
		"comes late":         {answers(false, false, true), before, "", ""},
		"never comes":        {answers(false), before, "no default route within 0.8s, and there was one before", ""},
		"none before":        {answers(false), Baseline{Known: true}, "", "network was not checked: there was no default route before"},
		"before not known":   {answers(false), Baseline{Network: true}, "", "network was not checked: how it was before is not known"},
		"no routes are seen": {fails(ErrNoNetwork), before, "", "network was not checked: the kernel shows no routes here"},
		"cannot be read":     {fails(errors.New("cannot read the routes: it is locked")), before, "cannot read the routes: it is locked", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, t.TempDir(), func(o *Options) {
				o.Network, o.NetworkWait, o.Before, o.Machine = true, 800*time.Millisecond, c.before, machine{route: c.route}
			})
			expect(t, r, "network", c.fails, c.note)
		})
	}
}

func TestWaitingForTheNetworkEndsWithTheTimeOfAll(t *testing.T) {
	r := run(t, t.TempDir(), func(o *Options) {
		o.Network, o.NetworkWait, o.Total = true, time.Hour, 300*time.Millisecond
		o.Before, o.Machine = Baseline{Known: true, Network: true}, machine{route: func() (bool, error) { return false, nil }}
	})
	if r.Healthy || len(r.Results) != 1 || r.Results[0].Took > 10*time.Second {
		t.Errorf("the report says %+v", r)
	}
}

func TestLookTellsHowThingsStand(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		machine machine
		want    Baseline
		err     error
	}{
		"with failed units":   {machine{units: []string{"a.service"}}, Baseline{FailedUnits: []string{"a.service"}, Network: true, Known: true}, nil},
		"without a network":   {machine{route: func() (bool, error) { return false, nil }}, Baseline{Known: true}, nil},
		"without systemd":     {machine{unitsErr: ErrNoManager}, Baseline{}, nil},
		"without /proc":       {machine{route: func() (bool, error) { return false, ErrNoNetwork }}, Baseline{}, nil},
		"systemd is broken":   {machine{unitsErr: broken}, Baseline{}, broken},
		"routes are unlucky":  {machine{route: func() (bool, error) { return false, broken }}, Baseline{}, broken},
		"nothing ever failed": {machine{units: []string{}}, Baseline{FailedUnits: []string{}, Network: true, Known: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Look(context.Background(), c.machine)
			if diff := cmp.Diff(c.want, got); diff != "" || !errors.Is(err, c.err) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			// It is kept as JSON and means the same when it comes back.
			text, err := json.Marshal(got)
			var back Baseline
			if err == nil {
				err = json.Unmarshal(text, &back)
			}
			if diff := cmp.Diff(got, back); err != nil || diff != "" {
				t.Errorf("%s, %v (-before +after):\n%s", text, err, diff)
			}
		})
	}
}

func TestTailKeepsTheLastBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var kept tail
		var all []byte
		for _, n := range rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 3*keptOutput)), 0, 8).Draw(t, "sizes") {
			piece := make([]byte, n)
			for i := range piece {
				piece[i] = 'a' + byte((len(all)+i)%23)
			}
			all = append(all, piece...)
			if wrote, err := kept.Write(piece); wrote != n || err != nil {
				t.Fatalf("wrote %d of %d: %v", wrote, n, err)
			}
		}
		if got, want := kept.text(), string(all[max(0, len(all)-keptOutput):]); got != want {
			t.Fatalf("%d bytes were kept of %d", len(got), len(all))
		}
	})
}
