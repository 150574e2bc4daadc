// Callers that mean ill, or do not look: what every method does with what it was
// not made for. The methods come from the introspection data, so that a new one
// is attacked without anybody thinking of it.

package integration

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	faults "github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/testbed"
)

// target is a method of an object.
type target struct {
	path, iface, method string
	in                  []string // types of its arguments
}

func (m target) name() string      { return m.iface + "." + m.method }
func (m target) signature() string { return strings.Join(m.in, "") }
func (m target) takesOptions() bool {
	return len(m.in) > 0 && m.in[len(m.in)-1] == "a{sv}"
}

// targets are all methods of all objects, each interface and method once for
// every kind of path that has it.
func (s *system) targets() []target {
	s.t.Helper()
	conn, err := dbus.Connect(s.bus.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	var all []target
	var visit func(path string)
	visit = func(path string) {
		var text string
		if err := conn.Object(bus.Name, dbus.ObjectPath(path)).Call(bus.IntrospectInterface+".Introspect", 0).Store(&text); err != nil {
			s.t.Fatalf("introspect %s: %v", path, err)
		}
		var node struct {
			Interfaces []struct {
				Name    string `xml:"name,attr"`
				Methods []struct {
					Name string `xml:"name,attr"`
					Args []struct {
						Type      string `xml:"type,attr"`
						Direction string `xml:"direction,attr"`
					} `xml:"arg"`
				} `xml:"method"`
			} `xml:"interface"`
			Nodes []struct {
				Name string `xml:"name,attr"`
			} `xml:"node"`
		}
		if err := xml.Unmarshal([]byte(text), &node); err != nil {
			s.t.Fatalf("introspect %s: %v", path, err)
		}
		for _, i := range node.Interfaces {
			for _, m := range i.Methods {
				one := target{path: path, iface: i.Name, method: m.Name}
				for _, a := range m.Args {
					if a.Direction == "in" {
						one.in = append(one.in, a.Type)
					}
				}
				all = append(all, one)
			}
		}
		for _, n := range node.Nodes {
			visit(strings.TrimSuffix(path, "/") + "/" + n.Name)
		}
	}
	visit("/")
	// One of each kind of path is enough.
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(m target) bool {
		key := m.name() + " " + kindOfPath(m.path)
		again := seen[key]
		seen[key] = true
		return again
	})
}

// plain is a value of a type that no method minds.
func plain(kind string) any {
	return map[string]any{
		"s": "x", "as": []string{"x"}, "x": int64(-1), "t": uint64(1), "u": uint32(15), "q": uint16(24),
		"v": dbus.MakeVariant("x"), "a{sv}": map[string]dbus.Variant{},
	}[kind]
}

// values are plain ones, with options that say something; every method minds "mesage".
func (m target) values(options map[string]dbus.Variant) []any {
	var all []any
	for _, kind := range m.in {
		all = append(all, plain(kind))
	}
	if m.takesOptions() {
		all[len(all)-1] = options
	}
	return all
}

// attack is one way to call a method wrongly.
type attack struct {
	name string
	// calls are what is sent to the method; none where it does not fit.
	calls func(target) []testbed.RawCall
	// survivable: some methods have a good answer to it.
	survivable bool
}

func raw(m target, values ...any) testbed.RawCall {
	signature, body := testbed.RawBody(values...)
	return testbed.RawCall{Path: m.path, Interface: m.iface, Member: m.method, Signature: signature, Body: body}
}

// everyOption are all options of all methods, and types that none of them has.
var everyOption = []string{
	bus.OptMessage, bus.OptTags, bus.OptFrom, bus.OptDetach, bus.OptKeepUnchanged, bus.OptStdin, bus.OptTerminal, bus.OptRows, bus.OptColumns,
	bus.OptTerm, bus.OptDryRun, bus.OptExpires, bus.OptLimit, bus.OptPackage, bus.OptAsCommitted, bus.OptPath, bus.OptPaths, bus.OptSince,
	bus.OptUntil, bus.OptActor, bus.OptState, bus.OptTag, bus.OptText, bus.OptNote, bus.OptDropTags, bus.OptPin, bus.OptBrief, bus.OptNow,
	bus.OptPatch, bus.OptContext, bus.OptHead, bus.OptIgnoreCase, bus.OptCommand, bus.OptRestoreShared,
}

