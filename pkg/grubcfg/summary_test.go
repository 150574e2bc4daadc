// What a menu says of itself, and that nobody can change it unseen.

package grubcfg_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/grubcfg"
)

func TestAMenuSaysWhatItDecides(t *testing.T) {
	text, err := onceMenu(3).Render()
	if err != nil {
		t.Fatal(err)
	}
	got, err := grubcfg.ParseMenu(text)
	if err != nil {
		t.Fatal(err)
	}
	want := grubcfg.Summary{Default: 7, Fallback: number(5), Tries: 3, Once: true, Entries: []uint64{7, 5, 0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRenderedMenusAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := randomMenu(t)
		text, err := m.Render()
		if err != nil {
			t.Skip(err)
		}
		got, err := grubcfg.ParseMenu(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(m.Summary(), got); diff != "" {
			t.Fatal(diff)
		}
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		changed := bytes.Clone(text)
		changed[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "change"))
		for what, damaged := range map[string][]byte{
			"changed": changed, "cut": text[:at], "longer": append(bytes.Clone(text), "reboot\n"...),
			"shorter": append(bytes.Clone(text[:at]), text[at+1:]...),
		} {
			if _, err := grubcfg.ParseMenu(damaged); err == nil {
				t.Fatalf("%s at byte %d, and nobody noticed:\n%s", what, at, damaged)
			}
		}
	})
}

func TestWhatIsNoMenuIsToldFromADamagedOne(t *testing.T) {
	text, err := trialMenu(3).Render()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":          {"", grubcfg.ErrNotMenu},
		"a grub.cfg":       {"set default=0\n", grubcfg.ErrNotMenu},
		"half a menu":      {string(text[:len(text)/2]), grubcfg.ErrMenuChanged},
		"another default":  {strings.Replace(string(text), `"default":7`, `"default":5`, 1), grubcfg.ErrMenuChanged},
		"a changed script": {strings.Replace(string(text), "set default='txupd-7'", "set default='txupd-5'", 1), grubcfg.ErrMenuChanged},
		"no hash":          {strings.Replace(string(text), " sha256:", " ", 1), grubcfg.ErrMenuChanged},
	} {
		if _, err := grubcfg.ParseMenu([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseMenu(f *testing.F) {
	for _, m := range []grubcfg.Menu{trialMenu(3), onceMenu(1), stagedMenu()} {
		text, err := m.Render()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("# Written by txupd. It is replaced as a whole; changes are lost.\n# txupd-menu: {} sha256:\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := grubcfg.ParseMenu(raw)
		if err != nil && !errors.Is(err, grubcfg.ErrNotMenu) && !errors.Is(err, grubcfg.ErrMenuChanged) {
			t.Errorf("an error of no kind: %v", err)
		}
		if err != nil && len(got.Entries) > 0 {
			t.Error("an error, and an answer")
		}
	})
}
