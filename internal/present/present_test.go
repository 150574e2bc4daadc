// Each screen as a person sees it at 80 columns, in testdata. After a change:
// go test ./internal/present -update, and look at every one.

package present

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

var update = flag.Bool("update", false, "write the screens that are expected")

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func at(d time.Duration) time.Time { return now.Add(-d) }
func ref(n uint64) *uint64         { return &n }

var (
	adopted = bus.Snapshot{
		Number: 1, SubvolumeID: 257, Phase: record.Committed, Verdict: record.Good, Created: at(21 * day), Adopted: true,
		Kernel: "6.12.41+deb13-amd64", Kind: "adopt", Message: "the system as txupd found it", Roles: []string{},
	}
	nginx = bus.Snapshot{
		Number: 4, SubvolumeID: 270, Phase: record.Committed, Verdict: record.Good, Created: at(3 * day), Parent: ref(1),
		Kernel: "6.12.48+deb13-amd64", Kind: "pkg-add", Message: "add nginx", Roles: []string{bus.RoleBooted, bus.RoleDefault, bus.RoleLastGood},
		Packages: record.PackageCounts{Added: 3}, Files: record.FileCounts{Added: 61, Modified: 12},
	}
	upgraded = bus.Snapshot{
		Number: 5, SubvolumeID: 274, Phase: record.Committed, Verdict: record.Untried, Created: at(2 * time.Hour), Parent: ref(4),
		Kernel: "6.12.50+deb13-amd64", Kind: "update", Roles: []string{bus.RoleSuperseded}, ContainedIn: ref(6),
		Packages: record.PackageCounts{Added: 1, Upgraded: 14, Removed: 2}, Files: record.FileCounts{Added: 5100, Modified: 312, Removed: 8},
	}
	htop = bus.Snapshot{
		Number: 6, SubvolumeID: 280, Phase: record.Committed, Verdict: record.Untried, Created: at(5 * time.Minute), Parent: ref(5),
		Kernel: "6.12.50+deb13-amd64", Kind: "pkg-add", Message: "htop for the on-call team, who asked for it after the outage of last week\n\nTicket 4711",
		Roles:    []string{bus.RoleDefault, bus.RolePending},
		Packages: record.PackageCounts{Added: 2}, Files: record.FileCounts{Added: 61, Modified: 12},
	}
)

// with is a copy with other roles.
func with(s bus.Snapshot, roles ...string) *bus.Snapshot {
	s.Roles = roles
	return &s
}

func statuses() map[string]bus.Status {
	pending := bus.Status{
		Booted: with(nginx, bus.RoleBooted, bus.RoleLastGood), Default: &htop, Pending: &htop, LastGood: with(nginx, bus.RoleBooted, bus.RoleLastGood),
		RebootRequired: true,
	}
	open := bus.Status{Booted: &nginx, Default: &nginx, LastGood: &nginx, Transaction: &bus.Transaction{
		Number: 7, Parent: 4, Kind: "begin", Message: "try another web server", Actor: record.Actor{Name: "root", Login: "anna"}, Since: at(2 * time.Minute),
		Expires: new(time.Time),
	}}
	*open.Transaction.Expires = now.Add(day - 2*time.Minute)
	back := bus.Status{
		Booted: with(htop, bus.RoleBooted), Default: with(nginx, bus.RoleDefault, bus.RolePending, bus.RoleLastGood), Pending: &nginx, LastGood: &nginx, RebootRequired: true,
		Warnings: []string{"snapshot 6 is superseded and still there: \"txctl rollback 6\" makes it the default again"},
		Transaction: &bus.Transaction{
			Number: 8, Parent: 4, Kind: "pkg-add", Actor: record.Actor{UID: 1000}, Since: at(9 * time.Second), Running: true,
		},
	}
	foreign := bus.Status{
		Booted:  &bus.Snapshot{Number: 9, SubvolumeID: 300, Foreign: true, Roles: []string{bus.RoleBooted}},
		Default: &htop, Pending: &htop, RebootRequired: true,
		Warnings: []string{"the booted subvolume 300 (@/.snapshots/9/snapshot) was not made by txupd: nothing is known of it"},
	}
	conflicts := pending
	conflicts.Warnings = []string{"the /etc of snapshot 6 has 2 conflicts that nobody has decided: /etc/hosts, /etc/ssh/sshd_config; \"txctl etc\" tells more"}
	waits := pending
	waits.Reboot = &bus.Reboot{
		Requested: at(time.Hour), By: "root", Reasons: []string{"the nightly update", "a new kernel"}, When: bus.RebootWindow,
		Next: now, Waits: "logged in: alice (tty2), bob (10.0.0.7)",
	}
	deadline := now.Add(6 * day)
	waits.Reboot.Deadline = &deadline
	planned := pending
	planned.Reboot = &bus.Reboot{Requested: at(time.Hour), By: "uid 1000", Reasons: []string{}, When: bus.RebootAt, Next: now.Add(20 * time.Hour)}
	one := pending
	one.Booted = with(upgraded, bus.RoleBooted)
	return map[string]bus.Status{
		"quiet": {Booted: &nginx, Default: &nginx, LastGood: &nginx}, "pending": pending, "pending-one": one, "open": open, "back": back, "foreign": foreign, "conflicts": conflicts,
		"reboot-waits": waits, "reboot-planned": planned,
	}
}