var wrongTypes = []any{
	byte(1), int16(-1), 1.5, dbus.ObjectPath("/"), dbus.SignatureOf(""), []byte{1}, [][]string{{"x"}}, map[string]string{"a": "b"},
	struct{ A, B string }{"a", "b"}, dbus.MakeVariant(dbus.MakeVariant("x")), []dbus.Variant{dbus.MakeVariant(uint32(1))},
}

func attacks(null int) []attack {
	typo := map[string]dbus.Variant{"mesage": dbus.MakeVariant("typo")}
	long := strings.Repeat("x", 1536<<10)
	threeMiB := []byte("\xfb\xff\x2f\x00" + strings.Repeat("x", 3<<20-5) + "\x00") // a string, after its length
	return []attack{
		{name: "wrong types", calls: func(m target) (calls []testbed.RawCall) {
			for _, values := range [][]any{
				{"x", "x", "x"}, {dbus.MakeVariant("x")}, {[]byte("x")}, {struct{ A, B int32 }{1, 2}}, {map[string]string{}}, {1.5},
				{map[string]dbus.Variant{}, "x"}, {[]dbus.UnixFDIndex{}}, {dbus.UnixFDIndex(0)}, {[]map[string]dbus.Variant{{}}},
			} {
				if c := raw(m, values...); c.Signature != m.signature() {
					calls = append(calls, c)
				}
			}
			return calls
		}},
		{name: "no arguments", calls: func(m target) []testbed.RawCall {
			if len(m.in) == 0 {
				return nil
			}
			return []testbed.RawCall{{Path: m.path, Interface: m.iface, Member: m.method}}
		}},
		{name: "too many", calls: func(m target) []testbed.RawCall {
			calls := []testbed.RawCall{raw(m, append(m.values(typo), "x")...)}
			if len(m.in) > 0 {
				calls = append(calls, raw(m, append(m.values(typo), m.values(typo)...)...))
			}
			return calls
		}},
		{name: "unknown options", calls: func(m target) (calls []testbed.RawCall) {
			if !m.takesOptions() {
				return nil
			}
			for _, key := range []string{"", "mesage", "Message", "\x01", strings.Repeat("\x01", 100_000), strings.Repeat("ä", 100_000), "%s%n", "../x"} {
				calls = append(calls, raw(m, m.values(map[string]dbus.Variant{key: dbus.MakeVariant("x")})...))
			}
			return calls
		}},
		{name: "options of wrong types", calls: func(m target) (calls []testbed.RawCall) {
			if !m.takesOptions() {
				return nil
			}
			for i, key := range everyOption {
				wrong := wrongTypes[i%len(wrongTypes)]
				calls = append(calls, raw(m, m.values(map[string]dbus.Variant{key: dbus.MakeVariant(wrong)})...))
			}
			return calls
		}},
		{name: "options nested deeply", calls: func(m target) (calls []testbed.RawCall) {
			if len(m.in) != 1 || !m.takesOptions() {
				return nil
			}
			for _, variants := range []int{2, 30, 59, 60, 61, 62} {
				for _, array := range []string{"a{sv}", "ay", "ah"} {
					body := testbed.RawNested(bus.OptMessage, variants, array)
					calls = append(calls, testbed.RawCall{Path: m.path, Interface: m.iface, Member: m.method, Signature: "a{sv}", Body: body})
				}
			}
			return calls
		}},
		{name: "descriptors", calls: func(m target) (calls []testbed.RawCall) {
			for _, values := range [][]any{
				{dbus.UnixFDIndex(0)}, {[]dbus.UnixFDIndex{0, 1}}, {dbus.MakeVariant(dbus.UnixFDIndex(1))}, m.values(typo),
				m.values(map[string]dbus.Variant{bus.OptMessage: dbus.MakeVariant([]dbus.UnixFDIndex{0, 1})}),
			} {
				if len(values) == 0 {
					continue
				}
				c := raw(m, values...)
				c.Files = []int{null, null}
				calls = append(calls, c)
			}
			return calls
		}},
		{name: "huge strings", calls: func(m target) (calls []testbed.RawCall) {
			for i, kind := range m.in {
				values := m.values(map[string]dbus.Variant{})
				switch kind {
				case "s":
					values[i] = long
				case "as":
					values[i] = []string{long}
				case "a{sv}":
					for _, key := range []string{bus.OptMessage, bus.OptFrom, bus.OptPath} {
						values := slices.Clone(values)
						values[i] = map[string]dbus.Variant{key: dbus.MakeVariant(long)}
						calls = append(calls, raw(m, values...))
					}
					continue
				case "v":
					values[i] = dbus.MakeVariant(long)
				default:
					continue
				}
				calls = append(calls, raw(m, values...))
			}
			return calls
		}},
		{name: "more than is taken", calls: func(m target) []testbed.RawCall {
			return []testbed.RawCall{{Path: m.path, Interface: m.iface, Member: m.method, Signature: "s", Body: threeMiB}}
		}},
		{name: "garbage", survivable: true, calls: garbage},
		{name: "no interface", calls: func(m target) []testbed.RawCall {
			c := raw(m, append(m.values(typo), "x")...)
			c.Interface = ""
			return []testbed.RawCall{c}
		}},
		{name: "another interface", calls: func(m target) (calls []testbed.RawCall) {
			for _, name := range []string{"org.txupd1.Nothing", "a.b", strings.Repeat("a", 120) + "." + strings.Repeat("b", 120)} {
				c := raw(m, m.values(typo)...)
				c.Interface = name
				calls = append(calls, c)
			}
			return calls
		}},
		{name: "another path", calls: func(m target) (calls []testbed.RawCall) {
			if m.iface == bus.PeerInterface {
				return nil // every path has it
			}
			for _, path := range []string{
				"/nothing", bus.Path + "/x", bus.TransactionPrefix + "4711", bus.TransactionPrefix + "01", bus.SnapshotPrefix + "18446744073709551616",
				bus.SnapshotPrefix + "18446744073709551615", bus.SnapshotPrefix + "x", "/org/txupd1/" + strings.Repeat("a", 100_000),
			} {
				c := raw(m, m.values(typo)...)
				c.Path = path
				calls = append(calls, c)
			}
			return calls
		}},
	}
}

