// The real polkit on a private bus, with the project's actions and rules of a test.

package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/polkit"
)

// polkitds are where distributions have it.
var polkitds = []string{"/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd", "/usr/libexec/polkit-1/polkitd"}

// polkitdStart is how long polkit may take to be on the bus.
const polkitdStart = time.Minute

// RealPolkit starts polkitd on the bus. In its place in the file system are
// the actions of the project alone, and the given rules (JavaScript).
func RealPolkit(t testing.TB, b *Bus, rules string) {
	t.Helper()
	NeedTools(t, "unshare", "mount")
	i := slices.IndexFunc(polkitds, func(path string) bool { _, err := os.Stat(path); return err == nil })
	if i < 0 {
		unable(t, "polkitd (scripts/deps installs it)")
	}
	dir, err := polkitFiles(rules)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	owners := make(chan *dbus.Signal, 16)
	conn.Signal(owners)
	if err := conn.AddMatchSignal(dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, polkit.Name)); err != nil {
		t.Fatal(err)
	}
	// In a name space of mounts of its own nothing of this machine is changed.
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec", `
		mount --bind "$1/actions" /usr/share/polkit-1/actions
		for rules in /usr/share/polkit-1/rules.d /etc/polkit-1/rules.d; do
			if [ -d $rules ]; then mount --bind "$1/rules.d" $rules; fi
		done
		exec "$2"`, "polkitd", dir, polkitds[i])
	cmd.Env = b.Env()
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		<-ended
	})
	late := time.After(polkitdStart)
	for {
		select {
		case sig := <-owners:
			if sig.Name == "org.freedesktop.DBus.NameOwnerChanged" {
				return
			}
		case err := <-ended:
			ended <- err
			t.Fatalf("polkitd ended at once: %v", err)
		case <-late:
			t.Fatalf("polkitd is not on the bus after %v", polkitdStart)
		}
	}
}

// polkitFiles makes a directory with actions and rules.
func polkitFiles(rules string) (string, error) {
	top, err := Checkout()
	if err != nil {
		return "", err
	}
	actions, err := os.ReadFile(filepath.Join(top, "systemd", bus.Name+".policy"))
	if err != nil {
		return "", err
	}
	dir, err := publicDir("txupd-polkit-")
	if err != nil {
		return "", err
	}
	err = errors.Join(
		os.Mkdir(filepath.Join(dir, "actions"), 0o755), os.Mkdir(filepath.Join(dir, "rules.d"), 0o755),
		os.WriteFile(filepath.Join(dir, "actions", bus.Name+".policy"), actions, 0o644),
		os.WriteFile(filepath.Join(dir, "rules.d", "50-test.rules"), []byte(rules), 0o644),
	)
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// PolkitAgent is who is asked for a password by the real polkit.
type PolkitAgent struct {
	authority dbus.BusObject
	give      func(PolkitPrompt) bool
}

// PolkitPrompt is what people see.
type PolkitPrompt struct {
	Action, Message string
	Details         map[string]string
	Users           []uint32 // whose password will do
}

// NewPolkitAgent is the agent of this process, whoever it calls as. give says
// whether the password is given; there is none, because root's word is as good.
func NewPolkitAgent(t testing.TB, b *Bus, give func(PolkitPrompt) bool) {
	t.Helper()
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	const path = "/test/Agent"
	a := &PolkitAgent{authority: conn.Object(polkit.Name, polkit.Path), give: give}
	if err := conn.Export(exportedAgent{a}, path, "org.freedesktop.PolicyKit1.AuthenticationAgent"); err != nil {
		t.Fatal(err)
	}
	start, err := startTime()
	if err != nil {
		t.Fatal(err)
	}
	subject := polkitSubject{"unix-process", map[string]dbus.Variant{
		"pid": dbus.MakeVariant(uint32(os.Getpid())), "start-time": dbus.MakeVariant(start),
	}}
	if err := a.authority.Call(polkit.Interface+".RegisterAuthenticationAgent", 0, subject, "C", path).Err; err != nil {
		t.Fatal(err)
	}
}

// startTime is that of this process, as polkit knows it: field 22 of /proc/self/stat.
func startTime() (ticks uint64, err error) {
	raw, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, err
	}
	after := string(raw[strings.LastIndexByte(string(raw), ')')+1:])
	fields := strings.Fields(after)
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/self/stat is %q", raw)
	}
	_, err = fmt.Sscan(fields[19], &ticks)
	return ticks, err
}

// exportedAgent has only the methods of the bus.
type exportedAgent struct{ a *PolkitAgent }

// BeginAuthentication is the method of org.freedesktop.PolicyKit1.AuthenticationAgent.
func (e exportedAgent) BeginAuthentication(action, message, _ string, details map[string]string, cookie string, identities []polkitSubject) *dbus.Error {
	prompt := PolkitPrompt{Action: action, Message: message, Details: details}
	for _, i := range identities {
		uid, _ := i.Details["uid"].Value().(uint32)
		prompt.Users = append(prompt.Users, uid)
	}
	if len(identities) == 0 || !e.a.give(prompt) {
		return dbus.NewError("org.freedesktop.PolicyKit1.Error.Cancelled", []any{"dismissed"})
	}
	if err := e.a.authority.Call(polkit.Interface+".AuthenticationAgentResponse2", 0, uint32(0), cookie, identities[0]).Err; err != nil {
		return dbus.MakeFailedError(err)
	}
	return nil
}

// CancelAuthentication is the method of org.freedesktop.PolicyKit1.AuthenticationAgent.
func (e exportedAgent) CancelAuthentication(string) *dbus.Error { return nil }
