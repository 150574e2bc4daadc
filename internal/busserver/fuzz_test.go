// What callers say, and what /proc says of them.

package busserver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
)

// FuzzOptions: an option that a method takes is of the type that it is read as;
// every other one is an error that names it. What is told about a transaction
// does nothing to a terminal.
func FuzzOptions(f *testing.F) {
	for kind := range uint8(12) {
		f.Add(bus.OptMessage, kind, "why\n\tand how", int64(80))
	}
	f.Add(bus.OptTags, uint8(1), "a\x1bb", int64(-1))
	f.Add(bus.OptTerm, uint8(0), "xterm=../x", int64(0))
	f.Fuzz(func(t *testing.T, name string, kind uint8, text string, n int64) {
		values := []any{
			text, []string{text, ""}, n != 0, uint16(n), uint32(n), uint64(n), n, dbus.MakeVariant(text), []dbus.Variant{dbus.MakeVariant(n)},
			map[string]dbus.Variant{text: dbus.MakeVariant(n)}, []byte(text), dbus.UnixFDIndex(n), float64(n), dbus.ObjectPath("/"),
		}
		value := values[int(kind)%len(values)]
		accepted := []string{bus.OptMessage, bus.OptTags, bus.OptDetach, bus.OptRows, bus.OptCommand, bus.OptExpires, bus.OptSince, bus.OptTerm, bus.OptTerminal}
		o := options{name: dbus.MakeVariant(value)}
		err := o.check("Run", accepted)
		long := func(s string) bool { return len(s) > maxString && name != bus.OptMessage }
		if list, ok := value.([]string); long(text) && (ok && slices.Contains(list, text) || value == any(text)) {
			if err == nil {
				t.Fatalf("option %q of %d bytes", name, len(text))
			}
			return
		}
		fits := map[string]bool{
			bus.OptMessage: option[string](o, name) == value, bus.OptTerm: option[string](o, name) == value, bus.OptTags: option[[]string](o, name) != nil,
			bus.OptDetach: option[bool](o, name) == value, bus.OptTerminal: option[bool](o, name) == value, bus.OptRows: option[uint16](o, name) == value,
			bus.OptCommand: option[uint32](o, name) == value, bus.OptExpires: option[uint64](o, name) == value, bus.OptSince: option[int64](o, name) == value,
		}[name]
		if (err == nil) != fits {
			t.Fatalf("option %q of %T: %v", name, value, err)
		}
		if err != nil && (!errors.Is(err, fault.ErrInvalidArgument) || !strings.Contains(err.Error(), quoted(name))) {
			t.Fatalf("option %q of %T: %v", name, value, err)
		}
		harmless := func(s string) bool {
			return !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' })
		}
		if err := checkMessage(text); err == nil && (!harmless(text) || strings.TrimSpace(text) == "") || err != nil && len(err.Error()) > 200 {
			t.Errorf("message %q: %v", text, err)
		}
		if err := checkTags([]string{text}); err == nil && (!harmless(text) || len(strings.Fields(text)) != 1) || err != nil && len(err.Error()) > 400 {
			t.Errorf("tag %q: %v", text, err)
		}
		c := &call{options: options{bus.OptTerminal: dbus.MakeVariant(true), bus.OptTerm: dbus.MakeVariant(text)}}
		if cmd, err := c.command([]string{"sh"}); err == nil && (len(cmd.Env) != 1 || text != "" && cmd.Env[0] != "TERM="+text || strings.ContainsAny(text, "/= \n")) {
			t.Errorf("terminal %q: %q", text, cmd.Env)
		}
	})
}

// FuzzKeptHead: a head is what txctl prints of one, and nothing else.
func FuzzKeptHead(f *testing.F) {
	hash := strings.Repeat("0123456789abcdef", 4)
	f.Add("J:3:"+hash, "ABCD", uint64(7))
	f.Add("J:3:"+strings.Repeat("Zz", 32), "", uint64(0))
	f.Add("a:b:c:d", "", uint64(0))
	f.Add(":3:"+hash, "a:b", uint64(1))
	f.Fuzz(func(t *testing.T, text, id string, seq uint64) {
		h, err := parseHead(text)
		if err != nil {
			if !errors.Is(err, fault.ErrInvalidArgument) || !strings.Contains(err.Error(), quoted(text)) || len(err.Error()) > 400 {
				t.Errorf("%q: %v", text, err)
			}
		} else if again, err := parseHead(fmt.Sprintf("%s:%d:%s", h.Journal, h.Seq, h.Hash)); err != nil || again != h || len(h.Hash) != 64 || strings.Trim(h.Hash, "0123456789abcdef") != "" {
			t.Errorf("%q is %+v, then %+v (%v)", text, h, again, err)
		}
		want := journal.Head{Journal: id, Seq: seq, Hash: hash}
		got, err := parseHead(fmt.Sprintf("%s:%d:%s", id, seq, hash))
		if readable := id != "" && !strings.Contains(id, ":"); readable != (err == nil) || err == nil && got != want {
			t.Errorf("%+v is read as %+v (%v)", want, got, err)
		}
	})
}

// FuzzAddress: a socket is found under the name that was escaped as the bus does it.
func FuzzAddress(f *testing.F) {
	f.Add("unix:path=/run/dbus/system_bus_socket,guid=0123456789abcdef", "/run/dbus/system_bus_socket")
	f.Add("unix:guid=x,abstract=%2Ftmp%2Fdbus-%zz", "a,b;c=d%\xff")
	f.Fuzz(func(t *testing.T, address, name string) {
		if got, err := socketName(address); (err == nil) != (got != "") || err == nil && !strings.HasPrefix(address, "unix:") {
			t.Errorf("%q leads to %q, %v", address, got, err)
		}
		if name == "" {
			return
		}
		var escaped strings.Builder
		for _, c := range []byte(name) {
			if strings.IndexByte("-_/.*", c) >= 0 || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
				escaped.WriteByte(c)
			} else {
				fmt.Fprintf(&escaped, "%%%02x", c)
			}
		}
		for address, want := range map[string]string{"unix:path=" + escaped.String() + ",guid=0": name, "unix:guid=0,abstract=" + escaped.String(): "@" + name} {
			if got, err := socketName(address); err != nil || got != want {
				t.Errorf("%q leads to %q, %v", address, got, err)
			}
		}
	})
}

// FuzzUnit: a caller's unit is one that its cgroup lies in, and the innermost of that line.
func FuzzUnit(f *testing.F) {
	f.Add("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome.scope\n", "system.slice/cron.service")
	f.Add("2:cpu:/x.service\n1:name=systemd:/init.scope\n::/\n", "a.service/b")
	f.Fuzz(func(t *testing.T, groups, place string) {
		unit := unitIn(groups)
		if unit != "" && (strings.ContainsAny(unit, "/\n") || !strings.Contains(groups, unit) || !strings.HasSuffix(unit, ".service") && !strings.HasSuffix(unit, ".scope")) {
			t.Errorf("%q in %q", unit, groups)
		}
		if strings.ContainsAny(place, "\n") || strings.TrimSpace(place) != place {
			return
		}
		want := ""
		for _, part := range strings.Split(place, "/") {
			if strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
				want = part
			}
		}
		if got := unitIn("12:pids:/other.service\n0::/" + place + "\n"); got != want {
			t.Errorf("%q is in unit %q", place, got)
		}
	})
}
