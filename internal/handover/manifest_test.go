package handover

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// ext4Scene is a live tree of which no fork can be made; the captures are on btrfs.
func ext4Scene(t *testing.T, mib int, fill func(live string)) *scene {
	t.Helper()
	s := &scene{dir: testbed.Loop(t, 256), live: filepath.Join(t.TempDir(), "ext4")}
	testbed.Ext4(t, s.live, mib)
	must(t, os.Remove(s.live+"/lost+found"))
	fill(s.live)
	return s
}

// begin is a time for Witness: what was changed in the live tree so far is
// older, what is changed from now on is not.
func (s *scene) begin(t *testing.T) time.Time {
	t.Helper()
	newest := time.Time{}
	changedAt := func(file string) time.Time {
		var st unix.Stat_t
		must(t, unix.Lstat(file, &st))
		return time.Unix(st.Ctim.Sec, st.Ctim.Nsec)
	}
	must(t, filepath.Walk(s.live, func(file string, _ os.FileInfo, err error) error {
		if err == nil && changedAt(file).After(newest) {
			newest = changedAt(file)
		}
		return err
	}))
	// The clock of change times ticks: until it does, later is the same.
	probe := filepath.Join(s.live, "probe")
	write(t, probe, "")
	for !changedAt(probe).After(newest) {
		must(t, os.Chmod(probe, 0o600))
	}
	now := changedAt(probe)
	must(t, os.Remove(probe)) // of the top directory only names have changed
	return now.Add(clockGrain)
}

// witness notes what lay below the last capture.
func (s *scene) witness(t *testing.T, since time.Time) {
	t.Helper()
	c := &s.captures[len(s.captures)-1]
	file := filepath.Join(s.dir, fmt.Sprintf("before-%d", len(s.captures)))
	must(t, Witness(t.Context(), *c, since, file))
	c.Manifest, c.Before = file, nil
}

func fillPlain(t fataler) func(string) {
	return func(live string) {
		for _, name := range []string{"/replaced", "/both", "/removed", "/removed-both", "/dir/f", "/dir-changed/f", "/opaque/f", "/opaque/g", "/moved", "/alike", "/same"} {
			write(t, live+name, "before")
		}
		cluster(t, live+"/pg-clean")
		cluster(t, live+"/pg-changed")
	}
}

func changePlain(t fataler) func(string) {
	return func(view string) {
		for _, name := range []string{"/replaced", "/both", "/new", "/moved", "/alike"} {
			write(t, view+name, "ours")
		}
		for _, name := range []string{"/removed", "/removed-both", "/dir", "/dir-changed", "/opaque"} {
			must(t, os.RemoveAll(view+name))
		}
		must(t, os.Chmod(view+"/same", 0o600))
		must(t, os.Chmod(view+"/same", 0o644))
		write(t, view+"/opaque/f", "ours")
		upgrade(t, view+"/pg-clean")
		upgrade(t, view+"/pg-changed")
	}
}

