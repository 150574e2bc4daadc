// The screens of the annotated changelog, see present_test.go.

package present

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

func difference() bus.Diff {
	r := htopRecord()
	return bus.Diff{
		From: 5, To: 6, FromState: bus.SideForked, ToState: bus.SideCommitted, Recorded: true,
		Packages: r.PackageChanges, Files: r.FileChanges,
		PackageCounts: record.CountPackages(r.PackageChanges), FileCounts: record.CountFiles(r.FileChanges),
		Patches: []bus.Patch{
			{Path: "/etc/motd", Change: record.Modified, Before: &bus.File{Type: bus.FileRegular, Mode: 0o644}, After: &bus.File{Type: bus.FileRegular, Mode: 0o600},
				Text: "@@ -1,2 +1,2 @@\n hello\n-world\n+\x1b[2Jthere\n\\ No newline at end of file\n"},
			{Path: "/etc/mtab", Change: record.TypeChange, Before: &bus.File{Type: bus.FileRegular, Mode: 0o644, Size: 9},
				After: &bus.File{Type: bus.FileLink, Mode: 0o777, Target: "/proc/mounts"}, Text: "@@ -1 +0,0 @@\n-old one\n"},
			{Path: "/etc/new", Change: record.Added, After: &bus.File{Type: bus.FileRegular, Mode: 0o755, Size: 3}, Text: "@@ -0,0 +1 @@\n+hi\n"},
			{Path: "/usr/bin/htop", Change: record.Modified, Binary: true,
				Before: &bus.File{Type: bus.FileRegular, Mode: 0o755, Size: 190_000}, After: &bus.File{Type: bus.FileRegular, Mode: 0o4755, UID: 1, Size: 250_123}},
			{Path: "/usr/bin/ping", Change: record.Modified, Before: &bus.File{Type: bus.FileRegular, Mode: 0o755}, After: &bus.File{Type: bus.FileRegular, Mode: 0o755}},
			{Path: "/usr/share/empty", Change: record.Removed, Before: &bus.File{Type: bus.FileDirectory, Mode: 0o755}},
		},
		Warnings: []string{},
	}
}

const minute = 60 * 1000 * 1000 * 1000 // a time.Duration

