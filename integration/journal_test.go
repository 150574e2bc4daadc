// A journal that is lost, and what is known all the same.

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/txupd/txupd/pkg/journal/record"
)

func TestLostJournalIsRebuilt(t *testing.T) {
	for what, lose := range map[string]func(path string) error{
		"damaged": func(path string) error { return os.Truncate(path, 10_000) },
		"deleted": os.Remove,
	} {
		t.Run(what, func(t *testing.T) {
			s := newSystem(t, options{})
			s.must("run", "-m", "first", "--tag", "kept", "--", "touch", "/usr/first")
			s.must("run", "-m", "second", "--", "rm", "/usr/first")
			second := s.show(s.pending())
			if err := s.bus.StopDaemon(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(s.machine.Root, ".snapshots/.txupd/journal.db")
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
			again := s.show(s.pending())
			if again.Message != "second" || again.Phase != record.Committed || *again.Parent != *second.Parent || again.UUID != second.UUID {
				t.Errorf("rebuilt as %+v", again)
			}
			if !slices.Equal(again.FileChanges, second.FileChanges) || len(again.FileChanges) != 1 {
				t.Errorf("file changes were %v and are %v", second.FileChanges, again.FileChanges)
			}
			if !strings.Contains(strings.Join(again.Warnings, "\n"), "rebuilt") {
				t.Errorf("nothing is said of it: %q", again.Warnings)
			}
			if first := s.show(*again.Parent); !slices.Equal(first.Tags, []string{"kept"}) {
				t.Errorf("the first one: %+v", first)
			}
			aside, err := filepath.Glob(path + ".damaged-*")
			if err != nil || len(aside) != map[string]int{"damaged": 1}[what] {
				t.Errorf("set aside: %v, %v", aside, err)
			}
			s.must("rollback", itoa64(*again.Parent))
			s.must("run", "--", "touch", "/usr/third")
			if n := s.pending(); n <= second.Number {
				t.Errorf("number %d was used again", n)
			}
			s.consistent()
		})
	}
}
