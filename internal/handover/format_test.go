package handover

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnknownNotesOfOverlayfsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		attribute, value string
		dir              bool
		want             string
	}{
		"redirect":            {"redirect", "/elsewhere", true, `/d/e has the attribute trusted.overlay.redirect="/elsewhere"`},
		"metacopy":            {"metacopy", "", false, `/d/f has the attribute trusted.overlay.metacopy=""`},
		"index of names":      {"nlink", "U+1", false, "trusted.overlay.nlink"},
		"index of handles":    {"upper", "x", true, "trusted.overlay.upper"},
		"other opacity":       {"opaque", "z", true, `trusted.overlay.opaque="z"`},
		"opaque file":         {"opaque", "y", false, `/d/f has the attribute trusted.overlay.opaque="y"`},
		"what is yet to come": {"tomorrow", "1", false, "trusted.overlay.tomorrow"},
		"other protection":    {"protattr", "iq", false, `trusted.overlay.protattr="iq"`},
		"whiteout elsewhere":  {"whiteout", "", false, "trusted.overlay.whiteout"}, // its directory does not say that there are some
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, func(live string) { write(t, live+"/a", "before") })
			s.sandbox(t, func(view string) {
				write(t, view+"/a", "ours")
				write(t, view+"/d/f", "")
				must(t, os.Mkdir(view+"/d/e", 0o755))
			})
			file := s.captures[0].Upper + "/d/f"
			if test.dir {
				file = s.captures[0].Upper + "/d/e"
			}
			must(t, unix.Lsetxattr(file, "trusted.overlay."+test.attribute, []byte(test.value), 0))
			before := dump(t, s.live)
			_, err := Give(nowhere, Request{Capture: s.captures[0], Live: s.live})
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Give says %v", err)
			}
			if _, err := Captured(nowhere, s.captures[0]); !errors.Is(err, ErrFormat) {
				t.Errorf("Captured says %v", err)
			}
			equal(t, "the live tree", dump(t, s.live), before)
		})
	}
}

// Overlayfs reads these whiteouts and does not write them itself.
func TestWhiteoutsByAttribute(t *testing.T) {
	s := newScene(t, func(live string) {
		write(t, live+"/d/gone", "before")
		write(t, live+"/d/empty", "before")
		write(t, live+"/d/stays", "before")
	})
	s.sandbox(t, func(view string) { write(t, view+"/d/new", "ours") })
	upper := s.captures[0].Upper
	for _, name := range []string{"gone", "empty", "other"} {
		write(t, filepath.Join(upper, "d", name), "")
	}
	must(t, unix.Setxattr(upper+"/d", "trusted.overlay.opaque", []byte("x"), 0))
	must(t, unix.Setxattr(upper+"/d/gone", "trusted.overlay.whiteout", nil, 0))
	rows := s.give(t, 0)
	equal(t, "rows", tell(rows), "/var/d/empty replaced\n/var/d/gone removed\n/var/d/new created\n/var/d/other created\n")
	files, _ := contents(t, s.live)
	equal(t, "files", files, "\"d/empty\" \"\"\n\"d/new\" \"ours\"\n\"d/other\" \"\"\n\"d/stays\" \"before\"\n")
}

// A container engine keeps layers of its own below /var, and may be used in a sandbox.
func TestAttributesOfOtherOverlays(t *testing.T) {
	s := newScene(t, func(live string) {
		write(t, live+"/engine/layer/f", "x")
		must(t, unix.Setxattr(live+"/engine/layer", "trusted.overlay.opaque", []byte("y"), 0))
		must(t, unix.Setxattr(live+"/engine/layer", "trusted.overlay.origin", []byte("o"), 0))
		must(t, unix.Mknod(live+"/engine/layer/whiteout", unix.S_IFCHR, 0))
	})
	s.sandbox(t, func(view string) {
		must(t, os.Chmod(view+"/engine/layer", 0o700))
		write(t, view+"/engine/second/f", "ours")
		must(t, unix.Setxattr(view+"/engine/second", "trusted.overlay.opaque", []byte("y"), 0))
		must(t, unix.Setxattr(view+"/engine/second/f", "trusted.overlay.metacopy", []byte("m"), 0))
	})
	upper, err := extendedOf(s.captures[0].Upper + "/engine/second")
	must(t, err)
	if upper["trusted.overlay.overlay.opaque"] != "y" {
		t.Fatalf("the kernel wrote %q", upper)
	}
	for range 2 {
		if rows := s.give(t, 0); tell(rows) != "/var/engine/layer replaced\n/var/engine/second created\n/var/engine/second/f created\n" {
			t.Errorf("rows:\n%s", tell(rows))
		}
	}
	for file, want := range map[string]map[string]string{
		"/engine/layer":    {"trusted.overlay.opaque": "y", "trusted.overlay.origin": "o"},
		"/engine/second":   {"trusted.overlay.opaque": "y"},
		"/engine/second/f": {"trusted.overlay.metacopy": "m"},
	} {
		got, err := extendedOf(s.live + file)
		must(t, err)
		if len(got) != len(want) {
			t.Errorf("%s has %q, want %q", file, got, want)
		}
		for attribute, value := range want {
			if got[attribute] != value {
				t.Errorf("%s has %q, want %q", file, got, want)
			}
		}
	}
	if !exists(s.live + "/engine/layer/whiteout") {
		t.Error("a whiteout of the engine is gone")
	}
}
