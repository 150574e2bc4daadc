// Packages through the whole of txupd, with the real package managers.

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

func TestAptPackages(t *testing.T) {
	old := []testbed.Deb{
		{Name: "library", Version: "1.0-1"},
		{Name: "tool", Version: "1.0-1", Depends: "library", Files: map[string]string{"/usr/share/tool/data": "one"},
			Scripts: map[string]string{"postinst": "#!/bin/sh\nupdate-grub\ninvoke-rc.d tool start\ntouch /usr/share/tool/configured\n"}},
	}
	s := newSystem(t, options{prepare: func(root string) error { return testbed.UseDebRepo(t.Context(), root, old...) }})
	s.untouched("a dry run", func() {
		if r := s.must("pkg", "add", "--dry-run", "tool"); !strings.Contains(r.stdout+r.stderr, "tool") {
			t.Errorf("a dry run says nothing of the package: %q %q", r.stdout, r.stderr)
		}
	})
	s.must("pkg", "add", "-m", "needed", "tool")
	n := s.pending()
	s.samePackages(n, []record.PackageChange{
		{Name: "library", Arch: "all", Change: "added", New: "1.0-1", Reason: "dependency"},
		{Name: "tool", Arch: "all", Change: "added", New: "1.0-1", Reason: "requested"},
	})
	if !exists(s.inSnapshot(n, "usr/share/tool/configured")) {
		t.Error("the package's script did not run to its end")
	}
	if owner := ownerOf(s.show(n), "/usr/share/tool/data"); owner != "tool" {
		t.Errorf("the package's file belongs to %q", owner)
	}
	if owner := ownerOf(s.show(n), "/usr/share/tool/configured"); owner != "" {
		t.Errorf("what a script made belongs to %q, want nobody", owner)
	}
	s.untouched("a package that is there already", func() { s.expect(77, "", "pkg", "add", "--unchanged-exit", "tool") })
	list := document[bus.Packages](s, "pkg", "list")
	if !slices.Contains(list.Packages, bus.Package{Name: "tool", Arch: "all", Version: "1.0-1"}) || list.Manager != "apt" {
		t.Errorf("pkg list lacks the package, or %q is its manager", list.Manager)
	}
	booted := document[bus.Packages](s, "pkg", "list", "--from", "booted")
	if slices.ContainsFunc(booted.Packages, func(p bus.Package) bool { return p.Name == "tool" }) {
		t.Error("pkg list --from booted has a package that only the pending one has")
	}

	s.completes("pkg add to", "tool")

	// The sources of the pending snapshot are what an update reads.
	if err := testbed.UseDebRepo(t.Context(), s.inSnapshot(n, ""), testbed.Deb{Name: "library", Version: "1.0-2"}); err != nil {
		t.Fatal(err)
	}
	s.must("update")
	s.samePackages(s.pending(), []record.PackageChange{
		{Name: "library", Arch: "all", Change: "upgraded", Old: "1.0-1", New: "1.0-2", Reason: "dependency"},
	})
	s.must("pkg", "remove", "tool")
	s.samePackages(s.pending(), []record.PackageChange{{Name: "tool", Arch: "all", Change: "removed", Old: "1.0-1", Reason: "requested"}})
	if owner := ownerOf(s.show(s.pending()), "/usr/share/tool/data"); owner != "tool" {
		t.Errorf("the removed file belonged to %q", owner)
	}
	log := document[bus.Log](s, "log", "--package", "library")
	if len(log.Records) != 2 {
		t.Errorf("log --package library has %d records, want 2", len(log.Records))
	}
}