func TestTreeWithoutAFork(t *testing.T) {
	s := ext4Scene(t, 64, fillPlain(t))
	begun := s.begin(t)
	s.overlay(t, []string{s.live}, changePlain(t))
	// During the transaction:
	write(t, s.live+"/moved", "theirs")
	write(t, s.live+"/alike", "ours")
	must(t, os.Remove(s.live+"/removed-both"))
	s.witness(t, begun)
	// After it:
	write(t, s.live+"/both", "theirs")
	write(t, s.live+"/dir-changed/f", "theirs")
	write(t, s.live+"/pg-changed/base/1/112", "rows")
	for range 2 {
		equal(t, "rows", tell(s.give(t, 0)), `/var/both kept /var/both.txupd-10 (the live side changed it)
/var/dir removed
/var/dir-changed kept (the live side changed it)
/var/moved kept /var/moved.txupd-10 (the live side changed it)
/var/new created
/var/opaque/f replaced
/var/opaque/g removed
/var/pg-changed kept /var/pg-changed.txupd-10 (PostgreSQL database: the live side changed it)
/var/pg-clean/PG_VERSION replaced
/var/pg-clean/base/1/200 created
/var/pg-clean/global/pg_control replaced
/var/pg-clean/pg_wal/0001 removed
/var/removed removed
/var/removed-both removed
/var/replaced replaced
`)
	}
	for name, want := range map[string]string{
		"/both": "theirs", "/both.txupd-10": "ours", "/moved": "theirs", "/moved.txupd-10": "ours", "/replaced": "ours", "/opaque/f": "ours", "/alike": "ours",
	} {
		if got := read(t, s.live+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestTreeWithoutAForkStacked(t *testing.T) {
	s := ext4Scene(t, 64, func(live string) {
		write(t, live+"/f", "before")
		write(t, live+"/g", "before")
	})
	begun := s.begin(t)
	s.overlay(t, []string{s.live}, func(view string) {
		write(t, view+"/f", "one")
		write(t, view+"/new", "one")
		must(t, os.Remove(view+"/g"))
	})
	first := s.captures[0].Upper
	s.witness(t, begun)
	begun = s.begin(t)
	saw := s.overlay(t, []string{first, s.live}, func(view string) {
		write(t, view+"/f", "two")
		must(t, os.Remove(view+"/new"))
		write(t, view+"/g", "two")
	})
	s.witness(t, begun)
	rows := tell(append(s.give(t, 0), s.give(t, 1)...))
	if strings.Contains(rows, "kept") {
		t.Errorf("rows:\n%s", rows)
	}
	equal(t, "the live tree", dump(t, s.live), saw)
}

func TestNothingIsReplacedWhereTheClockIsNotTrusted(t *testing.T) {
	s := ext4Scene(t, 64, fillPlain(t))
	s.overlay(t, []string{s.live}, changePlain(t))
	s.witness(t, time.Time{})
	before := entries(t, s.live)
	rows := s.give(t, 0)
	now := entries(t, s.live)
	for path, is := range before {
		if now[path] != is {
			t.Errorf("%s was %s and is %s", path, is, now[path])
		}
	}
	if read(t, s.live+"/new") != "ours" || read(t, s.live+"/replaced.txupd-10") != "ours" {
		t.Errorf("ours is not there; rows:\n%s", tell(rows))
	}
}

func TestManifestThatWasCutOff(t *testing.T) {
	s := ext4Scene(t, 64, func(live string) { write(t, live+"/f", "before") })
	begun := s.begin(t)
	s.overlay(t, []string{s.live}, func(view string) { write(t, view+"/f", "ours") })
	s.witness(t, begun)
	file := s.captures[0].Manifest
	whole := read(t, file)
	for name, text := range map[string]string{
		"cut off": whole[:len(whole)-len(manifestEnd)], "empty": "", "in the middle of a line": whole[:len(whole)/3], "something else": "nonsense\n",
	} {
		write(t, file, text)
		if _, err := Give(t.Context(), Request{Capture: s.captures[0], Live: s.live}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if read(t, s.live+"/f") != "before" {
		t.Error("the live tree changed")
	}
}

func TestFullFileSystem(t *testing.T) {
	s := ext4Scene(t, 16, func(live string) {
		write(t, live+"/f", "before")
		write(t, live+"/ballast", strings.Repeat("x", 6<<20))
	})
	begun := s.begin(t)
	saw := s.overlay(t, []string{s.live}, func(view string) {
		write(t, view+"/f", "ours")
		write(t, view+"/large", strings.Repeat("y", 5<<20))
		write(t, view+"/z", "ours")
	})
	s.witness(t, begun)
	write(t, s.live+"/more", strings.Repeat("x", 3<<20))
	_, err := Give(t.Context(), Request{Capture: s.captures[0], Live: s.live})
	if err == nil || !strings.Contains(err.Error(), "/var/large: cannot write") || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("the error is %v", err)
	}
	must(t, os.Remove(s.live+"/more"))
	s.give(t, 0)
	equal(t, "the live tree", dump(t, s.live), saw)
}
