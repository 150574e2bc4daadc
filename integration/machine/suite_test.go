//go:build machine

// What the tests of boots have in common: a machine that is set up, and what
// has to hold after each of its boots.

package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed/machine"
	"github.com/txupd/txupd/pkg/journal/record"
)

// apart is a machine whose /boot is a partition with room for some kernels.
var apart = machine.Variant{BootMiB: 256}

// prepared is a machine after `txctl setup`.
func prepared(v machine.Variant) func(*testing.T) machine.Image {
	return func(t *testing.T) machine.Image {
		t.Helper()
		from := installed(t, v)
		img, err := built.get("prepared "+v.String(), func() (machine.Image, error) {
			setup := []string{"txctl", "setup"}
			return machine.Derive(context.Background(), "prepared", from, setup, os.Stderr, func(ctx context.Context, vm *machine.VM) error {
				r, err := vm.Run(ctx, setup...)
				if err == nil && r.Exit != 0 {
					err = fmt.Errorf("txctl setup: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
				}
				fmt.Fprint(os.Stderr, r.Stdout)
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
}

func (s *system) status() bus.Status { s.t.Helper(); return document[bus.Status](s, "status") }

func (s *system) show(n uint64) record.Record {
	s.t.Helper()
	return document[record.Record](s, "show", strconv.FormatUint(n, 10))
}

// pending is what boots next and does not run.
func (s *system) pending() uint64 {
	s.t.Helper()
	st := s.status()
	if st.Pending == nil {
		s.t.Fatalf("nothing is pending: %+v", st)
	}
	return st.Pending.Number
}

// configure writes a configuration into the running system; snapshots of it have it too.
func (s *system) configure(text string) {
	s.t.Helper()
	s.check(s.vm.WriteFile(s.context(), "/etc/txupd/txupd.toml", []byte(text), 0o644))
	s.must("systemctl", "restart", "txupd")
}

// judged waits for the verdict on this boot.
func (s *system) judged() {
	s.t.Helper()
	if _, err := s.vm.WaitStarted(s.context()); err != nil {
		s.t.Fatal(err)
	}
	s.run("systemctl", "start", "txupd-boot-verdict.service") // joins the job that is queued
}

// consistent: snapshot n runs, with its own kernel and modules, and is what
// /proc/cmdline, the mounts, the menu and the journal say.
func (s *system) consistent(n uint64) {
	s.t.Helper()
	want := "/@rootfs"
	if n != 0 {
		want = fmt.Sprintf("/@snapshots/%d/snapshot", n)
	}
	if got := strings.TrimSpace(s.must("findmnt", "--noheadings", "--output", "FSROOT", "/")); got != want {
		s.t.Errorf("the root is %s, not %s", got, want)
	}
	line := s.must("cat", "/proc/cmdline")
	if !strings.Contains(line, "subvol="+strings.TrimPrefix(want, "/")) {
		s.t.Errorf("the kernel was told %s", line)
	}
	version := strings.TrimSpace(s.must("uname", "-r"))
	s.must("test", "-e", "/lib/modules/"+version+"/modules.dep")
	if !strings.Contains(line, "/txupd/") && !strings.Contains(line, version) {
		s.t.Errorf("kernel %s was loaded from %s", version, line)
	}
	if st := s.status(); st.Booted == nil || st.Booted.Number != n || st.Booted.Kernel != version {
		s.t.Errorf("the status is %+v, kernel %s", st.Booted, version)
	}
}

// left: snapshot n is bad and not what boots, and everybody is told why.
func (s *system) left(n uint64, why string) {
	s.t.Helper()
	st := s.status()
	if st.Pending != nil || !strings.Contains(strings.Join(st.Warnings, "\n"), why) {
		s.t.Errorf("the status is %+v", st)
	}
	rec := s.show(n)
	if len(rec.Boots) == 0 {
		s.t.Fatalf("no boot of %d is recorded", n)
	}
	last := rec.Boots[len(rec.Boots)-1]
	if rec.Verdict != record.Bad || !last.Left || !strings.Contains(last.Why, why) {
		s.t.Errorf("the verdict on %d is %s, the last boot %+v", n, rec.Verdict, last)
	}
	if words := fmt.Sprintf("snapshot %d is bad", n); !strings.Contains(s.vm.Console(), words) { // maybe that of an earlier boot
		s.console(words)
	}
	if got := s.must("sh", "-c", "btrfs subvolume get-default / | grep -c 'snapshot$' || true"); strings.TrimSpace(got) != "0" {
		s.t.Errorf("the default subvolume is not the adopted root: %s", got)
	}
}

// wait expects the next boot to be of snapshot n.
func (s *system) wait(n uint64) {
	s.t.Helper()
	b := s.booted()
	want := "@rootfs"
	if n != 0 {
		want = fmt.Sprintf("@snapshots/%d/snapshot", n)
	}
	if !strings.Contains(b.Root, want) {
		s.t.Fatalf("%s boots, not %s", b.Root, want)
	}
}

// rebootInto chooses an entry of the menu, as a person would.
func (s *system) rebootInto(title *regexp.Regexp) {
	s.t.Helper()
	s.check(s.vm.BeginReboot())
	s.check(s.vm.ChooseEntry(s.context(), title))
	s.booted()
	s.judged()
}

func (s *system) powerOn() {
	s.t.Helper()
	s.check(s.vm.PowerOn(s.context()))
	s.booted()
	s.judged()
}

func (s *system) bootID() string {
	s.t.Helper()
	return strings.TrimSpace(s.must("cat", "/proc/sys/kernel/random/boot_id"))
}

// fromEnvironment reads a number that makes a run longer or repeats it.
func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(errors.Join(fmt.Errorf("%s", name), err))
	}
	return n
}