func TestZypperPackages(t *testing.T) {
	tool := testbed.Rpm{Name: "tool", Version: "1.0", Release: "1", Files: map[string]string{"/usr/share/tool/data": "one"},
		Scripts: map[string]string{"post": "grub2-mkconfig\ntouch /usr/share/tool/configured\n"}}
	newer := tool
	newer.Version = "1.1"
	s := newSystem(t, options{zypper: true, prepare: func(root string) error { return testbed.UseRpmRepo(t.Context(), root, tool) }})
	s.untouched("a package that is not there", func() { s.expect(3, "no-such-package", "pkg", "add", "no-such-package") })
	s.must("pkg", "add", "tool")
	n := s.pending()
	s.samePackages(n, []record.PackageChange{{Name: "tool", Arch: "noarch", Change: "added", New: "1.0-1", Reason: "requested"}})
	if owner := ownerOf(s.show(n), "/usr/share/tool/data"); owner != "tool" {
		t.Errorf("the package's file belongs to %q", owner)
	}
	// The second run makes the list of what was installed automatically, a change of its own.
	s.must("pkg", "add", "tool")
	n = s.pending()
	s.untouched("a package that is there already", func() { s.expect(77, "", "pkg", "add", "--unchanged-exit", "tool") })
	s.completes("pkg add to", "tool")
	if err := testbed.UseRpmRepo(t.Context(), s.inSnapshot(n, ""), newer); err != nil {
		t.Fatal(err)
	}
	s.must("update")
	s.samePackages(s.pending(), []record.PackageChange{{Name: "tool", Arch: "noarch", Change: "upgraded", Old: "1.0-1", New: "1.1-1", Reason: "requested"}})
	s.must("pkg", "remove", "tool")
	s.samePackages(s.pending(), []record.PackageChange{{Name: "tool", Arch: "noarch", Change: "removed", Old: "1.1-1", Reason: "requested"}})
}

func (s *system) samePackages(n uint64, want []record.PackageChange) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.show(n).PackageChanges); diff != "" {
		s.t.Errorf("package changes of %d (-want +got):\n%s", n, diff)
	}
}

func ownerOf(rec record.Record, path string) string {
	for _, f := range rec.FileChanges {
		if f.Path == path {
			return f.Owner
		}
	}
	return "(not changed)"
}

// TestBootLoaderIsLeftAlone: scripts that would write boot files find shims.
func TestBootLoaderIsLeftAlone(t *testing.T) {
	s := newSystem(t, options{})
	r := s.must("run", "--keep-unchanged", "--", "sh", "-c", "grub-install /dev/vda && update-grub && bootctl install && ls /dev; systemd-detect-virt || echo $container")
	for _, disk := range []string{"vda", "loop0", "sda", "nvme0n1"} {
		if slices.Contains(strings.Fields(r.stdout), disk) {
			t.Errorf("the disk %s is in the sandbox: %s", disk, r.stdout)
		}
	}
	if !strings.Contains(r.stdout, "txupd") {
		t.Errorf("the sandbox does not say that it is a container: %s", r.stdout)
	}
}

// TestWritesToSharedTreesAreCaptured: the running system sees nothing of them, and the record names them.
func TestWritesToSharedTreesAreCaptured(t *testing.T) {
	s := newSystem(t, options{})
	s.untouched("a command that writes logs alone", func() {
		s.expect(77, "", "run", "--unchanged-exit", "--", "sh", "-c", "echo leak > /var/log/leak")
	})
	s.untouched("a discarded transaction", func() {
		s.must("begin")
		s.must("exec", "--", "sh", "-c", "echo leak >/var/log/leak; echo leak >/srv/leak")
		s.must("discard")
	})
	s.must("run", "--", "sh", "-c", "echo leak > /var/log/leak; echo leak > /srv/leak; touch /usr/done")
	for _, path := range []string{"var/log/leak", "srv/leak"} {
		if _, err := os.Stat(filepath.Join(s.machine.Root, path)); err == nil {
			t.Errorf("/%s was written on the running system", path)
		}
	}
	rec := s.show(s.pending())
	var got []string
	for _, tree := range rec.Shared {
		for _, p := range tree.Captured {
			got = append(got, p.Path+" "+p.Decision)
		}
	}
	if want := []string{"/srv/leak created", "/var/log/leak created"}; !slices.Equal(got, want) || len(rec.FileChanges) != 1 {
		t.Errorf("the record has %q and %v, want %q", got, rec.FileChanges, want)
	}
	s.consistent()
}

// completes reports an error unless a shell is offered a word for a line that is being typed.
func (s *system) completes(line, word string) {
	s.t.Helper()
	r := s.txctl(append([]string{"__complete"}, strings.Split(line, " ")...)...)
	if offered := strings.Split(r.stdout, "\n"); r.exit != 0 || !slices.Contains(offered, word) {
		s.t.Errorf("for %q a shell is offered %q (exit %d, %s), not %q", line, offered, r.exit, r.stderr, word)
	}
}
