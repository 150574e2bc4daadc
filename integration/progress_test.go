// How far a change of packages is: told by the real package managers, to who
// began it and to who comes late.

package integration

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
)

// gate is where the script of the package waits: a pipe that the test opens.
const gate = "usr/share/tool/gate"

const waits = "mkfifo /" + gate + "\nread word < /" + gate + "\nrm /" + gate + "\n"

func TestProgressIsTrue(t *testing.T) {
	for name, o := range map[string]options{
		"apt": {prepare: func(root string) error {
			return testbed.UseDebRepo(t.Context(), root, testbed.Deb{Name: "tool", Version: "1.0-1",
				Files: map[string]string{"/usr/share/tool/data": "one"}, Scripts: map[string]string{"postinst": "#!/bin/sh\n" + waits}})
		}},
		"zypper": {zypper: true, prepare: func(root string) error {
			return testbed.UseRpmRepo(t.Context(), root,
				testbed.Rpm{Name: "tool", Version: "1.0", Release: "1", Requires: []string{"base"}, Files: map[string]string{"/usr/share/tool/data": "one"}, Scripts: map[string]string{"post": waits}},
				testbed.Rpm{Name: "base", Version: "1.0", Release: "1"})
		}},
	} {
		t.Run(name, func(t *testing.T) { progressIsTrue(t, newSystem(t, o)) })
	}
}

type progressLine struct {
	Progress *struct {
		Transaction uint64
		Phase       string
		Fraction    *float64
		Text        string
	}
	Number uint64
	Phase  string
}

func progressIsTrue(t *testing.T, s *system) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := s.command("pkg", "add", "--json", "--progress", "tool")
	cmd.Stdout = w
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	open := "" // the package's script waits for us
	s.eventually("the package's script runs", func() bool {
		if current := s.status().Transaction; current != nil {
			open = s.inSnapshot(current.Number, gate)
		}
		return open != "" && exists(open)
	})

	// Who comes now is told how far it is, and hears of the end as all others do.
	late := s.client()
	n := s.status().Transaction.Number
	conn, err := dbus.Connect(s.bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	value, err := conn.Object(bus.Name, dbus.ObjectPath(bus.TransactionPath(n))).GetProperty(bus.TransactionInterface + ".Progress")
	if err != nil {
		t.Fatal(err)
	}
	var now bus.Progress
	if err := dbus.Store([]any{value.Value()}, &now); err != nil || now.Phase != "install" || now.Fraction <= 0 || now.Fraction > 1 || now.Text == "" {
		t.Errorf("who comes late is told %+v, %v", now, err)
	}
	joined, err := late.Transaction(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan bus.Outcome, 1)
	go func() {
		outcome, err := joined.Wait(t.Context())
		if err != nil {
			t.Error(err)
		}
		ended <- outcome
	}()
	// Open for both, it takes the word also where the script is not there yet.
	pipe, err := os.OpenFile(open, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if _, err := pipe.WriteString("go on\n"); err != nil {
		t.Fatal(err)
	}

	var phases []string
	var last progressLine
	signals := 0
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		last = progressLine{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		p := last.Progress
		if p == nil {
			continue
		}
		signals++
		// Where there is little room it asks for sizes first.
		if p.Phase != "packages" && (len(phases) == 0 || phases[len(phases)-1] != p.Phase) {
			phases = append(phases, p.Phase)
		}
		if p.Transaction != n || p.Text == "" || p.Fraction != nil && (*p.Fraction < 0 || *p.Fraction > 1) {
			t.Errorf("a step is %s", lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if most := 10 * (int(time.Since(began).Seconds()) + 2); signals > most {
		t.Errorf("%d signals came in %s", signals, time.Since(began))
	}
	if want := []string{"download", "install", "commit"}; !slices.Equal(phases, want) {
		t.Errorf("its phases were %q, want %q", phases, want)
	}
	outcome := <-ended
	if last.Progress != nil || last.Number != n || last.Phase != "committed" || outcome.Number != n || string(outcome.Phase) != last.Phase {
		t.Errorf("it ended as %+v, for who came late as %+v", last, outcome)
	}
}
