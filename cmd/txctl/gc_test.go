package main

import (
	"strings"
	"testing"
)

func TestGC(t *testing.T) {
	for line, want := range map[string]struct{ call, words string }{
		"gc":                     {"gc dry=false", "snapshot 2 is deleted; its record stays\n12 GiB free"},
		"gc --dry-run":           {"gc dry=true", "snapshot 2 would be deleted; nothing was changed\n"},
		"gc --explain":           {"gc dry=true", "goes   there are more than 2\n"},
		"gc --explain --dry-run": {"gc dry=true", "stays  it is booted\n"},
	} {
		f := newFake(t)
		got := f.txctl(nil, strings.Fields(line)...)
		if got.code != 0 || !strings.Contains(got.stdout, want.words) || len(f.calls) != 1 || f.calls[0] != want.call {
			t.Errorf("%s: exit %d, called %q:\n%s%s", line, got.code, f.calls, got.stdout, got.stderr)
		}
	}
}

// TestNightlyGC: it does nothing where nobody wants it.
func TestNightlyGC(t *testing.T) {
	for automatic, calls := range map[bool]int{true: 1, false: 0} {
		f := newFake(t)
		f.automatic = automatic
		got := f.txctl(nil, "gc", "--automatic")
		if got.code != 0 || len(f.calls) != calls || strings.Contains(got.stderr, "nothing is deleted: gc.automatic is false (/etc/txupd/txupd.toml:2)") == automatic {
			t.Errorf("with gc.automatic = %v: exit %d, called %q:\n%s%s", automatic, got.code, f.calls, got.stdout, got.stderr)
		}
	}
}
