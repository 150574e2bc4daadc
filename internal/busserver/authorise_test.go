package busserver

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/polkit"
)

// allMethods are those of ours, by interface and name.
func allMethods() map[string]method {
	s, all := &Server{}, map[string]method{}
	for _, table := range []map[string]method{s.managerMethods(), s.transactionMethods()} {
		for name, m := range table {
			all[name] = m
		}
	}
	return all
}

// TestWhatNeedsNoAuthorisation: reading state. Everything else has an action, a new method too.
func TestWhatNeedsNoAuthorisation(t *testing.T) {
	var open []string
	for name, m := range allMethods() {
		if m.needs(nil) == "" {
			open = append(open, name)
			if m.changes || m.own || m.alone {
				t.Errorf("%s changes something, and anybody may call it", name)
			}
		}
		if m.forAll() == (m.does != "") {
			t.Errorf("%s: what is it called where somebody is refused it? %q", name, m.does)
		}
	}
	slices.Sort(open)
	want := []string{"Blame", "Config", "Diff", "Doctor", "Etc", "List", "Log", "Metrics", "PackageList", "PackageNames", "RebootStatus", "Show", "Status", "Tree", "Verify"}
	if d := cmp.Diff(want, open); d != "" {
		t.Errorf("open to everybody (-want +got):\n%s", d)
	}
}

func TestActionsOfMethodsAreThoseOfThePolicy(t *testing.T) {
	used := map[string]bool{}
	for name, m := range allMethods() {
		for _, action := range slices.Concat([]string{m.action}, slices.Collect(maps.Values(m.with))) {
			if action != "" && !slices.Contains(polkit.Actions(), action) {
				t.Errorf("%s needs %q, which is no action", name, action)
			}
			used[action] = true
		}
		for option := range m.with {
			if !slices.Contains(m.options, option) {
				t.Errorf("%s has no option %q", name, option)
			}
		}
	}
	for _, action := range polkit.Actions() {
		if !used[action] {
			t.Errorf("no method needs %s", action)
		}
	}
}

func TestOptionsThatNeedMore(t *testing.T) {
	all := allMethods()
	for _, c := range []struct {
		method string
		o      options
		want   string
	}{
		{"Update", options{bus.OptMessage: dbus.MakeVariant("m"), bus.OptDryRun: dbus.MakeVariant(true)}, polkit.Update},
		{"Update", options{bus.OptFrom: dbus.MakeVariant("3")}, polkit.Transact}, // it would be a rollback
		{"Update", options{bus.OptKeepUnchanged: dbus.MakeVariant(true)}, polkit.Transact},
		{"Update", options{bus.OptKeepUnchanged: dbus.MakeVariant(false)}, polkit.Update},
		{"Diff", options{bus.OptPaths: dbus.MakeVariant([]string{"/etc"})}, ""},
		{"Diff", options{bus.OptPatch: dbus.MakeVariant(false)}, ""},
		{"Diff", options{bus.OptPatch: dbus.MakeVariant(true)}, polkit.ReadLog},
		{"Annotate", options{bus.OptNote: dbus.MakeVariant("n")}, polkit.Transact},
		{"Annotate", options{bus.OptPin: dbus.MakeVariant(true)}, polkit.Delete},
	} {
		if got := all[c.method].needs(c.o); got != c.want {
			t.Errorf("%s with %v needs %q, want %q", c.method, c.o, got, c.want)
		}
	}
	// Taking a pin away is what deletes.
	if got := all["Annotate"].needs(options{bus.OptPin: dbus.MakeVariant(false)}); got != polkit.Delete {
		t.Errorf("taking a pin away needs %q", got)
	}
}

// TestDetailsOfDifferentCallsDiffer: a rule that accepts one must not be told the other in its words.
func TestDetailsOfDifferentCallsDiffer(t *testing.T) {
	seen := map[string][]string{}
	for _, argv := range [][]string{
		{"systemctl", "restart", "x"}, {"systemctl restart", "x"}, {"systemctl", `"restart" x`}, {`systemctl`, "restart\x01", "x"}, {"systemctl", "restart", "x", ""},
		{}, {""}, {`""`}, {`"`}, {"a b"}, {"a", "b"}, {`"a b"`}, {"a\u202eb"}, {"ä"}, {"\u00a0"},
	} {
		d := detail(argv)
		if other, twice := seen[d]; twice {
			t.Errorf("%q and %q are both %s", other, argv, d)
		}
		seen[d] = argv
	}
	c := &call{args: []any{[]string{"hello", "vim=2:9.1+b~1"}, options{}}, options: options{
		bus.OptMessage: dbus.MakeVariant("why not"), bus.OptDryRun: dbus.MakeVariant(true), bus.OptTags: dbus.MakeVariant([]string{"a", "b"}),
	}}
	c.args[1] = map[string]dbus.Variant(c.options)
	want := map[string]string{"packages": "hello vim=2:9.1+b~1", "message": "why not", "dry_run": "true", "tags": "a b"}
	if d := cmp.Diff(want, c.details([]string{"names", "options"})); d != "" {
		t.Errorf("details (-want +got):\n%s", d)
	}
}

// TestWhoIsAskedIsNotDeceived: the words of the caller's that are shown are harmless ones.
func TestWhoIsAskedIsNotDeceived(t *testing.T) {
	for packages, want := range map[string]string{
		"hello vim": " (hello vim)", "": "", `"update. All is well"`: "", "$(polkit.message)": "", strings.Repeat("a", maxShown+1): "", "a\u202eb": "",
	} {
		if got := about(map[string]string{"packages": packages}); got != want {
			t.Errorf("packages %q are shown as %q, want %q", packages, got, want)
		}
	}
	for number, want := range map[string]string{"4": " (4)", "-1": ""} {
		if got := about(map[string]string{"number": number}); got != want {
			t.Errorf("number %s is shown as %q, want %q", number, got, want)
		}
	}
}