// garbage are values of the right types that make no sense.
func garbage(m target) (calls []testbed.RawCall) {
	rubbish := []string{"", " ", "\x01\x02\x7f", "%s%n%x%p", "../../../../etc/passwd", "\u202e\ufeff\U0010ffff", "a\nb\rc", "-x", "--root=/", "4711", "-1"}
	with := func(i int, v any) {
		values := m.values(map[string]dbus.Variant{})
		values[i] = v
		calls = append(calls, raw(m, values...))
	}
	for i, kind := range m.in {
		switch kind {
		case "s":
			for _, s := range rubbish {
				with(i, s)
			}
		case "as": // what would be tried as a command or a package is left out
			with(i, []string{""})
			with(i, make([]string, 50_000))
		case "x":
			for _, n := range []int64{math.MinInt64, -2, math.MaxInt64} {
				with(i, n)
			}
		case "t":
			for _, n := range []uint64{4711, math.MaxUint32, math.MaxInt64 + 1, math.MaxUint64} {
				with(i, n)
			}
		case "u":
			for _, n := range []uint32{0, 4711, math.MaxUint32} {
				with(i, n)
			}
		case "q":
			with(i, uint16(0))
		case "v":
			with(i, dbus.MakeVariant([]dbus.Variant{dbus.MakeVariant(map[string]dbus.Variant{})}))
		case "a{sv}": // all that have one of these mind it
			for _, o := range []map[string]dbus.Variant{
				{bus.OptMessage: dbus.MakeVariant("")}, {bus.OptMessage: dbus.MakeVariant("\x01")}, {bus.OptTags: dbus.MakeVariant(make([]string, 5000))},
				{bus.OptTags: dbus.MakeVariant([]string{"two words"})}, {bus.OptFrom: dbus.MakeVariant("nonsense")}, {bus.OptExpires: dbus.MakeVariant(uint64(math.MaxUint64))},
				{bus.OptHead: dbus.MakeVariant("::")}, {bus.OptPath: dbus.MakeVariant("no slash")}, {bus.OptPaths: dbus.MakeVariant([]string{"no slash"})},
				{bus.OptState: dbus.MakeVariant("%s")},
			} {
				with(i, o)
			}
		}
	}
	return calls
}

