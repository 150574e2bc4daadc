package main

import (
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/fault"
)

func TestRebootAsksForWhatIsMeant(t *testing.T) {
	for line, want := range map[string]string{
		"--now":                     `reboot now 2026-03-14 15:09:26 ""`,
		"-y":                        `reboot now 2026-03-14 15:09:26 ""`,
		"--window -m kernel":        `reboot window 2026-03-14 15:09:26 "kernel"`,
		"--in 90m":                  `reboot at 2026-03-14 16:39:26 ""`,
		"--at 22:30":                `reboot at 2026-03-14 22:30:00 ""`,
		"--at 15:09":                `reboot at 2026-03-15 15:09:00 ""`,
		"--at 2026-03-15T03:00:00Z": `reboot at 2026-03-15 03:00:00 ""`,
		"--cancel":                  "cancel reboot",
		"--status":                  "",
		"--now --window":            "exclude each other",
		"--at 2026-03-14":           "is no time",
		"--at 2026-03-13T03:00:00Z": "is over",
		"--in never":                "is no time to wait",
		"--in soon":                 "is no duration",
		"--cancel -m why":           "-m and --method are not accepted",
		"--status --method reboot":  "-m and --method are not accepted",
		"--now --method hibernate":  `there is no "hibernate"`,
		"--now --method reboot":     `reboot now by reboot 2026-03-14 15:09:26 ""`,
		"":                          "-y says yes",
		"now":                       "no argument is accepted",
	} {
		f := newFake(t)
		got := f.txctl(nil, append([]string{"reboot"}, strings.Fields(line)...)...)
		calls := strings.Join(f.calls, "\n")
		if got.code == 0 && calls != want || got.code != 0 && (calls != "" || !strings.Contains(got.stderr, want)) {
			t.Errorf("reboot %s: exit %d, called %q, not %q:\n%s%s", line, got.code, calls, want, got.stdout, got.stderr)
		}
	}
	f := newFake(t)
	f.refuse = fault.ErrNotSupported
	if got := f.txctl(nil, "reboot", "--now"); got.code == 0 || got.stdout != "" {
		t.Errorf("refused, and yet exit %d: %s", got.code, got.stdout)
	}
}
