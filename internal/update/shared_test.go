// Shared trees on a real btrfs: captured by transactions, handed over at boots,
// taken back, and no trace where a transaction came to nothing.

package update_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

func TestMain(m *testing.M) {
	if sandbox.IsInit() {
		os.Exit(sandbox.Init())
	}
	os.Exit(m.Run())
}

// shared is a bench whose system has /var and /var/lib/data as subvolumes, /srv
// on ext4, and a second mount of a part of /var.
type shared struct {
	*bench
	top, disk string
}

var libraryLine = regexp.MustCompile(`(/\S+) \(0x`)

// program copies a program of this machine and its libraries into a root.
func program(t testing.TB, root, name string) {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	libraries := libraryLine.FindAllStringSubmatch(testbed.Run(t, "ldd", file), -1)
	for _, m := range append(libraries, []string{"", file}) {
		to := filepath.Join(root, m[1])
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		testbed.Run(t, "cp", "-L", m[1], to)
	}
}

func newShared(t *testing.T) *shared {
	root := testbed.Layout(t, "flat")
	s := &shared{bench: unstartedBench(t, root), top: filepath.Join(filepath.Dir(root), "top")}
	s.must(os.RemoveAll(root + "/bin"))
	for _, link := range []string{"bin", "lib", "lib64", "sbin"} {
		s.must(os.MkdirAll(filepath.Join(root, "usr", link), 0o755))
		s.must(os.Symlink("usr/"+link, filepath.Join(root, link)))
	}
	for _, name := range []string{"sh", "rm", "mkdir", "cat", "chown"} {
		program(t, root, name)
	}
	s.must(os.RemoveAll(root + "/var"))
	for _, dir := range []string{"var", "srv", "opt/app"} {
		s.must(os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	for _, subvolume := range []string{"@var", "@data"} {
		testbed.Run(t, "btrfs", "-q", "subvolume", "create", filepath.Join(s.top, subvolume))
	}
	for _, dir := range []string{"@var/lib/data", "@var/lib/app", "@var/log"} {
		s.must(os.MkdirAll(filepath.Join(s.top, dir), 0o755))
	}
	testbed.Ext4(t, root+"/srv", 64)
	s.disk = testbed.Device(t, root+"/srv")
	s.must(os.Remove(root + "/srv/lost+found"))
	s.mount()
	s.start()
	return s
}

// mount mounts the shared trees as a boot would.
func (s *shared) mount() {
	s.Helper()
	testbed.Mount(s, s.device, s.root+"/var", "subvol=@var")
	testbed.Mount(s, s.device, s.root+"/var/lib/data", "subvol=@data")
	if s.boots > 0 {
		s.must(unix.Mount(s.disk, s.root+"/srv", "ext4", unix.MS_NOATIME, ""))
	}
	s.must(unix.Mount(s.root+"/var/lib/app", s.root+"/opt/app", "", unix.MS_BIND, ""))
}

// reboot mounts what boots next, and starts the daemon unless early is given, which
// runs with an updater that did nothing else yet.
func (s *shared) reboot(early func()) {
	s.Helper()
	s.boot("", early)
}

// boot is reboot into what the options of a mount name.
func (s *shared) boot(options string, early func()) {
	s.Helper()
	s.stop()
	s.root = filepath.Join(s.TempDir(), "root")
	testbed.Mount(s, s.device, s.root, options)
	testbed.Mount(s, s.device, filepath.Join(s.root, ".snapshots"), "subvol=@snapshots")
	s.mount()
	if early == nil {
		s.start()
		return
	}
	s.prepare()
	early()
}

// run runs a script in a transaction of one go.
func (s *shared) run(script string) update.State {
	s.Helper()
	t, err := s.u.Run(s.Context(), update.Request{Kind: update.KindRun, Message: script}, update.Command{Argv: []string{"sh", "-e", "-c", script}})
	s.must(err)
	<-s.ended
	state := t.State()
	if state.Failure != nil {
		s.Fatalf("%s\n%v\n%s", script, state.Failure, s.output(t))
	}
	return state
}

func (s *shared) output(t *update.Transaction) string {
	f, err := s.u.OutputFile(t.Number())
	if err != nil {
		return ""
	}
	defer f.Close()
	return testbed.Run(s, "zstd", "-dc", f.Name())
}

func (s *shared) write(path, text string) {
	s.Helper()
	s.must(os.MkdirAll(filepath.Dir(s.root+path), 0o755))
	s.must(os.WriteFile(s.root+path, []byte(text), 0o644))
}

// holds compares a live file; "" is none.
func (s *shared) holds(path, want string) {
	s.Helper()
	got, err := os.ReadFile(s.root + path)
	if err != nil && !os.IsNotExist(err) || string(got) != want {
		s.Errorf("%s is %q (%v), want %q", path, got, err, want)
	}
}

// aside lists the subvolumes of captures and forks.
func (s *shared) aside() []string {
	s.Helper()
	all, err := btrfs.Driver{}.List(s.root)
	s.must(err)
	found := []string{}
	for _, one := range all {
		if rest, ok := strings.CutPrefix(one.Path, "@snapshots/"); ok && (strings.Contains(rest, "/capture/") || strings.Contains(rest, "/shared/")) {
			found = append(found, rest)
		}
	}
	return found
}

func (s *shared) expectAside(want ...string) {
	s.Helper()
	if diff := cmp.Diff(append([]string{}, want...), s.aside()); diff != "" {
		s.Errorf("captures and forks, -want +got:\n%s", diff)
	}
}

func (s *shared) captured(n uint64) string {
	s.Helper()
	var said strings.Builder
	for _, tree := range s.record(snapshot.Number(n)).Shared {
		for _, p := range tree.Captured {
			said.WriteString(p.Path + " " + p.Decision + "\n")
		}
	}
	return said.String()
}

func TestSharedTreesAreCaptured(t *testing.T) {
	s := newShared(t)
	s.write("/var/lib/app/state", "before")
	s.write("/var/lib/data/f", "before")
	s.write("/srv/f", "before")
	one := s.run(`
		[ "$(cat /var/lib/app/state /var/lib/data/f /srv/f /opt/app/state)" = beforebeforebeforebefore ]
		echo one >/var/lib/app/new; echo one >/opt/app/bound; rm /var/lib/data/f; echo one >/srv/f; echo one >/usr/one`)
	for path, want := range map[string]string{"/var/lib/app/new": "", "/var/lib/app/bound": "", "/var/lib/data/f": "before", "/srv/f": "before"} {
		s.holds(path, want)
	}
	if got, want := s.captured(one.Number), "/srv/f replaced\n/var/lib/app/bound created\n/var/lib/app/new created\n/var/lib/data/f removed\n"; got != want {
		t.Errorf("it captured\n%swant\n%s", got, want)
	}
	s.expectAside("1/capture/srv", "1/capture/var", "1/shared/var", "1/capture/var+lib+data", "1/shared/var+lib+data")
	s.write("/var/lib/app/live", "live")
	two := s.run(`
		[ "$(cat /var/lib/app/live /opt/app/new /srv/f /usr/one)" = "liveone
one
one" ]
		[ ! -e /var/lib/data/f ]
		echo two >>/var/lib/app/new`)
	if got, want := s.captured(two.Number), "/var/lib/app/new replaced\n"; got != want {
		t.Errorf("the second captured\n%swant\n%s", got, want)
	}
	if got := s.record(2).SharedBelow; len(got) != 1 || got[0] != 1 {
		t.Errorf("it is stacked on the captures of %v", got)
	}
	for _, sub := range []string{"capture/var", "shared/var"} {
		if s.record(2).Subvolumes[sub].UUID == "" {
			t.Errorf("the record does not name %s: %v", sub, s.record(2).Subvolumes)
		}
	}
}

func TestWritesToSharedTreesAloneAreAChange(t *testing.T) {
	s := newShared(t)
	if state := s.run("echo x >/var/log/app.log"); !state.Unchanged {
		t.Error("a log alone made a snapshot")
	}
	s.expectAside()
	if state := s.run("echo x >/srv/x"); state.Unchanged || state.Phase != record.Committed {
		t.Errorf("it ended as %+v", state)
	}
	if state := s.run("cat /srv/x >/dev/null"); !state.Unchanged {
		t.Error("reading is a change")
	}
	if state := s.run("echo y >/srv/y; rm /srv/y; echo y >/var/y; rm /var/y"); !state.Unchanged {
		t.Error("what was taken back is a change")
	}
	s.expectAside("2/capture/srv")
}

func TestOpenTransactionGoesOnWithItsCaptures(t *testing.T) {
	s := newShared(t)
	s.write("/var/lib/app/state", "before")
	s.write("/srv/f", "before")
	tx, err := s.u.Begin(t.Context(), update.Request{Kind: update.KindBegin})
	s.must(err)
	s.expectAside() // nothing was run
	s.exec(tx, "echo one >/var/lib/app/state; echo one >/srv/new")
	s.stop()
	s.start()
	if tx = s.u.Current(); tx == nil {
		t.Fatal("it does not wait")
	}
	s.write("/var/lib/app/live", "later")
	s.exec(tx, `[ "$(cat /var/lib/app/state /srv/new)" = "one
one" ]; [ ! -e /var/lib/app/live ]; rm /srv/f; echo two >>/var/lib/app/state`)
	s.must(tx.Commit(update.CommitOptions{}))
	<-s.ended
	if got, want := s.captured(1), "/srv/f removed\n/srv/new created\n/var/lib/app/state replaced\n"; got != want {
		t.Errorf("it captured\n%swant\n%s", got, want)
	}
	s.holds("/var/lib/app/state", "before")
}

// exec runs a script in an open transaction.
func (s *shared) exec(tx *update.Transaction, script string) {
	s.Helper()
	for len(s.finished) > 0 {
		<-s.finished // of others, long ago
	}
	_, err := tx.Exec(update.Command{Argv: []string{"sh", "-e", "-c", script}})
	s.must(err)
	<-s.finished
	if exit := tx.State().Exit; exit != 0 {
		s.Fatalf("%s\nended with %d", script, exit)
	}
}

func TestWhatComesToNothingLeavesNoTraceOfSharedTrees(t *testing.T) {
	s := newShared(t)
	s.write("/srv/f", "before")
	tx, err := s.u.Begin(t.Context(), update.Request{Kind: update.KindBegin})
	s.must(err)
	s.exec(tx, "rm -r /var/lib/app /srv/f; echo x >/var/lib/data/x")
	s.must(tx.Discard(t.Context()))
	<-s.ended
	s.expectAside()
	failing, err := s.u.Run(t.Context(), update.Request{Kind: update.KindRun}, update.Command{Argv: []string{"sh", "-c", "echo x >/srv/x; exit 3"}})
	s.must(err)
	<-s.ended
	if failing.State().Failure == nil {
		t.Error("it did not fail")
	}
	s.expectAside()
	s.holds("/srv/f", "before")
	s.holds("/srv/x", "")
}

// early runs the hand-over as an early boot does, and nothing else.
func (s *shared) early() update.HandOver {
	s.Helper()
	h, err := s.u.HandOver(s.Context())
	s.must(err)
	return h
}

func TestCapturesAreHandedOverAtTheFirstBoot(t *testing.T) {
	s := newShared(t)
	s.write("/var/lib/app/state", "before")
	s.write("/var/lib/app/both", "before")
	s.write("/var/lib/data/f", "before")
	one := s.run("echo one >/var/lib/app/state; echo one >/var/lib/app/both; rm /var/lib/data/f; echo one >/srv/new; echo one >/usr/one").Number
	two := s.run("echo two >>/var/lib/app/state; echo two >/opt/app/new; echo two >/usr/two").Number
	s.write("/var/lib/app/both", "live")
	var first, second update.HandOver
	s.reboot(func() { first, second = s.early(), s.early() })
	want := []string{
		"handed over to /srv what transaction 1 captured: 1 paths",
		"handed over to /var what transaction 1 captured: 2 paths, 1 of them kept as the live side had them",
		"handed over to /var what transaction 2 captured: 2 paths",
		"handed over to /var/lib/data what transaction 1 captured: 1 paths",
	}
	if diff := cmp.Diff(want, first.Done); diff != "" || len(first.Left) > 0 {
		t.Errorf("the hand-over says, -want +got:\n%s\n%q", diff, first.Left)
	}
	if len(second.Done)+len(second.Left) > 0 {
		t.Errorf("done again it says %+v", second)
	}
	for path, want := range map[string]string{
		"/var/lib/app/state": "one\ntwo\n", "/var/lib/app/new": "two\n", "/var/lib/app/both": "live", "/var/lib/app/both.txupd-1": "one\n", "/var/lib/data/f": "", "/srv/new": "one\n",
	} {
		s.holds(path, want)
	}
	s.must(s.u.Resume(t.Context()))
	for _, tree := range s.record(snapshot.Number(one)).Shared {
		if tree.HandedOver == nil || tree.By == nil || *tree.By != two {
			t.Errorf("the record says of %s: %+v", tree.Tree, tree)
		}
	}
	kept := s.record(snapshot.Number(one)).Shared[1]
	if len(kept.Decisions) != 1 || kept.Decisions[0].Aside != "/var/lib/app/both.txupd-1" || kept.Became["kept"] != 1 {
		t.Errorf("the record says %+v", kept)
	}
	// Until the boot is found good all can be taken back; then nothing is kept.
	if got := s.aside(); len(got) != 11 {
		t.Errorf("there are %q", got)
	}
	s.judged()
	s.expectAside()
	if got := s.record(snapshot.Number(two)).Subvolumes; len(got) != 4 {
		t.Errorf("the record has %v", got)
	}
	s.verifyJournal()
	// A later one starts from what was handed over.
	if state := s.run(`[ "$(cat /var/lib/app/state)" = "one
two" ]; echo three >/usr/three`); s.record(snapshot.Number(state.Number)).SharedBelow != nil {
		t.Error("it is stacked on what was handed over")
	}
}

func (s *shared) verifyJournal() {
	s.Helper()
	report, err := s.journal.Verify(s.Context())
	s.must(err)
	if len(report.Problems) > 0 {
		s.Errorf("the journal: %+v", report.Problems)
	}
}

func TestTheDaemonHandsOverWhatNoEarlyBootDid(t *testing.T) {
	s := newShared(t)
	s.run("echo one >/srv/new")
	s.reboot(nil)
	s.holds("/srv/new", "one\n")
	s.judged()
	s.expectAside()
}

// TestWhatIsAboutToBeLeftIsHandedNothing: a boot that ended in emergency mode.
func TestWhatIsAboutToBeLeftIsHandedNothing(t *testing.T) {
	s := newShared(t)
	s.run("echo one >/srv/new")
	s.reboot(func() {
		s.u.Passing = true
		s.must(s.u.Resume(t.Context()))
	})
	if _, err := os.Lstat(filepath.Join(s.root, "srv/new")); !os.IsNotExist(err) {
		t.Errorf("it was handed over: %v", err)
	}
	s.stop()
	s.start()
	s.holds("/srv/new", "one\n")
}

// TestAnEarlyBootAfterACommitThatWasCutShort: the switch happened, and nobody recorded that.
func TestAnEarlyBootAfterACommitThatWasCutShort(t *testing.T) {
	s := newShared(t)
	tx, err := s.u.Begin(t.Context(), update.Request{Kind: update.KindBegin, Message: "cut short"})
	s.must(err)
	s.exec(tx, "echo one >/var/new")
	var open record.Record
	var steps []byte
	s.must(s.journal.View(func(tx *journal.Tx) (err error) {
		if open, err = tx.Record(1); err != nil {
			return err
		}
		steps, err = tx.Steps(1)
		return err
	}))
	s.must(tx.Commit(update.CommitOptions{}))
	<-s.ended
	s.must(s.journal.Update(func(tx *journal.Tx) error {
		return errors.Join(tx.Put("as it was", nil, open), tx.PutSteps(1, steps))
	}))
	s.reboot(func() {
		if h := s.early(); len(h.Done) != 1 {
			t.Errorf("it says %+v", h)
		}
	})
	s.holds("/var/new", "one\n")
	s.must(s.u.Resume(t.Context()))
	if rec := s.record(1); rec.Phase != record.Committed || rec.Message != "cut short" || rec.Shared[0].HandedOver == nil {
		t.Errorf("the record says %+v", rec)
	}
	s.judged()
	s.expectAside()
}

func TestRollingBackBeforeTheRebootHandsNothingOver(t *testing.T) {
	s := newShared(t)
	n := s.run("echo one >/srv/new; echo one >/var/new").Number
	_, err := s.u.Rollback(t.Context(), "booted", record.Actor{})
	s.must(err)
	s.reboot(nil)
	s.holds("/srv/new", "")
	s.holds("/var/new", "")
	s.judged()
	s.expectAside("1/capture/srv", "1/capture/var", "1/shared/var")
	// It may still be booted.
	_, err = s.u.Rollback(t.Context(), "1", record.Actor{})
	s.must(err)
	s.reboot(nil)
	s.holds("/srv/new", "one\n")
	s.holds("/var/new", "one\n")
	_, err = s.u.Rollback(t.Context(), "0", record.Actor{})
	s.must(err)
	s.reboot(nil)
	s.holds("/var/new", "one\n") // kept, as nothing else was asked for
	s.must(s.u.Delete(t.Context(), snapshot.Number(n), record.Actor{}))
	s.expectAside()
}

func TestCapturesProtectTheirSnapshot(t *testing.T) {
	s := newShared(t)
	s.run("echo one >/var/one")
	s.run("echo two >/usr/two")
	_, err := s.u.Rollback(t.Context(), "booted", record.Actor{})
	s.must(err)
	err = s.u.Delete(t.Context(), 1, record.Actor{})
	if err == nil || !strings.Contains(err.Error(), "snapshot 2 needs what it captured of shared trees") {
		t.Errorf("deleting the older one: %v", err)
	}
	s.must(s.u.Delete(t.Context(), 2, record.Actor{}))
	s.must(s.u.Delete(t.Context(), 1, record.Actor{}))
	s.expectAside()
	tx, err := s.u.Begin(t.Context(), update.Request{Kind: update.KindRun})
	s.must(err)
	s.exec(tx, "[ ! -e /var/one ]")
	s.must(tx.Discard(t.Context()))
}

func TestNothingIsHandedOverToARootThatNobodyKnows(t *testing.T) {
	s := newShared(t)
	s.run("echo one >/srv/new")
	s.stop()
	s.must(btrfs.Driver{}.Fork(s.top+"/@snapshots/1/snapshot", s.top+"/by-hand", false))
	s.root = filepath.Join(t.TempDir(), "root")
	testbed.Mount(t, s.device, s.root, "subvol=by-hand")
	testbed.Mount(t, s.device, filepath.Join(s.root, ".snapshots"), "subvol=@snapshots")
	s.mount()
	s.prepare()
	if h := s.early(); len(h.Done) > 0 || len(h.Left) != 1 || !strings.Contains(h.Left[0], "nothing is known of the root that runs") {
		t.Errorf("it says %+v", h)
	}
	s.must(s.u.Resume(t.Context()))
	s.holds("/srv/new", "")
	s.expectAside("1/capture/srv")
}

func TestATreeThatIsNotThereGetsItsCapturesLater(t *testing.T) {
	s := newShared(t)
	s.run("echo one >/srv/new; echo one >/var/new")
	s.stop()
	s.boot("", func() {
		s.must(unix.Unmount(s.root+"/srv", 0))
		h := s.early()
		if len(h.Done) != 1 || len(h.Waits) != 1 || !strings.Contains(h.Waits[0], "nothing is mounted at /srv") {
			t.Errorf("it says %+v", h)
		}
		s.must(s.u.Resume(t.Context()))
	})
	if w := strings.Join(s.status().Warnings, "\n"); !strings.Contains(w, "nothing is mounted at /srv") {
		t.Errorf("status warns of %q", w)
	}
	s.judged()
	s.expectAside("1/capture/srv")
	s.reboot(nil)
	s.holds("/srv/new", "one\n")
	s.judged()
	s.expectAside()
}

func TestRollbackRestoresSharedTrees(t *testing.T) {
	s := newShared(t)
	s.write("/var/lib/app/state", "before")
	s.write("/var/lib/app/later", "before")
	s.run(`echo one >/var/lib/app/state; echo one >/var/lib/app/later; echo one >/var/new; echo one >/srv/new; echo one >"$(printf '/var/odd\377')"`)
	s.reboot(nil)
	s.holds("/var/new", "one\n")
	s.holds("/var/odd\xff", "one\n")
	s.write("/var/lib/app/later", "live")
	s.write("/var/lib/app/own", "live")
	_, err := s.u.RollbackRestoring(t.Context(), "0", record.Actor{})
	s.must(err)
	if h := s.early(); len(h.Done)+len(h.Left) > 0 {
		t.Errorf("before the reboot: %+v", h)
	}
	s.holds("/var/new", "one\n")
	if err := s.u.Delete(t.Context(), 1, record.Actor{}); err == nil {
		t.Error("what is to be taken back was deleted")
	}
	var h, again update.HandOver
	s.reboot(func() { h, again = s.early(), s.early() })
	for path, want := range map[string]string{
		"/var/lib/app/state": "before", "/var/lib/app/later": "live", "/var/lib/app/own": "live", "/var/new": "", "/var/odd\xff": "", "/srv/new": "one\n",
	} {
		s.holds(path, want)
	}
	if len(h.Done) != 1 || len(h.Left) != 2 || len(again.Done)+len(again.Left) > 0 {
		t.Errorf("it says %q, leaves %q, and says again %+v", h.Done, h.Left, again)
	}
	s.must(s.u.Resume(t.Context()))
	s.expectAside("1/capture/var", "1/shared/var")
	// Booted once more it gets its captures once more.
	_, err = s.u.Rollback(t.Context(), "1", record.Actor{})
	s.must(err)
	s.reboot(nil)
	s.holds("/var/new", "one\n")
	s.holds("/var/lib/app/later", "live")
	s.judged()
	s.expectAside()
	if _, err = s.u.RollbackRestoring(t.Context(), "0", record.Actor{}); err == nil || !strings.Contains(err.Error(), "until its boot is found good") {
		t.Errorf("of a good boot: %v", err)
	}
	s.verifyJournal()
}

func TestARequestToRestoreIsForOneRootAlone(t *testing.T) {
	s := newShared(t)
	s.run("echo one >/var/new")
	s.reboot(nil)
	_, err := s.u.RollbackRestoring(t.Context(), "0", record.Actor{})
	s.must(err)
	// What was made of the running root is not what was rolled back to, although that is its ancestor.
	tx, err := s.u.Begin(t.Context(), update.Request{Kind: update.KindBegin, From: "booted"})
	s.must(err)
	s.exec(tx, "echo two >/usr/two")
	s.must(tx.Commit(update.CommitOptions{}))
	<-s.ended
	s.reboot(nil)
	s.holds("/var/new", "one\n")
	s.judged()
	s.expectAside()
}

// cut is a context that ends when it was asked for its end so many times.
type cut struct {
	context.Context
	left int
}

func (c *cut) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Value hides the contexts that know a cause.
func (c *cut) Value(any) any { return nil }

// TestAHandOverThatIsCutShort goes on at the next call, and is taken back where another root boots.
func TestAHandOverThatIsCutShort(t *testing.T) {
	s := newShared(t)
	for i := range 6 {
		s.write("/var/lib/app/f"+string(rune('0'+i)), "before")
	}
	s.write("/var/lib/data/f", "before")
	s.run("for i in 0 1 2 3 4 5; do echo one >/var/lib/app/f$i; done; echo one >/var/new; echo one >/var/lib/data/f; mkdir /var/lib/dir; echo one >/var/lib/dir/f")
	s.run("echo two >/var/lib/app/f3; rm /var/lib/app/f4; rm -r /var/lib/dir; echo two >/var/two")
	live := func() string {
		return testbed.Run(t, "sh", "-c", "cd "+s.root+"/var && find . -not -name .txupd* -type f | sort | xargs head -v")
	}
	before := live()
	cuts := 0
	for n := 0; ; n += 3 {
		ended := false
		s.boot("subvol=@snapshots/2/snapshot", func() {
			_, err := s.u.HandOver(&cut{context.Background(), n})
			ended = err == nil
			if n%2 == 0 && !ended { // cut short once more
				_, err = s.u.HandOver(&cut{context.Background(), n / 2})
				ended = err == nil
			}
		})
		if ended {
			break
		}
		cuts++
		s.boot("subvol=@", func() { s.early() })
		if now := live(); now != before {
			t.Fatalf("cut at %d, then taken back: -want +got\n%s", n, cmp.Diff(before, now))
		}
		s.must(s.u.Resume(t.Context()))
		if got := s.aside(); strings.Contains(strings.Join(got, " "), "%") {
			t.Fatalf("cut at %d: %q are left", n, got)
		}
	}
	if cuts < 5 {
		t.Errorf("it was cut short %d times only", cuts)
	}
	after := live()
	for _, want := range []string{"f3 <==\ntwo", "./two <==\ntwo", "./new <==\none", "data/f <==\none"} {
		if !strings.Contains(after, want) {
			t.Errorf("%q is not in\n%s", want, after)
		}
	}
	if strings.Contains(after, "f4") || strings.Contains(after, "dir/f") {
		t.Errorf("what was removed is in\n%s", after)
	}
	s.verifyJournal()
	t.Logf("%d cuts", cuts)
}

// TestAHandOverGoesOn where it was cut short, with the same end.
func TestAHandOverGoesOn(t *testing.T) {
	s := newShared(t)
	s.write("/var/lib/app/f", "before")
	s.run("echo one >/var/lib/app/f; echo one >/var/new; echo one >/var/lib/data/f; mkdir /var/lib/dir; echo one >/var/lib/dir/f; echo one >/srv/new")
	calls := 0
	s.reboot(func() {
		for n := 0; ; n += 2 {
			calls++
			if _, err := s.u.HandOver(&cut{context.Background(), n}); err == nil {
				return
			}
		}
	})
	for _, path := range []string{"/var/lib/app/f", "/var/new", "/var/lib/data/f", "/var/lib/dir/f", "/srv/new"} {
		s.holds(path, "one\n")
	}
	for _, tree := range s.record(1).Shared {
		if tree.HandedOver == nil || tree.Became["kept"] > 0 {
			t.Errorf("the record says %+v", tree)
		}
	}
	if calls < 4 {
		t.Errorf("it took %d calls only", calls)
	}
	s.must(s.u.Resume(t.Context()))
	s.judged()
	s.expectAside()
}

// databaseAt is a package manager of which only the place of its database is asked.
type databaseAt struct {
	pkgmgr.Manager
	dir string
}

func (d databaseAt) Database() []string { return []string{d.dir} }
func (d databaseAt) Caches() []string   { return nil }
func (d databaseAt) Name() string       { return "apt" }

func TestDatabaseOnASharedTreeIsRefused(t *testing.T) {
	s := newShared(t)
	s.write("/var/lib/dpkg/status", "")
	s.write("/usr/lib/sysimage/rpm/rpmdb.sqlite", "")
	s.must(os.Symlink("/usr/lib/sysimage/rpm", s.root+"/var/lib/rpm"))
	for database, want := range map[string]string{
		"/var/lib/dpkg": "it lies on the shared tree /var; make /var part of the root", "/var/lib/rpm": "", "/usr/lib/sysimage/rpm": "", "/var/lib/none": "",
	} {
		s.stop()
		s.packages = databaseAt{dir: database}
		s.start()
		doc, err := s.u.Doctor()
		s.must(err)
		blocks := slices.DeleteFunc(doc.Problems, func(p bus.Problem) bool { return !p.Blocks })
		tx, err := s.u.Begin(t.Context(), update.Request{Kind: update.KindBegin})
		if want == "" {
			s.must(err)
			s.must(tx.Discard(t.Context()))
			<-s.ended
			if len(blocks) > 0 {
				t.Errorf("%s: doctor says %+v", database, blocks)
			}
			continue
		}
		if !errors.Is(err, fault.ErrNotSupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: it begins with %v, want %q", database, err, want)
		}
		if len(blocks) != 1 || !strings.Contains(err.Error(), blocks[0].Remedy) {
			t.Errorf("%s: doctor says %+v", database, blocks)
		}
	}
}

// TestCapturedFilesFollowRenumberedUsers: two users got the same id, one on each side.
func TestCapturedFilesFollowRenumberedUsers(t *testing.T) {
	s := newShared(t)
	s.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
	s.write("/etc/group", "root:x:0:\n")
	s.write("/var/lib/app/admins", "x")
	s.must(os.Chown(s.root+"/var/lib/app/admins", 990, 990))
	tx, err := s.u.Begin(t.Context(), update.Request{Kind: update.KindBegin})
	s.must(err)
	s.exec(tx, `echo service:x:990:990::/var/lib/service:/bin/sh >>/etc/passwd; echo service:x:990: >>/etc/group
		mkdir /var/lib/service /srv/service; echo x >/var/lib/service/state; chown -R 990:990 /var/lib/service /srv/service; echo y >>/var/lib/app/admins`)
	s.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nadmin:x:990:990::/home/admin:/bin/sh\n")
	s.write("/etc/group", "root:x:0:\nadmin:x:990:\n")
	s.must(tx.Commit(update.CommitOptions{}))
	<-s.ended
	s.must(tx.State().Failure)
	s.reboot(nil)
	passwd, err := os.ReadFile(s.root + "/etc/passwd")
	s.must(err)
	var id uint32
	for line := range strings.Lines(string(passwd)) {
		if fields := strings.Split(line, ":"); fields[0] == "service" {
			_, err = fmt.Sscan(fields[2], &id)
			s.must(err)
		}
	}
	if id == 0 || id == 990 {
		t.Fatalf("the users have\n%s", passwd)
	}
	for path, want := range map[string]uint32{"/var/lib/service": id, "/var/lib/service/state": id, "/srv/service": id, "/var/lib/app/admins": 990} {
		var st unix.Stat_t
		s.must(unix.Stat(s.root+path, &st))
		if st.Uid != want || st.Gid != want {
			t.Errorf("%s is of %d:%d, want %d", path, st.Uid, st.Gid, want)
		}
	}
}
