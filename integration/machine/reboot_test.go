//go:build machine

// The machine really reboots into what was committed, and out of a bad one.

package machine

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed/machine"
	"github.com/txupd/txupd/pkg/journal/record"
)

// TestAPackageIsThereAfterTheReboot: what it is all for.
func TestAPackageIsThereAfterTheReboot(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	if r := s.run("sh", "-c", "hello"); r.Exit != 127 {
		t.Fatalf("hello is there before: %+v", r)
	}
	s.must("txctl", "pkg", "add", "hello", "-m", "greet")
	if r := s.run("sh", "-c", "hello"); r.Exit != 127 {
		t.Errorf("the running system has hello: %+v", r)
	}
	n := s.status().Pending.Number
	s.reboot()
	if out := s.must("hello"); !strings.Contains(out, "Hello, world!") {
		t.Errorf("hello says %q", out)
	}
	st := s.status()
	if st.Booted.Number != n || st.Pending != nil || st.LastGood == nil || st.LastGood.Number != n || len(st.Warnings) > 0 {
		t.Errorf("the status is %+v", st)
	}
	rec := s.show(n)
	if rec.Verdict != record.Good || len(rec.Boots) != 1 || rec.Boots[0].Verdict != record.Good || rec.Boots[0].BootID != s.bootID() {
		t.Errorf("the verdict is %s, the boots %+v", rec.Verdict, rec.Boots)
	}
	s.consistent(n)
	// No boot waits for us, but for the merge of /etc that its services read: no
	// other target that a login or a service waits for comes after a unit of ours.
	waits := s.must("systemctl", "show", "--property=After", "sysinit.target", "basic.target", "multi-user.target", "graphical.target")
	if strings.Contains(strings.ReplaceAll(waits, "txupd-state.service", ""), "txupd") {
		t.Errorf("the boot waits for us: %s", waits)
	}
	t.Logf("what our units cost:\n%s", s.must("sh", "-c", "systemd-analyze blame --no-pager | grep -E 'txupd|Startup'; systemd-analyze; systemd-analyze critical-chain --no-pager multi-user.target | head -5"))
}

// TestAnotherKernel: the new one with its modules, the old one from the menu
// with its own; from there a rollback, and the new one once more for one boot.
func TestAnotherKernel(t *testing.T) { anotherKernel(t, machine.Variant{}) }

func TestAnotherKernelOnABootPartition(t *testing.T) { anotherKernel(t, apart) }

func anotherKernel(t *testing.T, v machine.Variant) {
	s := start(t, prepared(v))
	old := s.must("uname", "-r")
	s.must("txctl", "pkg", "add", machine.Kernel)
	n := s.status().Pending.Number
	s.reboot()
	if got := s.must("uname", "-r"); got == old {
		t.Errorf("the kernel is %s as before", got)
	}
	s.consistent(n)

	s.rebootInto(regexp.MustCompile(`^0: `))
	if got := s.must("uname", "-r"); got != old {
		t.Errorf("the old entry boots kernel %s, not %s", got, old)
	}
	s.consistent(0)
	st := s.status()
	if st.Booted.Number != 0 || st.Pending == nil || st.Pending.Number != n {
		t.Fatalf("booted from the menu: %+v", st)
	}
	s.must("txctl", "rollback")
	if st := s.status(); st.Pending != nil || st.Default.Number != 0 {
		t.Errorf("after the rollback: %+v", st)
	}
	s.must("txctl", "boot-once", fmt.Sprint(n))
	s.reboot()
	s.consistent(n)
	s.reboot()
	s.consistent(0)
}

// brokenInit makes the kernel panic: there is an init, and it ends.
const brokenInit = `printf '#!/bin/sh\nexit 1\n' >/usr/lib/systemd/systemd.new && chmod 755 /usr/lib/systemd/systemd.new && mv /usr/lib/systemd/systemd.new /usr/lib/systemd/systemd`

func TestAKernelPanicIsLeftByTheLoader(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	s.configure("[boot]\ntries = 2\npanic-timeout = \"1s\"\n")
	s.must("txctl", "run", "-m", "no init", "--", "sh", "-c", brokenInit)
	n := s.status().Pending.Number
	resets := s.vm.Resets()
	s.reboot()
	// One reset to leave, and one for each try.
	if got := s.vm.Resets() - resets; got != 3 {
		t.Errorf("%d resets, not 3", got)
	}
	s.consistent(0)
	s.left(n, "did not come up in 2 tries")
	if !strings.Contains(s.vm.Console(), "Kernel panic") {
		t.Error("the kernel did not panic")
	}
}

func TestADamagedKernelIsLeftByTheLoader(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	s.must("txctl", "run", "-m", "damaged kernel", "--", "sh", "-c", "for k in /boot/vmlinuz-*; do head -c 1000000 /dev/zero >$k; done")
	n := s.status().Pending.Number
	s.reboot()
	s.consistent(0)
	s.left(n, "could not load its kernel")
}

func TestAFailedCheckIsLeftAsOftenAsConfigured(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	s.configure("[boot]\nautomatic-rollbacks = 1\n")
	const check = `mkdir -p /etc/txupd/health.d/required.d && printf '#!/bin/sh\necho the web is down\nexit 1\n' >/etc/txupd/health.d/required.d/50-web && chmod 755 /etc/txupd/health.d/required.d/50-web`
	s.must("txctl", "run", "-m", "bad", "--", "sh", "-c", check)
	n := s.status().Pending.Number
	s.check(s.vm.BeginReboot())
	s.wait(n) // it comes up, and is left
	s.wait(0)
	s.judged()
	s.left(n, "50-web")

	s.must("txctl", "run", "-m", "bad again", "--", "sh", "-c", check)
	m := s.status().Pending.Number
	s.check(s.vm.BeginReboot())
	s.wait(m)
	s.console(fmt.Sprintf("snapshot %d stays up", m))
	st := s.status()
	if st.Booted.Number != m || st.Booted.Verdict != record.Bad || len(s.vm.Boots()) == 0 {
		t.Errorf("the status is %+v", st)
	}
	s.must("txctl", "rollback", "last-good")
	s.reboot()
	s.consistent(0)
}

