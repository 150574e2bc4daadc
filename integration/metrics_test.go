package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMetricsFollowTheState: what is printed and what is in the file is as the
// state is, after each change; and every metric is in the guide.
func TestMetricsFollowTheState(t *testing.T) {
	s := newSystem(t, options{})
	const inRoot = "/var/lib/metrics/txupd.prom"
	file := filepath.Join(s.machine.Root, inRoot)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	s.configure("[metrics]\ntextfile = \"" + inRoot + "\"\n")
	says := func(when string, lines ...string) string {
		t.Helper()
		printed := s.must("metrics").stdout
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			for where, got := range map[string]string{"metrics": printed, "the file": string(text)} {
				if !strings.Contains("\n"+got, "\n"+line+"\n") {
					t.Errorf("%s: %s does not say %q:\n%s", when, where, line, got)
				}
			}
		}
		return printed
	}
	s.must("run", "--", "touch", "/usr/one")
	n := s.pending()
	says("with a pending snapshot", fmt.Sprintf(`txupd_snapshot_number{role="pending"} %d`, n), "txupd_reboot_required 1",
		`txupd_snapshots{verdict="untried"} 1`, "txupd_transaction_open 0", "txupd_snapshots_pinned 0", `txupd_booted_verdict{verdict="good"} 1`)
	s.must("pin", fmt.Sprint(n))
	says("pinned", "txupd_snapshots_pinned 1")
	s.must("begin", "-m", "metrics")
	all := says("with an open one", "txupd_transaction_open 1")
	s.must("discard")
	s.must("rollback")
	if got := says("rolled back", "txupd_reboot_required 0", "txupd_transaction_open 0"); strings.Contains(got, "pending") {
		t.Errorf("something is pending:\n%s", got)
	}
	guide, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^# TYPE ([a-z_]+) gauge$").FindAllStringSubmatch(all, -1) {
		if !strings.Contains(string(guide), "| `"+m[1]+"` |") {
			t.Errorf("the guide does not tell of %s", m[1])
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file is %v (%v)", info, err)
	}
}
