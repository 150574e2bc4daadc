// Every failpoint times every kind of failure: whatever goes wrong, and
// whenever, the machine boots the old or the new, nothing that was acknowledged
// is lost, and nothing is left over.

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/txupd/txupd/integration/oracle"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/failpoint"
)

// scenario is one thing that a user does, and that is made to fail.
type scenario struct {
	name string
	// boots: it changes what boots, and so differs from one way of booting to the other.
	boots bool
	// before makes what act needs; nothing fails in it.
	before func(s *system)
	// after takes away what before made in what runs.
	after func(s *system)
	// act is what is made to fail.
	act func(s *system) []result
	// expect is what the exit codes of act promise.
	expect func(s *system, before, after oracle.Facts, results []result) oracle.Expect
}

// change is different in every transaction.
const change = "echo $TXUPD_TRANSACTION >/usr/x"

var scenarios = []scenario{
	{
		name:  "run",
		boots: true,
		act: func(s *system) []result {
			return []result{s.txctl("run", "-m", "acknowledged", "--", "sh", "-c", change)}
		},
		expect: commits,
	},
	{
		name:   "command fails",
		act:    func(s *system) []result { return []result{s.txctl("run", "--", "sh", "-c", change+"; false")} },
		expect: keeps,
	},
	{
		name:   "nothing changes",
		act:    func(s *system) []result { return []result{s.txctl("run", "--", "true")} },
		expect: keeps,
	},
	{
		name: "steps",
		act: func(s *system) []result {
			return []result{s.txctl("begin", "-m", "acknowledged"), s.txctl("exec", "--", "sh", "-c", change), s.txctl("commit")}
		},
		expect: func(s *system, before, after oracle.Facts, results []result) oracle.Expect {
			s.t.Helper()
			e := commits(s, before, after, results[2:])
			if results[1].exit != 0 && results[2].exit == 0 {
				e = oracle.Expect{Next: append([]uint64{before.Next()}, appeared(before, after)...)} // nothing may have changed
			}
			e.Open = appeared(before, after)
			begun, done := results[0].exit == 0, results[1].exit == 0
			// A commit that fails gives its transaction up, and says so.
			told := strings.Contains(results[2].stderr, "nothing was changed")
			if begun && done && !told && (len(e.Open) != 1 || !exists(s.inSnapshot(e.Open[0], "usr/x"))) {
				s.t.Errorf("what an open transaction was told is done is lost: %d", e.Open)
			}
			return e
		},
	},
	{
		name:   "discard",
		before: func(s *system) { s.must("begin"); s.must("exec", "--", "sh", "-c", change) },
		act:    func(s *system) []result { return []result{s.txctl("discard")} },
		expect: func(s *system, before, after oracle.Facts, results []result) oracle.Expect {
			e := keeps(s, before, after, results)
			if results[0].exit != 0 {
				e.Open = []uint64{numbers(before)[0]}
			}
			return e
		},
	},
	{
		name:   "rollback",
		before: func(s *system) { s.must("run", "--", "sh", "-c", change) },
		act:    func(s *system) []result { return []result{s.txctl("rollback", "-y", "booted")} },
		expect: func(_ *system, before, after oracle.Facts, results []result) oracle.Expect {
			return switches(before, before.NumberOf(before.Booted), results[0])
		},
	},
	{
		name:   "shared trees",
		before: func(s *system) { s.freshShared() },
		// On machines without shared trees it lies in the running root.
		after: func(s *system) { must(s.t, os.Remove(filepath.Join(s.machine.Root, "srv/old"))) },
		act: func(s *system) []result {
			return []result{s.txctl("run", "-m", "acknowledged", "--", "sh", "-c", changeShared)}
		},
		expect: func(s *system, before, after oracle.Facts, results []result) oracle.Expect {
			s.notHandedOver()
			return commits(s, before, after, results)
		},
	},
	{
		name:  "delete",
		boots: true,
		before: func(s *system) {
			s.must("run", "-m", "doomed", "--", "sh", "-c", change)
			s.must("rollback", "-y", "booted")
		},
		act: func(s *system) []result { return []result{s.txctl("delete", "-y", itoa64(s.newest()))} },
		expect: func(s *system, before, after oracle.Facts, results []result) oracle.Expect {
			e := keeps(s, before, after, results)
			e.Acknowledged = []oracle.Acknowledged{{
				Number: numbers(before)[0], Message: "doomed", Deleted: results[0].exit == 0, MaybeDeleted: results[0].exit != 0,
			}}
			return e
		},
	},
	{
		name: "settle a conflict",
		before: func(s *system) {
			s.must("run", "--", "sh", "-c", "echo won >/etc/x; echo kept >/etc/x.txupd-1; "+change)
		},
		act:    func(s *system) []result { return []result{s.txctl("etc", "resolve", "/etc/x", "--ours")} },
		expect: settles,
	},
}

