// Package scripts has no code, only scripts: this holds the one that installs
// to what it says.
package scripts

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs makes a directory as `make build man` does, with a daemon that is none.
func programs(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "txctl"), "github.com/txupd/txupd/cmd/txctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, mode := range map[string]fs.FileMode{"txupd": 0o755, "man/txctl.1": 0o644, "man/txupd.toml.5": 0o600, "man/txupd.8": 0o644} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(bin, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

func install(t *testing.T, bin, destdir string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("./install", destdir)
	cmd.Env = append(append(os.Environ(), "BIN="+bin), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestInstallPutsEverythingInItsPlace(t *testing.T) {
	bin, root := programs(t), t.TempDir()
	if out, err := install(t, bin, root, "ZSH_COMPLETIONS=/usr/share/zsh/site-functions"); err != nil || out != "" {
		t.Fatalf("%v\n%s", err, out)
	}
	for path, holds := range map[string]string{
		"usr/bin/txctl":     "",
		"usr/libexec/txupd": "txupd",
		"usr/share/bash-completion/completions/txctl":         "complete -o default -F __start_txctl txctl",
		"usr/share/fish/vendor_completions.d/txctl.fish":      "complete -c txctl",
		"usr/share/zsh/site-functions/_txctl":                 "#compdef txctl\n",
		"usr/share/man/man1/txctl.1":                          "man/txctl.1",
		"usr/share/man/man5/txupd.toml.5":                     "man/txupd.toml.5",
		"usr/share/man/man8/txupd.8":                          "man/txupd.8",
		"usr/lib/systemd/system/txupd.service":                "ExecStart=/usr/libexec/txupd",
		"usr/share/dbus-1/system-services/org.txupd1.service": "Exec=/usr/libexec/txupd",
	} {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil || !strings.Contains(string(text), holds) {
			t.Errorf("%s does not hold %q (%v)", path, holds, err)
			continue
		}
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		want := fs.FileMode(0o644)
		if strings.HasPrefix(path, "usr/bin/") || strings.HasPrefix(path, "usr/libexec/") {
			want = 0o755
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has the mode %v", path, info.Mode().Perm())
		}
	}
	// Debian's place is for Debian's zsh, and not for both.
	if found, _ := filepath.Glob(filepath.Join(root, "usr/share/zsh/*/_txctl")); len(found) != 1 {
		t.Errorf("zsh finds %q", found)
	}
}

func TestInstallSaysWhatIsMissing(t *testing.T) {
	bin := programs(t)
	if err := os.RemoveAll(filepath.Join(bin, "man")); err != nil {
		t.Fatal(err)
	}
	if out, err := install(t, bin, t.TempDir()); err != nil || !strings.Contains(out, "make man makes them") {
		t.Errorf("without man pages: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(bin, "txupd")); err != nil {
		t.Fatal(err)
	}
	if out, err := install(t, bin, t.TempDir()); err == nil || !strings.Contains(out, "make build makes it") {
		t.Errorf("without the daemon: %v\n%s", err, out)
	}
}
