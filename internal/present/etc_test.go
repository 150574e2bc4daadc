package present

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

func bothEtc() bus.Etc {
	return bus.Etc{
		Booted: 4, Snapshot: ref(6), BootsNext: true, Merged: true,
		Differences: []bus.EtcChange{{Path: "/etc/hosts", Change: record.Modified, What: []string{"content"}}},
		Plan: []record.EtcDecision{
			{Path: "/etc/fstab", Decision: "theirs", What: []string{"content"}},
			{Path: "/etc/hosts", Decision: "merged", What: []string{"content"}},
			{Path: "/etc/motd", Decision: "conflict", What: []string{"content"}, Kept: "/etc/motd.txupd-6"},
			{Path: "/etc/old.conf", Decision: "theirs", What: []string{"deleted"}},
			{Path: "/etc/passwd", Decision: "renumbered", Detail: "uid of postgres: 998 is now 997"},
			{Path: "/etc/ssl", Decision: "conflict", What: []string{"deleted"}, Detail: "removed in the snapshot, changed on the running side"},
		},
		Reboot: []bus.EtcChange{
			{Path: "/etc/hosts", Change: record.Modified, What: []string{"content"}}, {Path: "/etc/shadow", Change: record.Modified, What: []string{"mode", "owner"}},
			{Path: "/etc/nginx", Change: record.Added}, {Path: "/etc/telnet", Change: record.Removed}, {Path: "/etc/os-release", Change: record.TypeChange},
		},
		Conflicts: []bus.EtcConflict{{Path: "/etc/issue", Kept: "/etc/issue.txupd-6", Version: 6, Snapshot: 6}},
		Decisions: []record.EtcDecision{
			{Path: "/etc/issue", Decision: "conflict", Kept: "/etc/issue.txupd-6"},
			{Path: "/etc/exports", Decision: bus.ChoiceOurs, Rule: "resolve", Kept: "/etc/exports.txupd-6", By: &record.Actor{Name: "root", Login: "anna"}},
		},
		Warnings: []string{},
	}
}

func etcScreens(s Screen) map[string]string {
	all := map[string]string{"etc": s.BothEtc(bothEtc())}
	quiet := bothEtc()
	quiet.Plan, quiet.Reboot, quiet.Differences, quiet.Conflicts, quiet.Decisions = nil, nil, nil, nil, nil
	all["etc-quiet"] = s.BothEtc(quiet)
	alone := bothEtc()
	alone.Snapshot, alone.Conflicts[0].Snapshot = nil, 4
	all["etc-nothing-pending"] = s.BothEtc(alone)
	restored := bothEtc()
	restored.Merged, restored.Plan, restored.RunningConflicts = false, nil, restored.Conflicts
	restored.Why = `snapshot 6 was not made from what runs: its /etc is as it was then; "txctl rollback 6 --etc=keep" takes along what was edited since`
	all["etc-restored"] = s.BothEtc(restored)
	other := restored
	other.BootsNext, other.RunningConflicts, other.Why = false, nil, "snapshot 6 does not boot next"
	other.Warnings = []string{"a merge into snapshot 6 was interrupted"}
	all["etc-other"] = s.BothEtc(other)
	diff := bus.EtcDiff{Booted: 4, Snapshot: 6, Merged: true, Patches: difference().Patches}
	all["etc-diff"] = s.EtcDiff(diff)
	all["etc-diff-nothing"] = s.EtcDiff(bus.EtcDiff{Booted: 4, Snapshot: 6, PatchesCut: true, Warnings: []string{"snapshot 6 was not made from what runs"}})
	edits := Rollback{Default: 7, Of: 4, Previous: 6, Booted: 6, KeepEtc: true, Difference: Between(6, 4, steps), Edits: []record.FileChange{
		{Path: "/etc/fstab", Change: record.Modified}, {Path: "/var/log/syslog", Change: record.Modified}}}
	all["rollback-keep"] = s.Rollback(edits)
	edits.Default, edits.Planned, edits.AsCommitted = 4, true, true
	all["rollback-keep-planned"] = s.Rollback(edits)
	resolved := bus.EtcResolved{EtcConflict: bus.EtcConflict{Path: "/etc/issue", Version: 6, Snapshot: 6}, Choice: bus.ChoiceOurs, Left: 2}
	all["etc-resolved"] = s.EtcResolved(resolved)
	resolved.Choice, resolved.Left = bus.ChoiceTheirs, 0
	all["etc-resolved"] += s.EtcResolved(resolved)
	return all
}

func TestEtcAt80Columns(t *testing.T) {
	for name, got := range etcScreens(Screen{Width: 80, Now: now}) {
		t.Run(name, func(t *testing.T) {
			for line := range strings.Lines(got) {
				if w := ansi.StringWidth(strings.TrimSuffix(line, "\n")); w > 80 {
					t.Errorf("a line of %d columns: %q", w, line)
				}
			}
			golden(t, name, ansi.Strip(got))
		})
	}
}

func TestNothingOfEtcReachesTheTerminal(t *testing.T) {
	hostile := "a\x1b]0;owned\x07b\u202etxt\xff\r\n\x9bc"
	doc := bothEtc()
	doc.Why, doc.Merged, doc.Warnings = hostile, false, []string{hostile}
	doc.Plan = []record.EtcDecision{{Path: hostile, Decision: hostile, Kept: hostile, Detail: hostile}, {Path: hostile, Decision: "conflict", Kept: hostile}}
	doc.Reboot = []bus.EtcChange{{Path: hostile, Change: hostile, What: []string{hostile}}}
	doc.Conflicts = []bus.EtcConflict{{Path: hostile, Kept: hostile}}
	text := (Screen{Now: now}).BothEtc(doc)
	if stripped := ansi.Strip(text); strings.ContainsAny(stripped, "\x1b\x07\r\u202e") || strings.Contains(stripped, "\x9b") {
		t.Errorf("a terminal would obey %q", text)
	}
}
