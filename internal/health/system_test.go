package health

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/testbed"
)

const (
	head4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	local = "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
	lo6   = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
	link6 = "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
	ra6   = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe80000000000000505400fffe123456 00000400 00000001 00000000 00450003     eth0\n"
)

func TestDefaultRoutesAreRecognised(t *testing.T) {
	for name, c := range map[string]struct {
		v4, v6 string
		want   bool
	}{
		"by a gateway":            {head4 + local + "eth0\t00000000\t0102000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n", lo6, true},
		"through a device":        {head4 + "wg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n", "", true},
		"no default":              {head4 + local, lo6 + link6, false},
		"nothing at all":          {head4, "", false},
		"half of the Internet":    {head4 + "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n", "", false},
		"of the loopback":         {head4 + "lo\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n", lo6, false},
		"unreachable":             {head4 + "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n", "", false},
		"not up":                  {head4 + "eth0\t00000000\t0102000A\t0002\t0\t0\t0\t00000000\t0\t0\t0\n", "", false},
		"IPv6, announced":         {head4, lo6 + link6 + ra6, true},
		"IPv6, unreachable":       {head4, strings.Replace(ra6, "00450003", "00450203", 1), false},
		"IPv6, for some":          {head4, strings.Replace(ra6, " 00 0000", " 03 0000", 1), false},
		"lines that are cut off":  {head4 + "eth0\t00000000\n", "0000\n", false},
		"flags that are no flags": {head4 + "eth0\t00000000\t0102000A\tzz\t0\t0\t100\t00000000\t0\t0\t0\n", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "proc/net")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"route": c.v4, "ipv6_route": c.v6} {
				if text == "" && file == "ipv6_route" {
					continue // as where IPv6 is switched off
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := (System{Root: root}).DefaultRoute(); got != c.want || err != nil {
				t.Errorf("found %v, %v", got, err)
			}
		})
	}
	if _, err := (System{Root: t.TempDir()}).DefaultRoute(); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("without /proc: %v", err)
	}
}

// inNamespace is set for the test that runs itself in a network namespace.
const inNamespace = "HEALTH_TEST_IN_A_NETWORK_NAMESPACE"

func TestTheKernelsOwnDefaultRoutes(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		testbed.NeedTools(t, "ip")
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestTheKernelsOwnDefaultRoutes$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", args, err, out)
		}
	}
	expect := func(want bool, when string) {
		t.Helper()
		if got, err := (System{}).DefaultRoute(); got != want || err != nil {
			t.Errorf("%s: found %v, %v", when, got, err)
		}
	}
	expect(false, "in a new namespace")
	ip("link set lo up")
	ip("tuntap add dev out mode tun")
	ip("addr add 192.0.2.1/24 dev out")
	ip("-6 addr add 2001:db8::1/64 dev out nodad")
	ip("link set out up")
	expect(false, "with an address")
	for _, family := range []string{"-4", "-6"} {
		gateway := map[string]string{"-4": "192.0.2.2", "-6": "2001:db8::2"}[family]
		ip(family + " route add default via " + gateway + " dev out")
		expect(true, family+": with a gateway")
		ip(family + " route del default")
		expect(false, family+": without it")
		ip(family + " route add unreachable default")
		expect(false, family+": unreachable")
		ip(family + " route del default")
	}
}

// systemd answers on a bus as pid 1 does.
type systemd struct{ t *testing.T }

// unit is one of the answers of ListUnits, a(ssssssouso).
type unit struct {
	Name, Description, Load, Active, Sub, Followed string
	Path                                           dbus.ObjectPath
	Job                                            uint32
	JobType                                        string
	JobPath                                        dbus.ObjectPath
}

func (s systemd) ListUnitsFiltered(states []string) ([]unit, *dbus.Error) {
	if !cmp.Equal(states, []string{"failed"}) {
		s.t.Errorf("asked for the states %q", states)
	}
	one := func(name string) unit {
		return unit{Name: name, Load: "loaded", Active: "failed", Sub: "failed", Path: "/org/freedesktop/systemd1/unit/x", JobPath: "/"}
	}
	return []unit{one("b.service"), one(`dev-a\x2db.device`), one("a.mount")}, nil
}

type properties struct{}

func (properties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	return dbus.MakeVariant("state of " + name), nil
}

func TestSystemdIsAskedOverTheBus(t *testing.T) {
	testbed.NeedTools(t, "dbus-daemon")
	address := "unix:path=" + filepath.Join(t.TempDir(), "bus")
	daemon := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address", "--address="+address)
	daemon.Stderr = t.Output()
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		daemon.Process.Kill()
		daemon.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it listens when it has said where
		t.Fatal(err)
	}
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const name = "org.freedesktop.systemd1"
	if err := errors.Join(
		conn.Export(systemd{t}, "/org/freedesktop/systemd1", name+".Manager"),
		conn.Export(properties{}, "/org/freedesktop/systemd1/unit/boot_2dcomplete_2etarget", "org.freedesktop.DBus.Properties"),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(name, 0); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)

	if _, err := (System{Root: t.TempDir()}).FailedUnits(t.Context()); !errors.Is(err, ErrNoManager) {
		t.Errorf("without a booted systemd: %v", err)
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := System{Root: root}
	units, err := s.FailedUnits(t.Context())
	if diff := cmp.Diff([]string{"a.mount", "b.service", `dev-a\x2db.device`}, units); err != nil || diff != "" {
		t.Errorf("failed units: %v (-want +got):\n%s", err, diff)
	}
	if state, err := s.UnitState(t.Context(), "boot-complete.target"); state != "state of ActiveState" || err != nil {
		t.Errorf("state %q, %v", state, err)
	}

	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	if _, err := os.Stat("/run/systemd/private"); err == nil {
		return // the way round the bus is open here
	}
	if _, err := s.FailedUnits(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot reach systemd: ") || errors.Is(err, ErrNoManager) {
		t.Errorf("with a bus that is not there: %v", err)
	}
}