// changelog adds the screens.
func changelog(s Screen, all map[string]string) {
	gone := at(day)
	old := bus.Snapshot{Number: 2, Phase: record.Committed, Verdict: record.Good, Created: at(9 * day), Parent: ref(1), Kind: "update", Roles: []string{}, Deleted: &gone,
		Packages: record.PackageCounts{Upgraded: 71, Added: 3, Removed: 1}}
	fourth := nginx
	fourth.Parent = ref(2)
	bad := bus.Snapshot{Number: 3, Phase: record.Committed, Verdict: record.Bad, Created: at(8 * day), Parent: ref(2), Kind: "run", Message: "try another kernel",
		Roles: []string{}, Files: record.FileCounts{Added: 1}}
	seventh := bus.Snapshot{Number: 7, Phase: record.Committed, Verdict: record.Untried, Created: at(minute), Parent: ref(4), Kind: "shell", Pinned: true,
		Roles: []string{bus.RoleSuperseded}, Files: record.FileCounts{Modified: 2}}
	all["tree"] = s.Tree(bus.List{Snapshots: []bus.Snapshot{adopted, old, bad, *with(fourth, bus.RoleBooted, bus.RoleLastGood), upgraded, htop, seventh}})
	all["tree-empty"] = s.Tree(bus.List{})

	doc := difference()
	all["diff"] = s.Diff(doc, DiffParts{Packages: true, Files: true})
	all["diff-stat"] = s.Diff(doc, DiffParts{Stat: true})
	all["diff-patch"] = s.Diff(doc, DiffParts{Patch: true})
	now := doc
	now.FromState, now.ToState, now.Warnings = bus.SideNow, bus.SideNow, []string{"the owners of files are not known: the database cannot be read"}
	now.PatchesCut = true
	now.Patches = now.Patches[:1]
	all["diff-now"] = s.Diff(now, DiffParts{Packages: true, Patch: true})
	all["diff-nothing"] = s.Diff(bus.Diff{From: 6, To: 6}, DiffParts{Packages: true, Files: true})

	blame := bus.Blame{Subject: "/etc", Complete: false, Changes: []bus.BlamedChange{
		{Number: 6, Created: at(5 * minute), Actor: record.Actor{Name: "root", Login: "anna"}, Kind: "pkg-add", Message: htop.Message, Path: "/etc/motd", Change: record.Modified},
		{Number: 4, Created: at(3 * day), Actor: record.Actor{Name: "root"}, Kind: "run", Path: "/etc/a/rather/long/path/that/does/not/fit/here.conf", Change: record.Added},
	}}
	all["blame-directory"] = s.Blame(blame)
	one := bus.Blame{Subject: "/etc/motd", Complete: true, Changes: blame.Changes[:1]}
	all["blame"] = s.Blame(one)
	pkg := bus.Blame{Subject: "libc6", IsPackage: true, Complete: true}
	for i, p := range htopRecord().PackageChanges {
		c := blame.Changes[0]
		c.Number, c.Path, c.Package, c.Change = uint64(9-i), "", &p, p.Change
		pkg.Changes = append(pkg.Changes, c)
	}
	all["blame-package"] = s.Blame(pkg)
	all["blame-nothing"] = s.Blame(bus.Blame{Subject: "/srv", Complete: true}) + s.Blame(bus.Blame{Subject: "nosuch", IsPackage: true, Complete: true})

	r := htopRecord()
	r.Notes = []record.Note{{Time: at(minute), Actor: record.Actor{Name: "bea"}, Text: "this one broke the printer of the second floor, and nobody knows why it did that\n\nsee ticket 4712"}}
	r.EtcDecisions = append(r.EtcDecisions, record.EtcDecision{Path: "/etc/hosts", Decision: bus.ChoiceTheirs, Rule: "resolve", Kept: "/etc/hosts.txupd-6", By: &record.Actor{Name: "bea"}})
	r.Sizes = &record.Sizes{Written: 250_123_456, Replaced: 900}
	all["show-annotated"] = s.Show(r, nil, false) + s.Etc(doc.Patches[:1])

	all["verify"] = s.Verification(bus.Verification{OK: true, Journal: "ABCDEFGHIJ", Seq: 12, Hash: strings.Repeat("0a", 16), Events: 12, Records: 3, Lists: 2,
		HeadsChecked: 4, Covered: 11, Unproven: []string{"events after 11: no printed head vouches for them yet", "root can change both journals"}})
	all["verify-wrong"] = s.Verification(bus.Verification{Journal: "ABCDEFGHIJ", Seq: 12, Hash: strings.Repeat("0a", 16), Events: 11, Records: 1, Lists: 1,
		Problems: []bus.JournalProblem{{Kind: "removed", Seq: 5, Text: "event 5 was removed"}, {Kind: "mismatch", Number: 2, Text: "record 2 is not what its events say, and that is told in a sentence that is rather long"}}})
	all["grep"] = s.Matches(bus.Grep{Text: "error", Matches: []bus.Match{
		{Number: 6, Line: 12, Text: "\x1b[31merror\x1b[0m: 10%\rerror: 20%"}, {Number: 6, Line: 400, Text: "another error"}, {Number: 2, Line: 1, Text: "error"}}})

	edits := Rollback{Default: 4, Previous: 6, Booted: 6, Difference: Between(6, 4, steps), DryRun: true, Edits: []record.FileChange{
		{Path: "/etc/fstab", Change: record.Modified}, {Path: "/etc/ssh/keys", Change: record.Added}, {Path: "/var/log/syslog", Change: record.Modified}}}
	all["rollback-edits"] = s.Rollback(edits)
	edits.Edits = edits.Edits[2:]
	all["rollback-edits-elsewhere"] = s.Rollback(edits)
}

func TestPatchesAreHarmlessOnATerminalAndWholeInAFile(t *testing.T) {
	doc := difference()
	doc.Patches[0].Text = "@@ -1 +1 @@\n-a\tb\n+a\tc\x1b]0;owned\x07\r\n"
	if on := (Screen{Width: 80}).Patches(doc.Patches); strings.Contains(on, "\x1b]") || strings.Contains(on, "\x07") {
		t.Errorf("a terminal would obey %q", on)
	}
	doc.Patches[0].Text = "@@ -1 +1 @@\n-a\tb\r\n+a\tc\r\n"
	if off := ansi.Strip((Screen{}).Patches(doc.Patches[:1])); !strings.Contains(off, "-a\tb\r\n+a\tc\r\n") {
		t.Errorf("a file would hold %q", off)
	}
}

func TestTreeOfALongLineStaysNarrow(t *testing.T) {
	list := bus.List{}
	for n := uint64(1); n <= 5000; n++ {
		one := bus.Snapshot{Number: n, Created: at(day), Kind: "run", Roles: []string{}}
		if n > 1 {
			one.Parent = ref(n - 1)
		}
		list.Snapshots = append(list.Snapshots, one)
	}
	list.Snapshots[4999].Roles = []string{bus.RoleBooted, bus.RoleDefault}
	text := Screen{Width: 80, Now: now}.Tree(list)
	if got := strings.Count(text, "\n"); got != 5000 || strings.Contains(text, "├") {
		t.Errorf("%d lines", got)
	}
	if !strings.Contains(ansi.Strip(text), fmt.Sprintf("● %d", 5000)) {
		t.Error("the booted one is not marked")
	}
}
