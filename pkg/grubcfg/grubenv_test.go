// The environment block agrees with grub-editenv byte for byte.

package grubcfg_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/grubcfg"
)

// editor runs grub-editenv on one file.
type editor struct{ tool, file string }

func newEditor(t *testing.T) editor {
	return editor{tool: tool(t, "grub-editenv"), file: filepath.Join(t.TempDir(), "grubenv")}
}

func (e editor) run(args ...string) ([]byte, error) {
	return exec.Command(e.tool, append([]string{e.file}, args...)...).Output()
}

func (e editor) bytes(t tester) []byte {
	t.Helper()
	raw, err := os.ReadFile(e.file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (e editor) create(t tester) {
	t.Helper()
	if _, err := e.run("create"); err != nil {
		t.Fatalf("grub-editenv create: %v", err)
	}
}

func list(env *grubcfg.Env) string {
	var s strings.Builder
	for _, v := range env.Variables() {
		s.WriteString(v.Name + "=" + v.Value + "\n")
	}
	return s.String()
}

func TestNewEnvIsWhatGrubEditenvCreates(t *testing.T) {
	e := newEditor(t)
	e.create(t)
	if diff := cmp.Diff(string(e.bytes(t)), string(grubcfg.NewEnv().Render())); diff != "" {
		t.Error(diff)
	}
}

func TestEnvAgreesWithGrubEditenv(t *testing.T) {
	e := newEditor(t)
	name := rapid.SampledFrom([]string{"a", "b", "ab", "saved_entry", "txupd_tries_7", "WARNING"})
	value := rapid.OneOf(
		rapid.StringMatching(`[0-9a-z =#\\"'$]{0,40}`),
		rapid.StringOfN(rapid.RuneFrom([]rune("\\\n#=x\té")), 0, 60, -1),
		rapid.StringN(0, 30, -1).Filter(func(s string) bool { return !strings.ContainsRune(s, 0) }),
		rapid.StringOfN(rapid.Just('v'), 150, 260, -1),
	)
	rapid.Check(t, func(t *rapid.T) {
		e.create(t)
		env := grubcfg.NewEnv()
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			n := name.Draw(t, "name")
			if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
				if _, err := e.run("unset", n); err != nil {
					t.Fatalf("grub-editenv unset: %v", err)
				}
				if err := env.Unset(n); err != nil {
					t.Fatal(err)
				}
			} else {
				v := value.Draw(t, "value")
				before := env.Render()
				old, _ := env.Get(n)
				padding := len(before) - len(bytes.TrimRight(before, "#"))
				if 2*(2*len(old)-len(v)) > padding {
					// grub-editenv 2.06 writes behind its buffer when a value shrinks in a block that is nearly full.
					continue
				}
				_, theirs := e.run("set", n+"="+v)
				ours := env.Set(n, v)
				if (theirs == nil) != (ours == nil) {
					t.Fatalf("set %s=%q: grub-editenv %v, we %v", n, v, theirs, ours)
				}
				if ours != nil && (!errors.Is(ours, grubcfg.ErrFull) || !bytes.Equal(before, env.Render())) {
					t.Fatalf("set %s=%q: %v, and the block is\n%q", n, v, ours, env.Render())
				}
			}
			if diff := cmp.Diff(string(e.bytes(t)), string(env.Render())); diff != "" {
				t.Fatal(diff)
			}
		}
		theirs, err := e.run("list")
		if err != nil {
			t.Fatalf("grub-editenv list: %v", err)
		}
		if diff := cmp.Diff(string(theirs), list(env)); diff != "" {
			t.Fatal(diff)
		}
		again, err := grubcfg.ParseEnv(env.Render())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(env.Variables(), again.Variables()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestShrinkingAValueInAFullBlockKeepsItWhole(t *testing.T) {
	env := grubcfg.NewEnv()
	room := len(env.Render()) - len(bytes.TrimRight(env.Render(), "#")) - len("a=\nb=1\n")
	for _, v := range []struct{ name, value string }{{"a", strings.Repeat("x", room)}, {"b", "1"}, {"a", "2"}} {
		if err := env.Set(v.name, v.value); err != nil {
			t.Fatal(err)
		}
	}
	want := grubcfg.NewEnv()
	for _, v := range []struct{ name, value string }{{"a", "2"}, {"b", "1"}} {
		if err := want.Set(v.name, v.value); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(want.Render()), string(env.Render())); diff != "" {
		t.Error(diff)
	}
}

func TestEnvKeepsWhatItDoesNotKnow(t *testing.T) {
	e := newEditor(t)
	text := "# GRUB Environment Block\n# by hand \\\n# still\na=1\nno equals sign\nb=2\n#=3\na=4\nc=\n"
	raw := []byte(text + strings.Repeat("#", grubcfg.EnvSize-len(text)))
	if err := os.WriteFile(e.file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	env, err := grubcfg.ParseEnv(raw)
	if err != nil {
		t.Fatal(err)
	}
	same := func() {
		t.Helper()
		if diff := cmp.Diff(string(e.bytes(t)), string(env.Render())); diff != "" {
			t.Fatal(diff)
		}
		theirs, err := e.run("list")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(theirs), list(env)); diff != "" {
			t.Fatal(diff)
		}
	}
	same()
	if got, _ := env.Get("a"); got != "4" {
		t.Errorf("a is %q; load_env takes the last one, 4", got)
	}
	for _, edit := range []string{"b=22", "a=11", "d=5", "c=xyz"} {
		name, value, _ := strings.Cut(edit, "=")
		if _, err := e.run("set", edit); err != nil {
			t.Fatal(err)
		}
		if err := env.Set(name, value); err != nil {
			t.Fatal(err)
		}
		same()
	}
	for _, name := range []string{"a", "nothing", "c"} {
		if _, err := e.run("unset", name); err != nil {
			t.Fatal(err)
		}
		if err := env.Unset(name); err != nil {
			t.Fatal(err)
		}
		same()
	}
}

func TestEnvRefuses(t *testing.T) {
	env := grubcfg.NewEnv()
	before := env.Render()
	for _, name := range []string{"", "1a", "a b", "a=b", "#a", "a\n", "é", "a\\"} {
		if err := env.Set(name, "x"); err == nil {
			t.Errorf("name %q was set", name)
		}
		if err := env.Unset(name); err == nil {
			t.Errorf("name %q was unset", name)
		}
	}
	if err := env.Set("a", "x\x00y"); err == nil {
		t.Error("a value with NUL was set")
	}
	if err := env.Set("a", strings.Repeat("x", grubcfg.EnvSize)); !errors.Is(err, grubcfg.ErrFull) {
		t.Errorf("a value that does not fit: %v", err)
	}
	if !bytes.Equal(before, env.Render()) {
		t.Error("a refused edit changed the block")
	}
	for what, raw := range map[string]string{
		"empty":     "",
		"short":     string(before[:1023]),
		"long":      string(before) + "#",
		"signature": strings.Repeat("#", grubcfg.EnvSize),
		"no end":    "# GRUB Environment Block\na=1" + strings.Repeat("#", grubcfg.EnvSize-28),
		"escaped":   "# GRUB Environment Block\na=1\\\n" + strings.Repeat("#", grubcfg.EnvSize-30),
	} {
		if _, err := grubcfg.ParseEnv([]byte(raw)); !errors.Is(err, grubcfg.ErrNotEnv) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzParseEnv(f *testing.F) {
	f.Add(grubcfg.NewEnv().Render(), "a", "1")
	for _, text := range []string{"a=1\n", "a=1\\\nb\n", "x\na=2\n", "# \\\n#\n", "a=\\", "=\n"} {
		block := "# GRUB Environment Block\n" + text
		f.Add([]byte(block+strings.Repeat("#", grubcfg.EnvSize-len(block))), "a", "x\\y\n")
	}
	f.Fuzz(func(t *testing.T, raw []byte, name, value string) {
		env, err := grubcfg.ParseEnv(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(raw, env.Render()) {
			t.Fatal("reading changed the block")
		}
		if err := env.Set(name, value); err != nil {
			if !bytes.Equal(raw, env.Render()) {
				t.Fatal("a refused edit changed the block")
			}
			return
		}
		if _, err := grubcfg.ParseEnv(env.Render()); err != nil {
			t.Fatalf("set %s=%q: %v", name, value, err)
		}
		if err := env.Unset(name); err != nil {
			t.Fatal(err)
		}
		if _, err := grubcfg.ParseEnv(env.Render()); err != nil {
			t.Fatalf("unset %s: %v", name, err)
		}
	})
}
