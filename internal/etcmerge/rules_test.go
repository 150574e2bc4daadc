package etcmerge

import (
	"strings"
	"testing"
)

func TestRuleOfAPath(t *testing.T) {
	rs, err := compile([]Rule{
		{"/etc/app/*.json", Live}, {"app/**/cache", Never}, {"/etc/shells", Whole}, {"**/secret", State}, {"odd/[ab]?", Whole},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]Action{
		"hosts": Lines, "fstab": Whole, "etc/fstab": Lines, "sub/fstab": Lines, "machine-id": Live, "passwd": Accounts, "passwd-": State,
		"app/a.json": Live, "app/b/a.json": Lines, "app/cache": Never, "app/b/c/cache": Never, "app/cache/x": Lines,
		"shells": Whole, "secret": State, "a/b/secret": State, "odd/ax": Whole, "odd/cx": Lines, "odd/a/": Lines,
		"alternatives/editor": Alternatives, "alternatives/a/b": Lines, "ssl/private/a/b.txt": Whole, "x/y.pem": Whole, "y.pem": Whole,
		"ssh/ssh_host_rsa_key.pub": Whole, "ssh/sshd_config": Lines, "hosts.txupd-7": Whole, "app/a.json.txupd-7.1": Whole, "": Lines,
	} {
		if got := rs.of(path).Action; got != want {
			t.Errorf("%q is merged as %s, want %s", path, got, want)
		}
	}
}

func TestRulesThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		says string
	}{
		{Rule{"a", "magic"}, `unknown action "magic"; there are lines, whole`},
		{Rule{"a", Accounts}, "unknown action"},
		{Rule{"", Live}, "not a path below /etc"},
		{Rule{"/etc/", Live}, "not a path below /etc"},
		{Rule{"/etc", Live}, "not a path below /etc"},
		{Rule{"../shadow", Live}, "not a path below /etc"},
		{Rule{"a/../../b", Live}, "not a path below /etc"},
		{Rule{"a//b", Live}, "not a path below /etc"},
		{Rule{"[a", Live}, "syntax error"},
		{Rule{"/var/lib/x", Live}, "not a path below /etc"},
		{Rule{"/etcetera/x", Live}, "not a path below /etc"},
	} {
		if _, err := compile([]Rule{c.rule}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.rule, err, c.says)
		}
	}
}

func TestDefaultRulesAreRight(t *testing.T) {
	for _, r := range DefaultRules {
		if r.Action == Accounts {
			continue
		}
		if err := check(r, r.Pattern); err != nil {
			t.Error(err)
		}
	}
}

func TestNamesOfWhatIsKeptAside(t *testing.T) {
	for name, want := range map[string]struct {
		base   string
		number uint64
		ok     bool
	}{
		"c.txupd-7": {"c", 7, true}, "c.txupd-7.1": {"c", 7, true}, "c.conf.txupd-12": {"c.conf", 12, true},
		"c.txupd-1.txupd-2": {"c.txupd-1", 2, true}, "c.txupd-": {}, "c.txupd-7.": {}, "c.txupd-7.a": {}, "c.txupd-7.1.2": {},
		".txupd-7": {}, "c.txupd--7": {}, "c.txupd-+7": {}, "c": {}, "": {}, "c.txupd-99999999999999999999999": {},
	} {
		base, number, ok := asideOf(name)
		if base != want.base || number != want.number || ok != want.ok {
			t.Errorf("%q: %q, %d, %v", name, base, number, ok)
		}
	}
}
