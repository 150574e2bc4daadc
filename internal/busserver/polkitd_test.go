// The server with the real polkit: the actions are read, rules see the details,
// and people see whose wish it is that they are asked about.

package busserver

import (
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/polkit"
	"github.com/txupd/txupd/internal/testbed"
)

const testRules = `
polkit.addAdminRule(function(action, subject) { return ["unix-user:0"]; });
polkit.addRule(function(action, subject) {
    if (subject.user == "nobody" && action.id == "org.txupd1.transact" && action.lookup("method") == "Install" &&
        action.lookup("packages") == "hello vim" && !action.lookup("message"))
        return polkit.Result.YES;
    if (subject.isInGroup("daemon") && action.id == "org.txupd1.transact")
        return polkit.Result.YES;
    if (subject.user == "bin")
        return polkit.Result.NO;
});
`

func TestRealPolkit(t *testing.T) {
	ts := serveTest(t)
	ts.letGo()
	testbed.RealPolkit(t, ts.bus, testRules)
	nobody, daemon, bin := ts.as(somebody), ts.as(1), ts.as(2)
	call := func(r *testbed.RawBus, method string, flags dbus.Flags, args ...any) string {
		t.Helper()
		_, err := r.Answer(send(t, r, method, flags, args...))
		if err != nil {
			t.Logf("%s(%v) of %s: %v", method, args, r.Name, err)
		}
		return errorName(err)
	}
	for _, c := range []struct {
		what   string
		r      *testbed.RawBus
		method string
		args   []any
		want   string
	}{
		{"what a rule allows", nobody, "Install", []any{[]string{"hello", "vim"}, options{}}, ""},
		{"more than it allows", nobody, "Install", []any{[]string{"hello", "vim", "sudo"}, options{}}, errInteractive},
		{"one word for two", nobody, "Install", []any{[]string{"hello vim"}, options{}}, errInteractive},
		{"another method", nobody, "Work", []any{options{}}, errInteractive},
		{"another action", nobody, "Upgrade", []any{options{}}, errInteractive},
		{"who may install anything", daemon, "Install", []any{[]string{"x"}, options{}}, ""},
		{"may update, too", daemon, "Upgrade", []any{options{}}, ""},
		{"what a rule forbids", bin, "Work", []any{options{}}, notAuthorized},
	} {
		if got := call(c.r, c.method, 0, c.args...); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	if got := call(nobody, "Upgrade", dbus.FlagAllowInteractiveAuthorization, options{}); got != notAuthorized {
		t.Errorf("with nobody there to ask: %q", got)
	}
	prompts := make(chan testbed.PolkitPrompt, 10)
	testbed.NewPolkitAgent(t, ts.bus, func(p testbed.PolkitPrompt) bool {
		prompts <- p
		return p.Action != polkit.Update
	})
	for _, c := range []struct {
		what, method string
		args         []any
		action       string // that somebody is asked for
		shown        string
		want         string
	}{
		{"dismissed", "Upgrade", []any{options{}}, polkit.Update, "Authentication is required to update the system.", notAuthorized},
		{"a password", "Install", []any{[]string{"htop"}, options{}}, polkit.Transact, "Authentication is required to install packages (htop).", ""},
		{"a password that is kept", "Install", []any{[]string{"$(message)"}, options{}}, "", "", ""},
		{"what that implies", "Upgrade", []any{options{}}, "", "", ""},
	} {
		if got := call(nobody, c.method, dbus.FlagAllowInteractiveAuthorization, c.args...); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
		var got testbed.PolkitPrompt
		select {
		case got = <-prompts:
			if len(got.Users) != 1 || got.Users[0] != 0 {
				t.Errorf("%s: the password of %v is asked for, want an administrator's", c.what, got.Users)
			}
		default:
		}
		if got.Action != c.action || got.Message != c.shown {
			t.Errorf("%s: asked for %q as %q, want %q as %q", c.what, got.Action, got.Message, c.action, c.shown)
		}
	}
}
