package pkgmgr

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckPrefix(t *testing.T) {
	for prefix, want := range map[string]string{
		"": "", "h": "", "lib-": "", "g++": "", "perl(": "", "x.deb": "",
		"-y": "option", "lib*": "wildcard", "a b": "space", "/etc": "file", "~n": "starts with", "a\x1b": "control",
		strings.Repeat("a", 255): "limit",
	} {
		err := CheckPrefix(prefix)
		var invalid *InvalidNameError
		if (want == "") != (err == nil) || err != nil && (!errors.As(err, &invalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("CheckPrefix(%q) = %v, want %q", prefix, err, want)
		}
	}
}

func TestZypperNamesAreThoseOfItsLists(t *testing.T) {
	root := Root{Dir: t.TempDir()}
	names := func(prefix string) []string {
		t.Helper()
		got, err := (zypper{}).Available(t.Context(), root, prefix)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := names("h"); len(got) != 0 {
		t.Errorf("without lists: %q", got)
	}
	for repository, list := range map[string]string{
		"oss":     "htop\t3.4-1\tx86_64\nhtop\t3.3-1\tx86_64\nvim\t9-1\tx86_64\nh*\t1\tnoarch\n\nhalf",
		"update":  "hello\t1-1\tnoarch\n",
		"@System": "hidden\t1-1\tnoarch\n",
		"empty":   "",
	} {
		dir := filepath.Join(root.Dir, solvIndexes, repository)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "solv.idx"), []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root.Dir, solvIndexes, "being-made"), 0o755); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"half", "hello", "htop"}, names("h")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := names("nothing"); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// available checks what a real manager offers of the packages that helloDebs and helloRPMs are.
func (s system) available() {
	s.t.Helper()
	for prefix, want := range map[string][]string{"hello": {"hello"}, "other+": {"other++"}, "nothing-is-called-so": nil} {
		got, err := s.manager.Available(s.t.Context(), s.root(), prefix)
		if diff := cmp.Diff(append([]string{}, want...), append([]string{}, got...)); err != nil || diff != "" {
			s.t.Errorf("what begins with %q: %v\n(-want +got):\n%s", prefix, err, diff)
		}
	}
}

func TestAptOffersNames(t *testing.T) {
	s := newDebian(t, helloDebs()...)
	s.available()
	if all, err := s.manager.Available(t.Context(), s.root(), ""); err != nil || len(all) < 3 {
		t.Errorf("all: %q, %v", all, err)
	}
}

func TestZypperOffersNames(t *testing.T) {
	s := newSUSE(t, helloRPMs()...)
	for _, c := range s.manager.Add([]string{"hello"}, Options{Refresh: true, DryRun: true}) {
		s.meters(c)
	}
	s.available()
}
