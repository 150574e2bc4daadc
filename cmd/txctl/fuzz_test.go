// Command lines and recordings, whatever they are.

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// FuzzArguments: any command line ends with an exit code of the table, says why
// it was not understood without changing anything, does nothing to the terminal,
// and with --json prints one document.
func FuzzArguments(f *testing.F) {
	for _, line := range []string{
		"", "status --json", "pkg add htop -m why -y", "run --tag x -- ls -l", "begin --expires 2d", "log -n 3 --since yesterday --path /etc/**", "show 3 --files",
		"diff -U 3 1 3 /etc", "rollback --etc=restore -y 1", "rollback --etc=keep -y 1", "etc 3 --json", "etc diff -U 3 /etc/**", "etc resolve /etc/x --ours --snapshot booted", "etc resolve /etc/x --edit", "commit 4 --strict", "delete 2 3 -y --dry-run --json", "blame /etc/ssh -n0", "tag 3 a b", "note 3 it works", "pin last-good", "verify --head J:1:2",
		"exec 4 -- true", "commit 4 -m x", "discard 4", "boot-once --cancel", "replay 3 --speed 2", "grep -i error", "config --json", "help pkg add --json", "log -h", "completion zsh", "--bogus \x1b[2J", "show \x9b31m\xff",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\x00"))
	}
	f.Add("-\x99" + strings.Repeat("\x99", 5000))
	f.Add("--" + strings.Repeat("long", 5000) + "=x")
	f.Add(strings.Repeat("verb", 5000))
	f.Add("rollback\x00--etc=" + strings.Repeat("mine", 5000))
	codes := []int{0, 1, fault.Usage, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, fault.Unchanged, fault.Own, 130}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		if len(args) > 50 || slices.ContainsFunc(args, func(a string) bool {
			// What shells ask for, and the version, which the library prints.
			return strings.HasPrefix(a, "__") || strings.HasPrefix(a, "--version")
		}) {
			return
		}
		d := newFake(t)
		d.open = &bus.Transaction{Number: 4}
		d.cast = `{"version":2}` + "\n" + `[0.5,"o","a"]` + "\n"
		got := d.txctlWith(func(a *app) {}, strings.NewReader("y\n"), args...)
		if !slices.Contains(codes, got.code) {
			t.Errorf("%q: exit %d", args, got.code)
		}
		if strings.ContainsFunc(got.stderr, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
			t.Errorf("%q: %q", args, got.stderr)
		}
		if got.code == fault.Usage {
			if got.stderr == "" || len(got.stderr) > 1000 {
				t.Errorf("%.200q: told in %d bytes: %.2000s", args, len(got.stderr), got.stderr)
			}
			if slices.ContainsFunc(d.calls, func(c string) bool { return !strings.HasPrefix(c, "diff") && !strings.HasPrefix(c, "log") }) {
				t.Errorf("%q was not understood, and asked for %q", args, d.calls)
			}
		}
		asked := args
		if i := slices.Index(args, "--"); i >= 0 {
			asked = args[:i]
		}
		if slices.Contains(asked, "--json") && !slices.ContainsFunc(d.calls, func(c string) bool { return strings.HasPrefix(c, "run") }) && !slices.Contains(args, "export") {
			decoder := json.NewDecoder(strings.NewReader(got.stdout))
			var doc any
			if err := decoder.Decode(&doc); err != nil || decoder.More() {
				t.Errorf("%q prints no document (%v): %q", args, err, got.stdout)
			}
		}
	})
}

