package btrfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

func TestSnapperListsOurSnapshots(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.NeedTools(t, "snapper")
	s, root := openLayout(t, "opensuse")
	for path, text := range map[string]string{
		"etc/snapper/configs/root": "SUBVOLUME=\"/\"\nFSTYPE=\"btrfs\"\n",
		"etc/sysconfig/snapper":    "SNAPPER_CONFIGS=\"root\"\n",
		"etc/default/snapper":      "SNAPPER_CONFIGS=\"root\"\n",
	} {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	booted, err := s.Booted()
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Prepare(t.Context(), snapshot.PrepareRequest{
		UUID: uuidOf(1), Number: 2, Parent: booted.Identity(),
		Info: snapshot.Info{
			Description: "pkg add <htop> & \"more\"\x1b[31m\nsecond line", UID: 1000,
			UserData: map[string]string{"important": "yes"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Publish(uuidOf(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("snapper", "--no-dbus", "--root", root, "--csvout", "--utc", "--iso", "list").CombinedOutput()
	if err != nil {
		t.Fatalf("snapper: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	var line string
	for l := range strings.Lines(string(out)) {
		if strings.Contains(l, uuidOf(1)) {
			line = l
		}
	}
	if n != 2 {
		t.Errorf("the number is %d", n)
	}
	for _, want := range []string{",2,", "single", `pkg add <htop> & `, "second line", "important=yes", "txupd=" + uuidOf(1)} {
		if !strings.Contains(line, want) {
			t.Errorf("snapper's line lacks %q: %s", want, line)
		}
	}
	if strings.ContainsRune(line, '\x1b') {
		t.Errorf("a control character came through: %q", line)
	}
}