// settles: all of it or nothing, and what was acknowledged.
func settles(s *system, before, after oracle.Facts, results []result) oracle.Expect {
	s.t.Helper()
	n := s.newest()
	text, err := os.ReadFile(s.inSnapshot(n, "etc/x"))
	if err != nil {
		s.t.Error(err)
	}
	settled := !exists(s.inSnapshot(n, "etc/x.txupd-1"))
	if want := map[bool]string{true: "kept\n", false: "won\n"}[settled]; string(text) != want || !settled && results[0].exit == 0 {
		s.t.Errorf("exit %d, the file holds %q, settled: %v", results[0].exit, text, settled)
	}
	rows := s.show(n).EtcDecisions
	if recorded := len(rows) > 0 && rows[len(rows)-1].By != nil; recorded != settled {
		s.t.Errorf("settled: %v, recorded: %v", settled, rows)
	}
	for _, left := range []string{".txupd-merge", ".txupd-merge.done"} {
		if exists(s.inSnapshot(n, "etc/"+left)) {
			s.t.Errorf("%s is left", left)
		}
	}
	if err := s.bus.StopDaemon(); err != nil { // as the oracle found it
		s.t.Fatal(err)
	}
	return keeps(s, before, after, results)
}

// keeps: whatever happened, the same boots next.
func keeps(_ *system, before, _ oracle.Facts, _ []result) oracle.Expect {
	return oracle.Expect{Next: []uint64{before.Next()}}
}

// commits: one that was acknowledged boots next; of one that was not it may be either.
func commits(_ *system, before, after oracle.Facts, results []result) oracle.Expect {
	fresh := appeared(before, after)
	if len(fresh) == 0 {
		fresh = []uint64{^uint64(0)} // an acknowledged one is not there
	}
	e := switches(before, fresh[0], results[len(results)-1])
	if results[len(results)-1].exit == 0 {
		e.Acknowledged = []oracle.Acknowledged{{Number: fresh[0], Message: "acknowledged"}}
	}
	return e
}

// switches is what an exit code says of what boots next: 0 and 12 that it is the
// new one, and those of failures before the commit point that it is the old one.
func switches(before oracle.Facts, now uint64, r result) oracle.Expect {
	switch r.exit {
	case 0, 12:
		return oracle.Expect{Next: []uint64{now}}
	case 8:
		return oracle.Expect{Next: []uint64{before.Next()}}
	}
	return oracle.Expect{Next: []uint64{before.Next(), now}}
}