func htopRecord() record.Record {
	finished := at(5*time.Minute - 9*time.Second)
	r := record.Record{
		Number: 6, Phase: record.Committed, Verdict: record.Untried, Parent: ref(5), Created: at(5 * time.Minute), Finished: &finished,
		Actor: record.Actor{Name: "root", Login: "anna", Session: "3", Unit: "user-1000.slice"}, Kind: "pkg-add", Message: htop.Message,
		Tags: []string{"on-call", "ticket:4711"}, Kernel: htop.Kernel,
		Commands: []record.Command{
			{Argv: []string{"apt-get", "-y", "install", "--", "htop"}, Duration: 8.4},
			{Argv: []string{"sh", "-c", "echo 'a b' >/etc/motd"}, Exit: 3, Duration: 0.004},
			{Argv: []string{"sleep", "1000"}, Exit: -1},
		},
		PackageChanges: []record.PackageChange{
			{Name: "htop", Arch: "amd64", Change: record.Added, New: "3.4.1-5"},
			{Name: "libc6", Arch: "amd64", Change: record.Upgraded, Old: "2.41-11", New: "2.41-12"},
			{Name: "nano", Arch: "amd64", Change: record.Downgraded, Old: "8.4-1+deb13u1", New: "8.3-1"},
			{Name: "telnet", Arch: "all", Change: record.Removed, Old: "0.17+2.6-3"},
		},
		FileChanges: []record.FileChange{
			{Path: "/usr/bin/htop", Change: record.Added, Owner: "htop"},
			{Path: "/var/lib/dpkg/status", Change: record.Modified},
			{Path: "/etc/motd", Change: record.TypeChange},
			{Path: "/etc/evil\x1b[2J\nname", Change: record.Removed},
		},
		Shared: []record.SharedTree{{Tree: "/var", Paths: 2, Captured: []record.SharedPath{
			{Path: "/var/lib/app/state", Decision: "replaced"}, {Path: "/var/log/evil\x1b[2J\nname", Decision: "created"},
		}}},
		Files:        record.FileCounts{Added: 1, Modified: 2, Removed: 1},
		EtcDecisions: []record.EtcDecision{{Path: "/etc/hosts", Decision: "running side kept", Kept: "/etc/hosts.txupd-6"}},
		Boots: []record.Boot{
			{First: at(time.Hour), Verdict: record.Bad, Failed: []string{"network.sh", "sshd.sh"}},
			{First: at(time.Minute), Verdict: record.Untried},
		},
		Warnings: []string{"/srv is not seen inside the transaction: a network file system (nfs4) may be away when its changes are to be handed over"},
	}
	return r
}

