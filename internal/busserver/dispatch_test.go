package busserver

import (
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
)

func TestTablesFitTheIntrospectionData(t *testing.T) {
	if err := (&Server{}).kinds(); err != nil {
		t.Fatal(err)
	}
	one := map[string]map[string]method{bus.IntrospectInterface: {"Introspect": {}}}
	if _, err := newKind(bus.BranchXML, map[string]map[string]method{}); err == nil {
		t.Error("a method that is described and not there was accepted")
	}
	one[bus.ManagerInterface] = map[string]method{"Secret": {}}
	if _, err := newKind(bus.BranchXML, one); err == nil {
		t.Error("a method without a description was accepted")
	}
}

func TestOptionsAreCheckedBeforeAnythingIsDone(t *testing.T) {
	accepted := []string{bus.OptMessage, bus.OptLimit}
	for _, c := range []struct {
		given options
		names string // what the error must name, "" for none
	}{
		{nil, ""},
		{options{}, ""},
		{options{bus.OptMessage: dbus.MakeVariant("why"), bus.OptLimit: dbus.MakeVariant(uint64(3))}, ""},
		{options{bus.OptLimit: dbus.MakeVariant(int32(3))}, bus.OptLimit},
		{options{"mesage": dbus.MakeVariant("why")}, "mesage"},
		{options{bus.OptDetach: dbus.MakeVariant(true)}, bus.OptDetach},
	} {
		err := c.given.check("Log", accepted)
		if (err == nil) != (c.names == "") || err != nil && !strings.Contains(err.Error(), c.names) {
			t.Errorf("%v: %v, want one that names %q", c.given, err, c.names)
		}
	}
}

func TestEveryOptionHasAType(t *testing.T) {
	s := &Server{}
	for name, table := range map[string]map[string]method{bus.ManagerInterface: s.managerMethods(), bus.TransactionInterface: s.transactionMethods()} {
		for m, one := range table {
			for _, o := range one.options {
				if optionTypes[o] == "" {
					t.Errorf("%s.%s takes option %q, which has no type", name, m, o)
				}
			}
		}
	}
}

func TestMessagesThatAreRefused(t *testing.T) {
	for _, m := range []string{"", " \n", strings.Repeat("m", maxMessage+1), "a\x00b", "a\x1b[2Jb", "\xff"} {
		if checkMessage(m) == nil {
			t.Errorf("message %.20q was accepted", m)
		}
	}
	for _, m := range []string{"why", "two\nlines\tand a tab", "schön", strings.Repeat("m", maxMessage)} {
		if err := checkMessage(m); err != nil {
			t.Errorf("message %.20q: %v", m, err)
		}
	}
}

func TestUnitOfACaller(t *testing.T) {
	for groups, want := range map[string]string{
		"0::/system.slice/cron.service\n":                                      "cron.service",
		"0::/user.slice/user-1000.slice/session-2.scope\n":                     "session-2.scope",
		"0::/user.slice/user@1000.service/app.slice/app-x.scope\n":             "app-x.scope",
		"12:pids:/x.service\n1:name=systemd:/system.slice/ssh.service\n0::/\n": "ssh.service",
		"0::/\n":   "",
		"":         "",
		"rubbish":  "",
		"1:cpu:/a": "",
	} {
		if got := unitIn(groups); got != want {
			t.Errorf("unit in %q is %q, want %q", groups, got, want)
		}
	}
}