// FuzzNumbers: numbers, times and how long ago are read as they are written, or
// refused with the name of the option and the text, in short.
func FuzzNumbers(f *testing.F) {
	for _, text := range []string{"7", "+7", "0x10", "1_000", "18446744073709551615", "2d", "40000w", "1.5h", "never", "today", "0001-01-01", "2026-03-14 15:04", "2026-02-30", "9223372036854775807ns"} {
		f.Add(text, uint16(2))
	}
	a := &app{now: func() time.Time { return now }}
	f.Fuzz(func(t *testing.T, text string, n uint16) {
		named := func(err error) {
			t.Helper()
			if !strings.HasPrefix(err.Error(), "--x: ") || !strings.Contains(err.Error(), short(text)) || len(err.Error()) > 300 || fault.Exit(err) == 0 {
				t.Errorf("%q: %v", text, err)
			}
		}
		if got, err := number("--x", text); err != nil {
			named(err)
		} else if text == "" || strings.Trim(text, "0123456789") != "" || strings.TrimLeft(text, "0") != strings.TrimLeft(strconv.FormatUint(got, 10), "0") || got > math.MaxInt64 {
			t.Errorf("%q is %d", text, got)
		}
		if got, err := duration("--x", text); err != nil {
			named(err)
		} else if (got == 0) != (text == "never") || got > math.MaxInt64/uint64(time.Second) {
			t.Errorf("%q is %d seconds", text, got)
		}
		if got, err := a.instant("--x", text); err != nil {
			named(err)
		} else if got.IsZero() {
			t.Errorf("%q is no time at all", text)
		}
		for unit, seconds := range map[string]uint64{"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400} {
			ago := fmt.Sprintf("%d%s", n, unit)
			want := uint64(n) * seconds
			got, err := duration("--x", ago)
			if fits := n > 0 && want <= math.MaxInt64/uint64(time.Second); fits != (err == nil) || fits && got != want {
				t.Errorf("%s is %d seconds (%v)", ago, got, err)
			}
			if at, err := a.instant("--x", ago); err == nil && !at.Equal(now.Add(-time.Duration(want)*time.Second)) {
				t.Errorf("%s was %s", ago, at)
			}
		}
		then := now.Add(-time.Duration(n) * time.Hour)
		for _, layout := range []string{time.DateTime, time.RFC3339, "2006-01-02T15:04:05"} {
			if got, err := a.instant("--x", then.Format(layout)); err != nil || !got.Equal(then) {
				t.Errorf("%s is %s (%v)", then.Format(layout), got, err)
			}
		}
	})
}

// FuzzReplay: a recording that is read is the same when it is written, and the
// pauses of it are in bounds; another is refused by the event that makes no sense.
func FuzzReplay(f *testing.F) {
	f.Add([]byte("{\"version\":2,\"width\":80,\"height\":24}\n[0.1,\"o\",\"$ \"]\n[1e308,\"r\",\"80x24\"]\n"), 1.0, int64(2e9))
	f.Add([]byte("{}\n[1]\n"), 1e-300, int64(math.MaxInt64))
	f.Add([]byte("{}\n[-1e308,\"o\",\"a\",4]\nnull\n"), 1000.0, int64(0))
	f.Add([]byte("{}\n[0,null,\"a\"]"), 0.5, int64(1))
	f.Fuzz(func(t *testing.T, raw []byte, speed float64, idle int64) {
		doc, err := readTranscript(bytes.NewReader(raw))
		if err != nil {
			if len(doc.Events) > 0 || len(err.Error()) > 100 {
				t.Errorf("%v, with %d events", err, len(doc.Events))
			}
			return
		}
		if want := bytes.Count(raw, []byte("\n")) - 1; len(doc.Events) != want {
			t.Fatalf("%d events in %d lines", len(doc.Events), want)
		}
		again := bytes.Clone(doc.Header)
		for _, e := range doc.Events {
			line, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			again = append(append(again, line...), '\n')
		}
		twice, err := readTranscript(bytes.NewReader(again))
		if err != nil || !slices.Equal(doc.Events, twice.Events) {
			t.Fatalf("%v is written as %s (%v)", doc.Events, again, err)
		}
		if idle < 0 || !(speed > 0 && speed <= 1000) {
			return // which the options refuse
		}
		p, before := player{speed: speed, idle: time.Duration(idle)}, 0.0
		for _, e := range doc.Events {
			pause := p.pause(e.At - before)
			if most := float64(idle)/speed*1.001 + 1; pause < 0 || float64(pause) > most || e.At > before && idle > 1e9 && speed <= 1 && e.At-before > 1 && pause == 0 {
				t.Fatalf("a pause of %s from %v to %v, with at most %s at speed %v", pause, before, e.At, p.idle, speed)
			}
			before = e.At
		}
	})
}
