// Package systemd has no code: this holds the units, the bus policy and the
// activation file to what systemd and the rest of the project say.
package systemd

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/bus"
)

// setting reads the value of a key that stands once in an ini file.
func setting(t *testing.T, file, key string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			values = append(values, value)
		}
	}
	if len(values) != 1 {
		t.Fatalf("%s says %s= %d times", file, key, len(values))
	}
	return values[0]
}

func TestActivationLeadsToTheService(t *testing.T) {
	const activation, unit = "org.txupd1.service", "txupd.service"
	if got := setting(t, activation, "Name"); got != bus.Name {
		t.Errorf("%s activates %q, the daemon owns %q", activation, got, bus.Name)
	}
	if got := setting(t, activation, "SystemdService"); got != unit {
		t.Errorf("%s starts %q", activation, got)
	}
	if got := setting(t, unit, "BusName"); got != bus.Name {
		t.Errorf("%s has the bus name %q", unit, got)
	}
	if with, without := setting(t, unit, "ExecStart"), setting(t, activation, "Exec"); with != without {
		t.Errorf("with systemd %q is started, without it %q", with, without)
	}
}

func TestPolicyIsWellFormed(t *testing.T) {
	file, err := os.Open(bus.Name + ".conf")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for d := xml.NewDecoder(file); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestSystemdAcceptsTheUnits runs `systemd-analyze verify` on copies whose
// programs exist here.
func TestSystemdAcceptsTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test needs systemd-analyze, and CI=true lets nothing be skipped")
		}
		t.Skip("this test needs systemd-analyze")
	}
	units, err := filepath.Glob("txupd*.*")
	if err != nil || len(units) == 0 {
		t.Fatalf("found the units %v, %v", units, err)
	}
	dir := t.TempDir()
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		var copied strings.Builder
		for line := range strings.Lines(string(text)) {
			switch key, _, _ := strings.Cut(line, "="); key {
			case "ExecStart", "ExecStop":
				line = key + "=/bin/true\n"
			case "Documentation": // the manual pages need not be installed here
				line = ""
			}
			copied.WriteString(line)
		}
		path := filepath.Join(dir, unit)
		if err := os.WriteFile(path, []byte(copied.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", unit, err, out)
		}
	}
}
