package handover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
)

// The power fails for real: what was not written to the disk is lost.
func TestPowerCut(t *testing.T) {
	s := newScene(t, func(live string) {
		for i := range 5 {
			write(t, fmt.Sprintf("%s/d/f%d", live, i), "before")
		}
		write(t, live+"/gone/f", "before")
		write(t, live+"/type", "before")
	})
	saw := s.sandbox(t, func(view string) {
		for i := range 10 {
			write(t, fmt.Sprintf("%s/d/f%d", view, i), strings.Repeat("ours", 10_000))
		}
		must(t, os.Link(view+"/d/f1", view+"/linked"))
		must(t, os.RemoveAll(view+"/gone"))
		must(t, os.Remove(view+"/type"))
		write(t, view+"/type/f", "ours")
		must(t, os.Chmod(view+"/d", 0o750))
	})
	top := filepath.Dir(s.dir)
	rel := func(path string) string { return strings.TrimPrefix(path, top) }
	testbed.Run(t, "sync", "-f", top)

	never, steps := cutAfter(1 << 30)
	whole := filepath.Join(s.dir, "whole")
	fork(t, s.live, whole, false)
	rows, err := give(t.Context(), Request{Capture: s.captures[0], Live: whole}, never)
	must(t, err)
	want := tell(rows)

	const cuts = 12
	for i := range cuts {
		n := *steps * i / cuts
		live := filepath.Join(s.dir, fmt.Sprintf("cut-%d", n))
		fork(t, s.live, live, false)
		testbed.Run(t, "sync", "-f", top)
		calls := 0
		after := ""
		_, err := give(t.Context(), Request{Capture: s.captures[0], Live: live}, func() error {
			if calls == n {
				after = testbed.Cut(t, top)
				return errCut
			}
			calls++
			return nil
		})
		if !errors.Is(err, errCut) {
			t.Fatalf("at %d of %d: %v", n, *steps, err)
		}
		c := s.captures[0]
		c.Upper, c.Before = after+rel(c.Upper), []string{after + rel(c.Before[0])}
		// No name leads to something half done.
		for path, is := range entries(t, after+rel(live)) {
			if strings.Contains(path, "/.txupd-") {
				continue
			}
			if strings.HasPrefix(is, "100") && !strings.Contains(is, `"before"`) && !strings.Contains(is, `"ours"`) && !strings.Contains(is, "40000 bytes") {
				t.Errorf("after a cut at %d %s is %s", n, path, is)
			}
		}
		got, err := Give(t.Context(), Request{Capture: c, Live: after + rel(live)})
		must(t, err)
		equal(t, fmt.Sprintf("rows after a cut at %d", n), tell(got), want)
		equal(t, fmt.Sprintf("the tree after a cut at %d", n), dump(t, after+rel(live)), saw)
	}
}

// What Give returned from is on the disk.
func TestResultIsDurable(t *testing.T) {
	s := newScene(t, func(live string) { write(t, live+"/f", "before") })
	saw := s.sandbox(t, func(view string) {
		write(t, view+"/f", strings.Repeat("ours", 10_000))
		write(t, view+"/d/new", strings.Repeat("ours", 10_000))
	})
	s.give(t, 0)
	top := filepath.Dir(s.dir)
	after := testbed.Cut(t, top)
	equal(t, "the tree after a power cut", dump(t, after+strings.TrimPrefix(s.live, top)), saw)
}