func failedRecord() record.Record {
	finished := at(2*day - 3*time.Second)
	return record.Record{
		Number: 3, Phase: record.Failed, Parent: ref(1), Created: at(2 * day), Finished: &finished, Actor: record.Actor{Name: "root"}, Kind: "pkg-add", Message: "add nosuch",
		Error: "the package manager failed: package nosuch was not found: \nReading package lists...\rReading package lists... Done\nE: Unable to locate package nosuch\n", ErrorCode: "PackageManagerFailed",
	}
}

func manyFiles() record.Record {
	r := record.Record{Number: 5, Phase: record.Committed, Parent: ref(4), Created: at(2 * time.Hour), Kind: "update", Actor: record.Actor{Name: "root"}}
	for i := range 60 {
		r.FileChanges = append(r.FileChanges, record.FileChange{Path: fmt.Sprintf("/usr/lib/modules/6.12.50/%02d.ko", i), Change: record.Added, Owner: "linux-image"})
	}
	r.Files = record.CountFiles(r.FileChanges)
	return r
}

// handedOver is a record whose captures another boot handed over, not all as they were.
func handedOver() record.Record {
	r, when := manyFiles(), at(2*day)
	r.FileChanges, r.Files = nil, record.FileCounts{}
	tree := record.SharedTree{Tree: "/var", Paths: 250, HandedOver: &when, By: ref(6), Became: map[string]int{"created": 247, "kept": 2, "skipped": 1}}
	for i := range record.MaxSharedPaths {
		tree.Captured = append(tree.Captured, record.SharedPath{Path: fmt.Sprintf("/var/lib/app/%03d", i), Decision: "created"})
	}
	tree.Decisions = []record.SharedPath{
		{Path: "/var/lib/app/state", Decision: "kept", Aside: "/var/lib/app/state.txupd-5", Reason: "the live side changed it"},
		{Path: "/var/lib/app/socket", Decision: "skipped", Reason: "it is a socket"},
	}
	r.Shared = []record.SharedTree{tree, {Tree: "/srv", Paths: 1, Captured: []record.SharedPath{{Path: "/srv/www", Decision: "removed"}}, HandedOver: &when, By: ref(5)}}
	return r
}

func deletedRecord() record.Record {
	r, gone := failedRecord(), at(time.Hour)
	r.Number, r.Phase, r.Error, r.Deleted = 2, record.Committed, "", &gone
	return r
}

// steps finds those of the fixtures.
func steps(n uint64) (Step, bool) {
	for _, one := range []bus.Snapshot{adopted, nginx, upgraded, htop} {
		if one.Number == n {
			s := StepOf(one)
			if n == 6 {
				s.Changes = htopRecord().PackageChanges
			}
			return s, true
		}
	}
	return Step{}, false
}

func doctor() bus.Doctor {
	return bus.Doctor{
		Root: "/", Layout: "debian", CommitPoint: "boot-menu", Why: "GRUB resolves paths from the top level, so the default entry of its menu decides",
		BootLoader: "grub", GrubDir: "/boot/grub", GrubFilesystem: "btrfs", Hooked: true, Counter: "/boot/efi/EFI/txupd/grubenv",
		Boot:     &bus.Partition{Mount: "/boot", Device: "/dev/vdc", Type: "ext4", Free: 380 << 20, Size: 512 << 20},
		ESP:      &bus.Partition{Mount: "/boot/efi", Device: "/dev/vda", Type: "vfat", Free: 60 << 20, Size: 64 << 20},
		Problems: []bus.Problem{},
	}
}