// TestEveryMethodIsAttacked calls everything in every wrong way, as root, which
// gets past the question of who may.
func TestEveryMethodIsAttacked(t *testing.T) {
	s := newSystem(t, options{daemon: []string{"--idle", "0"}})
	s.must("run", "--", "touch", "/usr/one")
	s.must("begin")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	targets := s.targets()
	for _, must := range []string{bus.ManagerInterface + ".Begin", bus.TransactionInterface + ".Exec", bus.PropertiesInterface + ".Get", bus.PeerInterface + ".Ping"} {
		if !slices.ContainsFunc(targets, func(m target) bool { return m.name() == must }) {
			t.Fatalf("introspection does not lead to %s: %v", must, targets)
		}
	}
	before := s.footprint()
	all := attacks(int(null.Fd()))
	outcomes := map[string]map[string]int{} // method, attack and error → how often
	s.survives("attacks on every method", func() {
		clear(outcomes)
		r := s.raw()
		defer func() { r.Close() }()
		for _, m := range targets {
			for _, a := range all {
				for _, c := range a.calls(m) {
					outcome := s.attacked(r, m, a, c)
					if outcome == thrownOut {
						r.Close()
						r = s.raw()
					}
					row := m.name() + " at " + kindOfPath(m.path)
					if outcomes[row] == nil {
						outcomes[row] = map[string]int{}
					}
					outcomes[row][a.name+": "+outcome]++
				}
			}
		}
	})
	after := s.footprint()
	if b, a := fmt.Sprintf("%+v", before), fmt.Sprintf("%+v", after); b != a {
		t.Errorf("the attacks changed something:\nbefore %s\nafter  %s", b, a)
	}
	s.must("discard")
	for _, row := range slices.Sorted(maps.Keys(outcomes)) {
		var cells []string
		for _, what := range slices.Sorted(maps.Keys(outcomes[row])) {
			cells = append(cells, fmt.Sprintf("%s ×%d", what, outcomes[row][what]))
		}
		t.Logf("%s\n    %s", row, strings.Join(cells, "\n    "))
	}
}

func kindOfPath(path string) string {
	for _, prefix := range []string{bus.TransactionPrefix, bus.SnapshotPrefix} {
		if strings.HasPrefix(path, prefix) {
			return prefix + "N"
		}
	}
	return path
}

// attacked sends one call, with and without wanting an answer, and says what came of it.
func (s *system) attacked(r *testbed.RawBus, m target, a attack, c testbed.RawCall) string {
	s.t.Helper()
	silent := c
	silent.Flags |= dbus.FlagNoReplyExpected
	if err := r.Patience(patience); err != nil {
		s.t.Fatal(err)
	}
	_, err := r.Send(silent)
	var serial uint32
	if err == nil {
		serial, err = r.Send(c)
	}
	if err == nil {
		_, err = r.Answer(serial)
	}
	var refused dbus.Error
	switch {
	case err == nil:
		if !a.survivable {
			s.t.Errorf("%s at %s, %s (%s): it was accepted", m.name(), m.path, a.name, c.Signature)
		}
		return "an answer"
	case isThrownOut(err):
		return thrownOut
	case !errors.As(err, &refused):
		s.t.Errorf("%s at %s, %s (%s): %v", m.name(), m.path, a.name, c.Signature, err)
		return "nothing"
	}
	if strings.Contains(refused.Error(), "internal error") || len(refused.Error()) > 9000 {
		s.t.Errorf("%s at %s, %s: the error is %.500s", m.name(), m.path, a.name, refused.Error())
	}
	return strings.TrimPrefix(refused.Name, faults.Prefix)
}

// thrownOut: the bus itself minds.
const thrownOut = "thrown out by the bus"

func isThrownOut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}

// raw is a connection of somebody who needs no library.
func (s *system) raw() *testbed.RawBus { s.t.Helper(); return s.rawAs(0) }

func (s *system) rawAs(uid int) *testbed.RawBus {
	s.t.Helper()
	r, err := s.bus.RawAs(uid)
	if err == nil {
		err = r.Patience(patience)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}