// numbers are those of the snapshots that stand, the latest first.
func numbers(f oracle.Facts) []uint64 {
	var all []uint64
	for _, d := range f.Directories {
		all = append(all, d.Number)
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all
}

// appeared are the snapshots that were not there before.
func appeared(before, after oracle.Facts) []uint64 {
	return slices.DeleteFunc(numbers(after), func(n uint64) bool { return slices.Contains(numbers(before), n) })
}

// TestEveryFailpoint is the matrix. TXUPD_MATRIX=1 runs every kind of failure
// everywhere. Without it there is the kill, which leaves the most behind, and for one
// scenario on one machine the error, which is undone at once; machines with a boot
// menu leave to the first what they have no part in.
func TestEveryFailpoint(t *testing.T) {
	all := fromEnvironment(t, "TXUPD_MATRIX", 0) != 0
	for i, place := range []struct {
		name  string
		begin func(t *testing.T, o options) *system
	}{
		{"default subvolume", func(t *testing.T, o options) *system { return newSystem(t, o) }},
		{"boot menu", func(t *testing.T, o options) *system { return withGRUB(t, 0, o) }},
		{"boot menu on a partition", func(t *testing.T, o options) *system { return withGRUB(t, 64, o) }},
	} {
		t.Run(place.name, func(t *testing.T) {
			faults := filepath.Join(t.TempDir(), "failpoint")
			s := place.begin(t, options{faults: faults})
			root := s.facts(true).Fingerprint
			for j, c := range scenarios {
				if i > 0 && !c.boots && !all {
					continue
				}
				kinds := []failpoint.Kind{failpoint.Kill}
				switch {
				case all:
					kinds = failpoint.Kinds
				case i == 0 && j == 0:
					kinds = append(kinds, failpoint.Error)
				}
				t.Run(c.name, func(t *testing.T) { (&matrix{s: s.at(t), faults: faults, kinds: kinds, scenario: c}).run() })
			}
			s.unchanged(root)
		})
	}
}

// at is the system with the failures of another test.
func (s *system) at(t *testing.T) *system {
	one := *s
	one.t = t
	return &one
}

// matrix is a scenario that is made to fail at one place after the other.
type matrix struct {
	s      *system
	faults string
	kinds  []failpoint.Kind
	scenario
}

// cell is one way to fail: at a failpoint, the n-th time that it is passed.
type cell struct {
	name string
	time int
	kind failpoint.Kind
}

func (c cell) String() string { return fmt.Sprintf("%s, time %d, %s", c.name, c.time, c.kind) }

func (m *matrix) run() {
	t := m.s.t
	t.Helper()
	cells := m.cells()
	if len(cells) == 0 {
		t.Fatal("no failpoint is passed")
	}
	for _, c := range cells {
		if m.try(c); t.Failed() {
			return // what is wrong now would be wrong in every one that follows
		}
	}
	if m.after != nil {
		m.after(m.s)
	}
	t.Attr("size", fmt.Sprintf("%d failpoints × %d kinds = %d cells", len(cells)/len(m.kinds), len(m.kinds), len(cells)))
}

// cells lets the scenario run once and sees which failpoints it passes.
func (m *matrix) cells() []cell {
	trace := m.faults + ".trace"
	m.prepare()
	m.arm("trace " + trace)
	for _, r := range m.act(m.s) {
		if r.exit == 2 || r.exit > 100 {
			m.s.t.Fatalf("without a failure: exit %d\n%s", r.exit, r.stderr)
		}
	}
	m.disarm()
	text, err := os.ReadFile(trace)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.s.t.Fatal(err)
	}
	os.Remove(trace)
	var cells []cell
	for line := range strings.Lines(string(text)) {
		var c cell
		if _, err := fmt.Sscan(line, &c.name, &c.time); err != nil {
			m.s.t.Fatal(err)
		}
		for _, c.kind = range m.kinds {
			if !slices.Contains(cells, c) { // several runs of the daemon may pass the same
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// unchanged looks at every byte of the running root.
func (s *system) unchanged(root oracle.Fingerprint) {
	s.t.Helper()
	if err := s.bus.StopDaemon(); err != nil {
		s.t.Fatal(err)
	}
	now := s.facts(true)
	before := now
	before.Fingerprint = root
	for _, f := range oracle.Judge(before, now, oracle.Expect{Next: []uint64{now.Next()}}) {
		s.t.Errorf("in the end: %s", f)
	}
}

func (m *matrix) prepare() {
	m.s.t.Helper()
	if m.before != nil {
		m.before(m.s)
	}
}

// arm lets the next daemon fail.
func (m *matrix) arm(how string) {
	m.s.t.Helper()
	m.stop()
	if err := os.WriteFile(m.faults, []byte(how+"\n"), 0o644); err != nil {
		m.s.t.Fatal(err)
	}
}

// disarm ends the daemon that fails. What it left is for the next one.
func (m *matrix) disarm() {
	m.s.t.Helper()
	m.stop()
	if err := os.Remove(m.faults); err != nil {
		m.s.t.Fatal(err)
	}
}

func (m *matrix) stop() {
	m.s.t.Helper()
	if err := m.s.bus.StopDaemon(); err != nil {
		m.s.t.Fatal(err)
	}
}

// try fails in one way, starts the daemon again, and lets the oracle judge what is found.
func (m *matrix) try(c cell) {
	s := m.s
	s.t.Helper()
	m.prepare()
	m.stop()
	before := s.facts(false)
	m.arm(fmt.Sprintln(c.name, c.time, c.kind))
	results := m.act(s)
	m.disarm()
	s.must("status") // the next daemon resumes
	m.stop()
	after := s.facts(false)
	expected := m.expect(s, before, after, results)
	for _, f := range oracle.Judge(before, after, expected) {
		s.t.Errorf("%s: %s", c, f)
	}
	s.must("status")
	m.stop()
	if again := s.facts(false); !cmp.Equal(again, after, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(oracle.Facts{}, "Mounts", "Processes"), cmpopts.IgnoreUnexported(oracle.Facts{})) {
		s.t.Errorf("%s: a second start changed something:\n%s", c, cmp.Diff(after, again))
	}
	if s.t.Failed() {
		for _, r := range results {
			s.t.Logf("exit %d: %s%s", r.exit, r.stdout, r.stderr)
		}
	}
	m.tidy(len(after.Directories))
}

// tidy removes what the cell made, so that the next one finds little.
func (m *matrix) tidy(directories int) {
	s := m.s
	s.t.Helper()
	if s.status().Transaction != nil {
		s.must("discard")
	}
	if directories < 8 {
		return
	}
	s.must("rollback", "-y", "booted")
	// The latest first: the captures of an older one may be needed by it.
	for _, one := range slices.Backward(document[bus.List](s, "list").Snapshots) {
		if !slices.Contains(one.Roles, bus.RoleBooted) && !one.Adopted {
			s.must("delete", "-y", itoa64(one.Number))
		}
	}
}

// TestStoppedInACommit: a commit that has begun comes to its end, also when the daemon is told to stop.
func TestStoppedInACommit(t *testing.T) {
	faults := filepath.Join(t.TempDir(), "failpoint")
	s := newSystem(t, options{faults: faults})
	for _, place := range []string{"step/seal", "store/rename", "btrfs/set-default", "btrfs/sync/done", "journal/commit"} {
		s.must("begin", "-m", place)
		s.must("exec", "--", "sh", "-c", change)
		if err := s.bus.StopDaemon(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(faults, []byte(place+" 1 pause\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		commit := s.command("commit")
		if err := commit.Start(); err != nil {
			t.Fatal(err)
		}
		s.eventually("the commit is at "+place, func() bool { return exists(faults + ".reached") })
		kill(t, s.daemonPID(), syscall.SIGTERM)
		if err := errors.Join(os.Remove(faults+".reached"), os.Remove(faults)); err != nil {
			t.Fatal(err)
		}
		if exit := exitOf(t, commit); exit != 0 {
			t.Errorf("stopped at %s: exit %d", place, exit)
		}
		if got := s.show(s.pending()).Message; got != place {
			t.Errorf("stopped at %s: %q boots next", place, got)
		}
		s.consistent()
	}
}

// TestRepairOnRequest: what a crash left is repaired by the next start, which says so; and by the verb.
func TestRepairOnRequest(t *testing.T) {
	s := newSystem(t, options{})
	if doc := document[bus.Repair](s, "doctor", "--repair"); len(doc.Done)+len(doc.Left) > 0 {
		t.Errorf("of a sound system it says %+v", doc)
	}
	run := s.command("run", "--", "sleep", "1000")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	s.eventually("it runs", func() bool { tx := s.status().Transaction; return tx != nil && tx.Running })
	number := s.status().Transaction.Number
	kill(t, s.daemonPID(), syscall.SIGKILL)
	exitOf(t, run)
	doc := document[bus.Doctor](s, "doctor")
	want := fmt.Sprintf("undid transaction %d (run)", number)
	if doc.Repaired == nil || !strings.Contains(strings.Join(doc.Repaired.Done, "\n"), want) {
		t.Errorf("doctor does not say %q: %+v", want, doc.Repaired)
	}
	// What nobody recorded, as a lost journal leaves it.
	orphan := filepath.Join(s.machine.Root, ".snapshots/.txupd/new-0b0c2d1e-0000-4000-8000-000000000000")
	if err := os.Mkdir(orphan, 0o755); err != nil {
		t.Fatal(err)
	}
	if doc := document[bus.Repair](s, "doctor", "--repair"); len(doc.Done) != 1 || exists(orphan) {
		t.Errorf("the repair says %+v", doc)
	}
	s.must("verify")
	s.must("begin")
	s.expect(6, "transaction", "doctor", "--repair")
}