func screens(s Screen) map[string]string {
	all := map[string]string{}
	snapshots := []bus.Snapshot{adopted, *with(nginx, bus.RoleBooted, bus.RoleLastGood), upgraded, htop}
	for name, st := range statuses() {
		all["status-"+name] = s.Status(st, snapshots)
	}
	all["list"] = s.List(bus.List{Snapshots: snapshots})
	all["list-one-kernel"] = s.List(bus.List{Snapshots: []bus.Snapshot{
		upgraded, htop,
		{Number: 7, Kernel: htop.Kernel, Kind: "begin", Created: at(40 * time.Second), Roles: []string{bus.RoleOpen}},
		{Number: 8, Kernel: htop.Kernel, Foreign: true, Created: at(400 * day), Verdict: record.Bad, Pinned: true},
	}})
	all["list-empty"] = s.List(bus.List{})
	all["packages"] = s.Packages(bus.Packages{Packages: []bus.Package{{Name: "apt", Version: "3.0.3", Arch: "amd64"}, {Name: "base-files", Version: "13.8+deb13u1", Arch: "amd64"}}})
	all["show"] = s.Show(htopRecord(), []string{bus.RolePending}, false)
	all["show-failed"] = s.Show(failedRecord(), nil, false)
	all["show-many-files"] = s.Show(manyFiles(), nil, false)
	all["show-shared"] = s.Show(handedOver(), nil, false)
	log := bus.Log{Records: []record.Record{htopRecord(), failedRecord(), deletedRecord()}}
	all["log"] = s.Log(log)
	all["log-full"] = s.FullLog(log)
	all["log-empty"] = s.Log(bus.Log{})
	before := Before{Booted: ref(4), Pending: ref(5)}
	done := bus.Outcome{Number: 6, Parent: 5, Kind: "pkg-add", Phase: record.Committed, PackageChanges: htopRecord().PackageChanges, Files: htop.Files}
	all["committed"] = s.PackageChanges(done.PackageChanges) + s.Committed(done, before)
	done.Parent = 4
	all["committed-beside-pending"] = s.Committed(done, before)
	all["failure"] = s.Failure(FailureOf(bus.Outcome{Error: "PackageManagerFailed", ErrorMessage: failedRecord().Error}), 0)
	all["failure-command"] = s.Failure(FailureOf(bus.Outcome{Error: "CommandFailed", Exit: 137, ErrorMessage: "the command failed with status 137: sleep"}), 0)
	back := Rollback{Default: 4, Previous: 6, Booted: 6, Difference: Between(6, 4, steps)}
	all["rollback"] = s.Rollback(back)
	back.DryRun = true
	all["rollback-dry-run"] = s.Rollback(back)
	all["rollback-to-booted"] = s.Rollback(Rollback{Default: 4, Previous: 6, Booted: 4, Difference: Between(6, 4, steps)})
	left := Rollback{Default: 4, Previous: 6, Booted: 6, Difference: Between(6, 4, steps), Shared: HandedBy(6, []record.Record{handedOver(), failedRecord()})}
	all["rollback-shared"] = s.Rollback(left)
	left.RestoreShared = true
	all["rollback-shared-restored"] = s.Rollback(left)
	left.Default, left.Previous, left.DryRun = 4, 4, true
	all["rollback-shared-again"] = s.Rollback(left)
	all["rollback-nothing"] = s.Rollback(Rollback{Default: 4, Previous: 4, Booted: 4})
	planned := Rollback{Default: 4, Previous: 6, Booted: 6, Difference: Between(6, 4, steps), Planned: true,
		KernelBefore: "6.12.57+deb13-amd64", KernelAfter: "6.12.48+deb13-amd64"}
	all["rollback-planned"] = s.Rollback(planned)
	planned.AsCommitted = true
	all["rollback-as-committed-planned"] = s.Rollback(planned)
	planned.Planned, planned.Of, planned.Default = false, 4, 7
	all["rollback-as-committed"] = s.Rollback(planned)
	all["boot-once"] = s.BootOnce(ref(4), 6) + s.BootOnce(nil, 6)
	all["setup"] = s.SetUp([]string{
		"writing /etc/grub.d/09_txupd, by which GRUB's configuration loads the boot menu",
		"making /boot/grub/grub.cfg anew with grub-mkconfig",
	}) + s.SetUp(nil)
	all["doctor"] = s.Doctor(doctor())
	mended := doctor()
	mended.Repaired = &bus.Repaired{Time: at(3 * time.Hour), Done: []string{
		"undid transaction 7 (pkg-add), which was interrupted before its commit point",
		"wrote the boot menu anew, with entries for 6, 5 and 4",
	}}
	all["doctor-repaired"] = s.Doctor(mended)
	all["repair"] = s.Repair(bus.Repair{
		Done: mended.Repaired.Done, Left: []string{"what an interrupted transaction left could not be removed: /.snapshots/.txupd/del-x: it contains other subvolumes"},
	}) + s.Repair(bus.Repair{})
	sick := doctor()
	sick.Hooked, sick.Counter, sick.CommitPoint = false, "", "boot-menu"
	sick.RootFlags, sick.Fstab = "rootflags=subvol=@rootfs", "subvol=@rootfs"
	sick.Problems = []bus.Problem{
		{What: "GRUB's menu does not load ours: what txupd commits would not be booted", Remedy: "run \"txctl setup\"", Blocks: true},
		{What: "GRUB can write neither to the EFI partition nor next to its menu, so that trial boots are not counted", Remedy: "mount the EFI partition"},
	}
	all["doctor-sick"] = s.Doctor(sick)
	settings := bus.Config{Values: []bus.Setting{
		{Key: "boot.tries", Value: 3.0, Origin: "default"},
		{Key: "health.timeout", Value: "90s", Origin: "/etc/txupd/conf.d/10-slow.toml:4"},
		{Key: "health.network", Value: true, Origin: "default"},
		{Key: "health.ignore-units", Value: []any{"rngd.service", "mcelog*"}, Origin: "/etc/txupd/txupd.toml:12"},
	}}
	all["config"] = s.Config(settings)
	settings.Error = "/etc/txupd/txupd.toml:3: boot.trys is no key; did you mean boot.tries?"
	all["config-wrong"] = s.Config(settings)
	all["deleted"] = s.Deletion(snapshots[2:]) + s.Deleted([]uint64{5, 6}, false) + s.Deleted([]uint64{5}, false) + s.Deleted([]uint64{5, 6, 9}, true)
	changelog(s, all)
	return all
}

