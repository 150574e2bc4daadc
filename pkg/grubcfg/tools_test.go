// GRUB's own tools, which have the last word in these tests.

package grubcfg_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// tester is what testing.T and rapid.T share.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// tool finds a program: bash, or one of the package grub-common.
func tool(t *testing.T, name string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err == nil {
		return file
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed (bash, or the package grub-common)", name)
	}
	t.Skipf("%s is not installed (bash, or the package grub-common)", name)
	return ""
}

// checkScript fails unless grub-script-check accepts the text.
func checkScript(t tester, check string, text []byte) {
	t.Helper()
	cmd := exec.Command(check)
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("grub-script-check: %v\n%s\n%s", err, out, text)
	}
}

// golden compares with a file in testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}
