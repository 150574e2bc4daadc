//go:build machine

// Users who are not root, on a system with its own polkit: refused, let through
// by a rule, and asked for a password by the agent on their terminal.

package machine

import (
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed/machine"
)

// operators may install packages without a password.
const operators = `polkit.addRule(function(action, subject) {
    if (action.id == "org.txupd1.transact" && subject.isInGroup("operators"))
        return polkit.Result.YES;
});
`

// typePassword is what a person does who is asked for one: it waits for the question on
// the only terminal that there is, and until what is typed is hidden.
const typePassword = `until grep -q Password: /tmp/seen && stty -F /dev/pts/0 -a 2>/dev/null | grep -q -- ' -echo '; do sleep 0.2; done
echo "$1"`

func TestUsersWhoAreNotRoot(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	s.must("sh", "-ec", `groupadd operators
useradd --create-home alice
useradd --create-home --groups operators bob
echo root:correct-horse | chpasswd`)
	s.check(s.vm.WriteFile(s.context(), "/etc/polkit-1/rules.d/50-operators.rules", []byte(operators), 0o644))
	as := func(user string, args ...string) []string {
		return append([]string{"runuser", "-u", user, "--", "txctl"}, args...)
	}

	s.must(as("alice", "status")...)
	s.expect(9, "install packages", as("alice", "pkg", "add", machine.Hello)...)
	if st := s.status(); st.Pending != nil || st.Transaction != nil {
		t.Errorf("refused, and yet %+v", st)
	}

	s.must(as("bob", "pkg", "add", "-m", "bob wants it", machine.Hello)...)
	n := s.pending()
	if rec := s.show(n); rec.Message != "bob wants it" || rec.Actor.Name != "bob" {
		t.Errorf("the record says %q by %+v", rec.Message, rec.Actor)
	}
	s.expect(125, "run a command", as("bob", "run", "--", "true")...) // the rule is of packages; 125 is ours beside a command's own

	asked := func(password string) machine.Result {
		return s.run("sh", "-c", `rm -f /tmp/seen; install -m 666 /dev/null /tmp/seen
sh -c "$0" sh "$1" | runuser -u alice -- script --quiet --return --flush --command "txctl run -m 'by alice' -- touch /usr/by-alice" /tmp/seen`, typePassword, password)
	}
	if r := asked("wrong"); r.Exit != 125 || s.pending() != n {
		t.Errorf("a wrong password: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
	if r := asked("correct-horse"); r.Exit != 0 || !strings.Contains(r.Stdout, "Authentication is required to run a command") {
		t.Errorf("the right password: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
	if rec := s.show(s.pending()); rec.Message != "by alice" || rec.Actor.Name != "alice" {
		t.Errorf("the record says %q by %+v", rec.Message, rec.Actor)
	}
	if !strings.Contains(s.must("journalctl", "--boot", "--no-pager", "--unit", "polkit.service"), "org.txupd1.shell") {
		t.Error("polkit's log does not tell what alice was asked for")
	}
}