func TestAnUpgradeOfGRUBTouchesNothingThatBoots(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	const look = "sync; sha256sum /dev/vda; find /boot/grub -xdev -type f -print0 | sort -z | xargs -0 sha256sum"
	before := s.must("sh", "-c", look)
	s.must("txctl", "begin", "-m", "new loader")
	n := s.status().Transaction.Number
	s.must("txctl", "exec", fmt.Sprint(n), "--", "apt-get", "install", "-y", machine.Loader, machine.Kernel)
	if out := s.must("txctl", "exec", fmt.Sprint(n), "--", "dpkg-query", "-W", machine.Loader); !strings.Contains(out, machine.LoaderVersion) {
		t.Fatalf("GRUB was not upgraded: %s", out)
	}
	if after := s.must("sh", "-c", look); after != before {
		t.Errorf("before the commit something changed:\n%s\n%s", before, after)
	}
	s.must("txctl", "commit", fmt.Sprint(n))
	s.reboot()
	s.consistent(n)
}

// TestThePowerIsCutRightAfterDone: who was told that it is done finds it done.
func TestThePowerIsCutRightAfterDone(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	s.must("txctl", "run", "--", "touch", "/usr/done")
	s.vm.Cut()
	s.powerOn()
	n := s.status().Booted.Number
	if n == 0 {
		t.Fatal("the old system boots")
	}
	s.must("test", "-e", "/usr/done")
	s.consistent(n)
}

// TestThePowerIsCutAroundTheCommit: the old or the new one boots, and whole.
func TestThePowerIsCutAroundTheCommit(t *testing.T) {
	cuts := fromEnvironment(t, "TXUPD_CUTS", 2)
	seed := fromEnvironment(t, "TXUPD_SEED", uint64(time.Now().UnixNano()))
	t.Logf("TXUPD_SEED=%d repeats the moments, TXUPD_CUTS sets how many", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := start(t, prepared(apart))
	// What one takes that is not cut: the moments lie around its end, where the commit point is.
	began := time.Now()
	s.must("txctl", "commit", fmt.Sprint(s.changed()))
	whole := time.Since(began)
	for range cuts {
		old := s.status().Booted.Number
		if st := s.status(); st.Pending != nil {
			old = st.Pending.Number
		}
		n := s.changed()
		p, err := s.vm.Command(machine.Command{Argv: []string{"txctl", "commit", fmt.Sprint(n)}})
		if err != nil {
			t.Fatal(err)
		}
		// The moment is the point here, so this is no wait for something.
		time.Sleep(whole/2 + time.Duration(random.Int64N(int64(whole))))
		s.vm.Cut()
		r, err := p.Wait(s.context())
		acknowledged := err == nil && r.Exit == 0
		s.powerOn()
		got := s.status().Booted.Number
		t.Logf("cut in the commit of %d over %d (told that it is done: %v): %d boots", n, old, acknowledged, got)
		if got != n && (got != old || acknowledged) {
			t.Errorf("the commit of %d over %d was cut (told that it is done: %v), and %d boots", n, old, acknowledged, got)
		}
		s.consistent(got)
		if st := s.status(); st.Transaction != nil { // open still, as it was before the commit
			s.must("txctl", "discard", fmt.Sprint(st.Transaction.Number))
		}
	}
}

// changed is an open transaction that has another initial ramdisk, so that its commit has something to stage.
func (s *system) changed() uint64 {
	s.t.Helper()
	s.must("txctl", "begin", "-m", "cut")
	n := s.status().Transaction.Number
	s.must("txctl", "exec", fmt.Sprint(n), "--", "sh", "-c", "head -c 1000000 /dev/zero >>/boot/initrd.img-$(uname -r)")
	return n
}

func TestABootPartitionWithoutRoom(t *testing.T) {
	s := start(t, prepared(apart))
	s.must("sh", "-c", "fallocate -l $(df --output=avail -B1 /boot | tail -n1 | awk '{print $1 - 4000000}') /boot/ballast")
	before := s.must("sh", "-c", "ls -R /boot /.snapshots | sha256sum; btrfs subvolume get-default /")
	if r := s.run("txctl", "pkg", "add", machine.Hello); r.Exit != 8 || !strings.Contains(r.Stderr, "MiB") {
		t.Errorf("exit %d: %s", r.Exit, r.Stderr)
	}
	if after := s.must("sh", "-c", "ls -R /boot /.snapshots | sha256sum; btrfs subvolume get-default /"); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
}

// TestBeforeTheSetupNothingBegins: the root is pinned on the kernel command line, and GRUB does not load our menu.
func TestBeforeTheSetupNothingBegins(t *testing.T) {
	s := start(t, plain)
	r := s.run("txctl", "begin")
	if r.Exit != 10 || !strings.Contains(r.Stderr, "txctl setup") {
		t.Errorf("begin: exit %d, %s", r.Exit, r.Stderr)
	}
	var doc bus.Doctor
	if err := json.Unmarshal([]byte(s.must("txctl", "doctor", "--json")), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(doc.RootFlags, "subvol=@rootfs") || doc.Hooked || len(doc.Problems) == 0 {
		t.Errorf("doctor: %+v", doc)
	}
	t.Logf("doctor says\n%s", s.must("txctl", "doctor"))
}
