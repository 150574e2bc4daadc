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
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/config"
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

// needAnalyze skips where systemd's own checker is missing, which CI does not allow.
func needAnalyze(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test needs systemd-analyze, and CI=true lets nothing be skipped")
	}
	t.Skip("this test needs systemd-analyze")
}

// units are the names of all of ours.
func units(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("txupd*.*")
	if err != nil || len(names) == 0 {
		t.Fatalf("found the units %v, %v", names, err)
	}
	return names
}

// copyUnits writes copies of units into dir whose programs exist here.
func copyUnits(t *testing.T, dir string, names []string) {
	t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(name)
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
			case "RestartSteps", "RestartMaxDelaySec": // newer than the systemd that may be here
				line = ""
			}
			copied.WriteString(line)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(copied.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSystemdAcceptsTheUnits(t *testing.T) {
	needAnalyze(t)
	dir := t.TempDir()
	names := units(t)
	copyUnits(t, dir, names)
	for _, name := range names {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", name, err, out)
		}
	}
}

func TestUnitsSayWhereTheyBelong(t *testing.T) {
	for _, name := range units(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(string(text), "\n"); first != "# Installed as /usr/lib/systemd/system/"+name {
			t.Errorf("%s begins with %q", name, first)
		}
	}
}

func TestBootUnitsRunTheDaemonsProgram(t *testing.T) {
	for _, moment := range []string{"check", "verdict", "deadline", "emergency"} {
		unit := "txupd-boot-" + moment + ".service"
		if got, want := setting(t, unit, "ExecStart"), setting(t, "txupd.service", "ExecStart")+" assess --"+moment; got != want {
			t.Errorf("%s runs %q, want %q", unit, got, want)
		}
	}
}

func TestStateUnitRunsTheDaemonsProgram(t *testing.T) {
	program := setting(t, "txupd.service", "ExecStart")
	for key, moment := range map[string]string{"ExecStart": "boot", "ExecStop": "shutdown"} {
		if got, want := setting(t, "txupd-state.service", key), program+" state --"+moment; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// span reads a time of a unit, in minutes.
func span(t *testing.T, unit, key string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(strings.TrimSuffix(setting(t, unit, key), "in"))
	if err != nil {
		t.Fatalf("%s of %s: %v", key, unit, err)
	}
	return d
}

func TestNoUnitEndsTheChecksEarly(t *testing.T) {
	if limit := span(t, "txupd-boot-check.service", "TimeoutStartSec"); limit < config.MaxHealthTime+time.Minute {
		t.Errorf("the checks may take %v, the unit ends them after %v", config.MaxHealthTime, limit)
	}
	if deadline := span(t, "txupd-boot-deadline.timer", "OnActiveSec"); deadline < config.MaxHealthTime+time.Minute {
		t.Errorf("the checks may take %v, the boot is judged after %v", config.MaxHealthTime, deadline)
	}
	if limit := span(t, "txupd-boot-deadline.service", "TimeoutStartSec"); limit < config.MaxHealthTime+time.Minute {
		t.Errorf("the checks may take %v, who waits for them is ended after %v", config.MaxHealthTime, limit)
	}
}

// systemUnits is where systemd's own are.
func systemUnits(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/usr/lib/systemd/system", "/lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join(dir, "boot-complete.target")); err == nil {
			return dir
		}
	}
	t.Fatal("systemd is here, but not its boot-complete.target")
	return ""
}

// enable makes the links that the [Install] sections ask for.
func enable(t *testing.T, dir string, names []string) {
	t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			key, targets, _ := strings.Cut(strings.TrimSpace(line), "=")
			kind := map[string]string{"WantedBy": ".wants", "RequiredBy": ".requires"}[key]
			if kind == "" {
				continue
			}
			for _, target := range strings.Fields(targets) {
				links := filepath.Join(dir, target+kind)
				if err := errors.Join(os.MkdirAll(links, 0o755), os.Symlink(filepath.Join("..", name), filepath.Join(links, name))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestABootWithAllUnitsHasAnOrder lets systemd plan boots with our units
// enabled among its own.
func TestABootWithAllUnitsHasAnOrder(t *testing.T) {
	needAnalyze(t)
	dir := t.TempDir()
	names := units(t)
	copyUnits(t, dir, names)
	enable(t, dir, names)
	plan := func(target string) string {
		t.Helper()
		cmd := exec.Command("systemd-analyze", "verify", "--man=no", target)
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":"+systemUnits(t))
		out, err := cmd.CombinedOutput()
		var ended *exec.ExitError // it ends with 1 where a unit of somebody else has a flaw
		if err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		var ours strings.Builder
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "txupd") || strings.Contains(line, "cycl") {
				ours.WriteString(line)
			}
		}
		return ours.String()
	}
	targets := []string{"default.target", "graphical.target", "multi-user.target", "boot-complete.target", "timers.target", "emergency.target", "rescue.target"}
	for _, target := range targets {
		if said := plan(target); said != "" {
			t.Errorf("a boot into %s:\n%s", target, said)
		}
	}
	// The same must be found where there is one, or the above says nothing.
	verdict := filepath.Join(dir, "txupd-boot-verdict.service")
	text, err := os.ReadFile(verdict)
	if err != nil {
		t.Fatal(err)
	}
	loose := strings.Replace(string(text), "After=default.target graphical.target multi-user.target\n", "", 1)
	if loose == string(text) {
		t.Fatal("the verdict does not say that it comes after the targets")
	}
	if err := os.WriteFile(verdict, []byte(loose), 0o644); err != nil {
		t.Fatal(err)
	}
	if said := plan("multi-user.target"); !strings.Contains(said, "rdering cycle") {
		t.Errorf("a verdict that multi-user.target waits for is a cycle, and systemd finds: %q", said)
	}
}

// TestPresetEnablesWhatCanBeEnabled: a package enables by presets what
// scripts/install enables by links.
func TestPresetEnablesWhatCanBeEnabled(t *testing.T) {
	units, err := filepath.Glob("*.*")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\n[Install]\n") && !strings.HasSuffix(unit, ".go") {
			does := "enable "
			if unit == "txupd-auto.timer" || unit == "txupd-metrics.socket" {
				does = "disable " // nobody's system is updated or watched by itself unless somebody wants it
			}
			want = append(want, does+unit)
		}
	}
	text, err := os.ReadFile("90-txupd.preset")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if strings.Join(want, "\n") != strings.Join(got, "\n") {
		t.Errorf("the preset says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
