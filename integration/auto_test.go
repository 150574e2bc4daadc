// Unattended updates, with a real package manager.

package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
)

// TestUnattendedUpdates: night by night, by each policy; nothing to do leaves
// nothing, what is pending is built upon, failures are said until one goes well.
func TestUnattendedUpdates(t *testing.T) {
	s := newSystem(t, options{prepare: func(root string) error {
		return testbed.UseDebRepo(t.Context(), root, testbed.Deb{Name: "library", Version: "1.0-1"}, testbed.Deb{Name: "tool", Version: "1.0-1"})
	}})
	auto := func() bus.Auto { t.Helper(); return document[bus.Auto](s, "auto") }
	warned := func() string { t.Helper(); return strings.Join(s.status().Warnings, "\n") }

	s.must("pkg", "add", "-m", "by hand", "library")
	byHand := s.pending()
	s.untouched("a night without news", func() {
		if doc := auto(); doc.Result != bus.AutoCurrent || doc.Snapshot != nil || len(doc.Packages) != 0 {
			t.Errorf("there is nothing to update, and it says %+v", doc)
		}
	})
	if err := testbed.UseDebRepo(t.Context(), s.inSnapshot(byHand, ""), testbed.Deb{Name: "library", Version: "1.0-2"}); err != nil {
		t.Fatal(err)
	}
	s.configure("[auto]\npolicy = \"check\"\n")
	s.untouched("a night on which it only looks", func() {
		doc := auto()
		if doc.Result != bus.AutoAvailable || len(doc.Packages) != 1 || doc.Packages[0].New != "1.0-2" || s.pending() != byHand {
			t.Errorf("one package can be updated, and it says %+v", doc)
		}
	})
	// Somebody is at work: nothing is done, and nothing said of it later.
	s.must("begin")
	s.expect(6, "in progress", "auto")
	s.must("discard")
	if said := warned(); strings.Contains(said, "unattended") {
		t.Errorf("the status warns: %s", said)
	}

	s.configure("[auto]\npolicy = \"stage\"\n")
	doc := auto()
	if doc.Result != bus.AutoStaged || doc.Snapshot == nil || *doc.Snapshot != s.pending() || doc.Reboot != nil {
		t.Fatalf("it says %+v", doc)
	}
	rec := s.show(*doc.Snapshot)
	if *rec.Parent != byHand || rec.Message != "unattended update" || strings.Join(rec.Tags, " ") != "auto" || rec.Kind != "update" {
		t.Errorf("the record is %+v", rec)
	}

	// The repository goes away: twice it fails, and says so until it is back.
	source := s.inSnapshot(s.pending(), "etc/apt/sources.list")
	right, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(source, []byte(strings.ReplaceAll(string(right), "file:", "file:/gone")), 0o644); err != nil {
		t.Fatal(err)
	}
	pending := s.pending()
	for range 2 {
		s.expect(3, "", "auto")
	}
	if said := warned(); !strings.Contains(said, "the last 2 unattended updates failed") || s.pending() != pending {
		t.Errorf("after two failures the status warns: %s", said)
	}
	if err := os.WriteFile(source, right, 0o644); err != nil {
		t.Fatal(err)
	}
	if doc := auto(); doc.Result != bus.AutoCurrent {
		t.Errorf("it says %+v", doc)
	}
	if said := warned(); strings.Contains(said, "unattended") {
		t.Errorf("the status still warns: %s", said)
	}
	s.consistent()
}