func TestScreens(t *testing.T) {
	check := func(columns int, file, got string) {
		t.Run(file, func(t *testing.T) {
			for line := range strings.Lines(got) {
				if w := ansi.StringWidth(strings.TrimSuffix(line, "\n")); w > columns && !strings.Contains(line, "/usr/") {
					t.Errorf("a line of %d columns: %q", w, line)
				}
			}
			golden(t, file, ansi.Strip(got))
		})
	}
	for name, got := range screens(Screen{Width: 80, Now: now}) {
		check(80, name, got)
	}
	// What is looked at most, on a wide terminal.
	wide := screens(Screen{Width: 120, Now: now})
	for _, name := range []string{"status-open", "status-pending", "list", "log", "show", "show-annotated", "tree", "diff", "diff-stat"} {
		check(120, name+"-at-120", wide[name])
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNothingFromElsewhereReachesTheTerminal(t *testing.T) {
	hostile := "a\x1b]0;owned\x07b\u202etxt\xff\r\n\x9bc"
	st := statuses()["open"]
	st.Transaction.Message = hostile
	st.Warnings = []string{hostile}
	r := htopRecord()
	r.Message, r.Tags, r.Kernel, r.Error = hostile, []string{hostile}, hostile, hostile
	r.Commands = []record.Command{{Argv: []string{hostile, "'" + hostile}}}
	r.PackageChanges = []record.PackageChange{{Name: hostile, Arch: hostile, Change: record.Added, New: hostile}}
	r.FileChanges = []record.FileChange{{Path: hostile, Owner: hostile}}
	r.EtcDecisions = []record.EtcDecision{{Path: hostile, Decision: hostile, Kept: hostile}}
	r.Boots = []record.Boot{{Failed: []string{hostile}}}
	r.Actor = record.Actor{Name: hostile, Login: hostile, Session: hostile, Unit: hostile}
	one := htop
	one.Message, one.Kernel, one.Kind = hostile, hostile, hostile
	s := Screen{Now: now}
	var progress bytes.Buffer
	p := NewProgress(&progress, func() int { return 80 }, hostile)
	p.Output(hostile)
	p.Tick()
	p.Step(bus.Progress{Phase: hostile, Text: hostile})
	p.Step(bus.Progress{Phase: "install", Fraction: 0.5, Text: hostile})
	text := s.Status(st, nil) + s.Show(r, nil, true) + s.List(bus.List{Snapshots: []bus.Snapshot{one}}) + s.Log(bus.Log{Records: []record.Record{r}}) +
		s.Packages(bus.Packages{Packages: []bus.Package{{Name: hostile, Version: hostile, Arch: hostile}}}) +
		s.Failure(hostile, 4) + s.Deletion([]bus.Snapshot{one}) + progress.String()
	for _, bad := range []string{"\x1b]", "\x07", "\u202e", "\xff", "\x9b"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is printed", bad)
		}
	}
}

func TestUnlimitedWidthCutsNothing(t *testing.T) {
	long := strings.Repeat("word ", 60)
	one := htop
	one.Message = long
	got := ansi.Strip(Screen{Now: now}.List(bus.List{Snapshots: []bus.Snapshot{one}}))
	if !strings.Contains(got, strings.TrimSpace(long)) {
		t.Errorf("the message was cut:\n%s", got)
	}
}

func TestTimesAreSaidAsPeopleSayThem(t *testing.T) {
	s := Screen{Now: now}
	for d, want := range map[time.Duration]string{
		0: "just now", 4 * time.Second: "just now", 5 * time.Second: "5 seconds ago", 59 * time.Second: "59 seconds ago", time.Minute: "1 minute ago",
		119 * time.Minute: "1 hour ago", 3 * time.Hour: "3 hours ago", 47 * time.Hour: "1 day ago", 13 * day: "13 days ago", 20 * day: "2 weeks ago",
		60 * day: "2026-01-13", -30 * time.Second: "just now", -2 * day: "2026-03-16",
	} {
		if got := s.ago(at(d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := s.ago(time.Time{}); got != "at an unknown time" {
		t.Errorf("no time: %q", got)
	}
}

func TestNetPackageChanges(t *testing.T) {
	change := func(name, kind, from, to string) record.PackageChange {
		return record.PackageChange{Name: name, Arch: "all", Change: kind, Old: from, New: to}
	}
	history := map[uint64]Step{
		2: {Number: 2, Parent: ref(1), Changes: []record.PackageChange{change("a", record.Upgraded, "1", "2"), change("b", record.Added, "", "1"), change("k", record.Added, "", "6.2")}},
		3: {Number: 3, Parent: ref(2), Changes: []record.PackageChange{change("a", record.Upgraded, "2", "3"), change("b", record.Removed, "1", ""), change("c", record.Removed, "5", "")}},
		4: {Number: 4, Parent: ref(2), Changes: []record.PackageChange{change("a", record.Upgraded, "2", "3"), change("k", record.Added, "", "6.3")}},
	}
	find := func(n uint64) (Step, bool) { s, ok := history[n]; return s, ok }
	for _, c := range []struct {
		from, to uint64
		want     []record.PackageChange
	}{
		{1, 3, []record.PackageChange{change("a", record.Upgraded, "1", "3"), change("c", record.Removed, "5", ""), change("k", record.Added, "", "6.2")}},
		{3, 1, []record.PackageChange{change("a", record.Downgraded, "3", "1"), change("c", record.Added, "", "5"), change("k", record.Removed, "6.2", "")}},
		{3, 4, []record.PackageChange{change("b", record.Added, "", "1"), change("c", record.Added, "", "5"), change("k", record.Added, "", "6.3")}},
		{1, 4, []record.PackageChange{change("a", record.Upgraded, "1", "3"), change("b", record.Added, "", "1"), change("k", record.Added, "", "6.2"), change("k", record.Added, "", "6.3")}},
	} {
		d := Between(c.from, c.to, find)
		if !d.Known {
			t.Errorf("%d → %d is not known", c.from, c.to)
		}
		if diff := cmp.Diff(c.want, d.Packages()); diff != "" {
			t.Errorf("%d → %d: -want +got:\n%s", c.from, c.to, diff)
		}
	}
	if Between(1, 9, find).Known || Between(0, 4, find).Known {
		t.Error("what has no record is said to be known")
	}
}

func TestProgressWithoutATerminalIsALineAPhase(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, nil, "adding htop")
	p.Output("Get:1 …\n")
	p.Tick()
	p.Step(bus.Progress{Phase: "commit", Fraction: -1, Text: "looking at what changed"})
	p.Step(bus.Progress{Phase: "commit", Fraction: -1, Text: "looking at what changed"})
	p.Step(bus.Progress{Phase: "commit", Fraction: -1, Text: "making it the default"})
	p.Step(bus.Progress{Phase: "install", Fraction: 0.5, Text: "Unpacking htop"})
	p.Step(bus.Progress{Phase: "install", Fraction: 0.7, Text: "Configuring htop"})
	p.End()
	want := "adding htop\nadding htop: looking at what changed\nadding htop: making it the default\nadding htop: installing\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProgressShowsHowFar(t *testing.T) {
	install := bus.Progress{Phase: "install", Fraction: 0.458, Text: "Unpacking htop (amd64)"}
	for _, test := range []struct {
		width int
		step  bus.Progress
		want  string
	}{
		{120, install, "⠋ adding htop: installing ━━━━━━━─────────  45 %  Unpacking htop (amd64)"},
		{80, install, "⠋ adding htop: installing ━━━━━━━─────────  45 %  Unpacking htop (amd64)"},
		{60, install, "⠋ adding htop: installing ━━━━━━━─────────  45 %"},
		{40, install, "⠋ adding htop: installing ━━───  45 %"},
		{34, install, "⠋ adding htop: installing  45 %"},
		{80, bus.Progress{Phase: "download", Fraction: 1, Text: "1.2 MB/s, file 2 of 2"}, "⠋ adding htop: downloading ━━━━━━━━━━━━━━━━ 100 %  1.2 MB/s, file 2 of 2"},
		{80, bus.Progress{Phase: "install", Fraction: -1, Text: "Checking for file conflicts"}, "⠋ adding htop: installing  Checking for file conflicts"},
		{80, bus.Progress{Phase: "commit", Fraction: -1, Text: "merging /etc"}, "⠋ adding htop: merging /etc"},
	} {
		var out bytes.Buffer
		p := NewProgress(&out, func() int { return test.width }, "adding htop")
		out.Reset()
		p.Step(test.step)
		if got := ansi.Strip(strings.TrimPrefix(out.String(), "\r\x1b[K")); got != test.want || ansi.StringWidth(got) > test.width-3 {
			t.Errorf("%d columns: %q, want %q", test.width, got, test.want)
		}
	}
}

func TestProgressOnATerminalStaysOnItsLine(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, func() int { return 40 }, "adding htop")
	p.Output("Reading package lists... 10%\rReading package lists... Done\nGet:1 http://deb.debian.org/debian trixie/main amd64 htop\n")
	p.Tick()
	p.Step(bus.Progress{Phase: "commit", Fraction: -1, Text: "making it the default"})
	p.End()
	p.Tick()
	frames := strings.Split(strings.TrimPrefix(out.String(), "\r\x1b[K"), "\r\x1b[K")
	want := []string{"⠋ adding htop", "⠙ adding htop  Get:1 http://deb.debi…", "⠙ adding htop: making it the default", ""}
	for i := range frames {
		frames[i] = ansi.Strip(frames[i])
	}
	if diff := cmp.Diff(want, frames); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
