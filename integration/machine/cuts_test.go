//go:build machine

// The power is cut at any moment while the machine is at work, again and again;
// what it acknowledged is kept, and judged by what shares no code with it.

package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/txupd/txupd/integration/oracle"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/internal/testbed/machine"
)

// oraclePath is where the oracle lies in the guest, and in its snapshots.
const oraclePath = "/usr/local/lib/oracle"

// judged by it are these of the root that ran when the power was cut: what
// packages and our jobs write to, and not what a boot does.
const fingerprinted = "/usr/bin,/usr/sbin,/usr/share/cuts,/var/lib/dpkg"

// oracleProgram is the static program that looks at a guest from inside.
var oracleProgram = sync.OnceValues(func() ([]byte, error) {
	top, err := testbed.Checkout()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(tree, "oracle")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "./integration/oracle/cmd/oracle")
	cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot build the oracle: %w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// installOracle puts the oracle onto the disk of the guest.
func (s *system) installOracle() {
	s.t.Helper()
	program, err := oracleProgram()
	s.check(err)
	s.check(s.vm.WriteFile(s.context(), oraclePath, program, 0o755))
	s.must("mkdir", "-p", "/usr/share/cuts")
	s.must("sync")
}

// facts lets the oracle look from inside; former is what ran before, "" for nothing.
func (s *system) facts(former string) oracle.Facts {
	s.t.Helper()
	var f oracle.Facts
	if err := json.Unmarshal([]byte(s.must(oraclePath, "--fingerprint", fingerprinted, "--former", former, "/")), &f); err != nil {
		s.t.Fatal(err)
	}
	return f
}

// job is one thing that the guest is told to do.
type job struct {
	kind    string
	argv    []string
	message string // of a transaction
	target  uint64 // of a rollback or a deletion
}

// worker gives the guest its jobs and knows what has been acknowledged.
type worker struct {
	*system
	random *rand.Rand
	jobs   int
	took   map[string]time.Duration // by kind of job: how long the last one took

	facts        oracle.Facts
	next         uint64   // boots next
	standing     []uint64 // committed and not deleted
	acknowledged []oracle.Acknowledged
	hello        bool // somebody has it installed somewhere
}

// mostStanding bounds the snapshots, for the boot partition's sake.
const mostStanding = 5

// draw chooses the next job.
func (w *worker) draw() job {
	w.jobs++
	j := job{message: fmt.Sprintf("job %d", w.jobs)}
	change := func(kind string, argv ...string) job {
		j.kind = kind
		j.argv = append([]string{"txctl", "--json", "-m", j.message}, argv...)
		return j
	}
	var others []uint64
	for _, n := range w.standing {
		if n != w.next && n != w.facts.NumberOf(w.facts.Booted) {
			others = append(others, n)
		}
	}
	roll := w.random.IntN(100)
	if len(others) > 0 && (roll < 20 || len(w.standing) > mostStanding) {
		target := others[w.random.IntN(len(others))]
		return job{kind: "delete", argv: []string{"txctl", "--json", "-y", "delete", fmt.Sprint(target)}, target: target}
	}
	switch {
	case roll < 35 && len(w.standing) > 1:
		target := w.standing[w.random.IntN(len(w.standing))]
		return job{kind: "rollback", argv: []string{"txctl", "--json", "-y", "rollback", fmt.Sprint(target)}, target: target}
	case roll < 45:
		w.hello = !w.hello
		verb := map[bool]string{true: "add", false: "remove"}[w.hello]
		return change("package", "pkg", verb, machine.Hello)
	case roll < 55: // so that there is something to put on the boot partition
		return change("kernel", "run", "--", "sh", "-c", fmt.Sprintf("head -c %d /dev/zero >>/boot/initrd.img-$(uname -r)", 100_000+w.jobs))
	}
	return change("run", "run", "--", "sh", "-c", fmt.Sprintf("echo %d; echo %d >/usr/share/cuts/%d; date >/usr/bin/cut", w.jobs, w.jobs, w.jobs))
}

// told notes what txctl has said before the power was cut, if it was: the
// document on its standard output is the acknowledgement. It reports whether there was one.
func (w *worker) told(j job, r machine.Result) bool {
	var doc struct {
		Number    uint64   `json:"number"`
		Phase     string   `json:"phase"`
		Unchanged bool     `json:"unchanged"`
		Default   *uint64  `json:"default"`
		Deleted   []uint64 `json:"deleted"`
	}
	if json.Unmarshal([]byte(r.Stdout), &doc) != nil {
		return false
	}
	switch {
	case j.kind == "delete":
		for _, n := range doc.Deleted {
			w.note(n).Deleted = true
			w.standing = slices.DeleteFunc(w.standing, func(m uint64) bool { return m == n })
		}
		return len(doc.Deleted) > 0
	case j.kind == "rollback":
		if doc.Default != nil {
			w.next = *doc.Default
		}
		return doc.Default != nil
	case doc.Phase != "committed" || doc.Unchanged:
		return false
	}
	w.acknowledged = append(w.acknowledged, oracle.Acknowledged{Number: doc.Number, Message: j.message})
	w.standing = append(w.standing, doc.Number)
	w.next = doc.Number
	return true
}

// note is what is known of a snapshot, acknowledged or only found.
func (w *worker) note(n uint64) *oracle.Acknowledged {
	i := slices.IndexFunc(w.acknowledged, func(a oracle.Acknowledged) bool { return a.Number == n })
	if i < 0 {
		w.acknowledged = append(w.acknowledged, oracle.Acknowledged{Number: n})
		i = len(w.acknowledged) - 1
	}
	return &w.acknowledged[i]
}

// whole does a job to its end.
func (w *worker) whole(j job) {
	w.t.Helper()
	began := time.Now()
	r := w.run(j.argv...)
	w.took[j.kind] = time.Since(began)
	done := w.told(j, r)
	w.t.Logf("%s (%s): exit %d, done: %v, %.1f s", strings.Join(j.argv, " "), j.message, r.Exit, done, w.took[j.kind].Seconds())
	if protected := j.kind == "delete" && r.Exit == 5; r.Exit != 0 && !protected {
		w.t.Fatalf("%s: exit %d\n%s%s", strings.Join(j.argv, " "), r.Exit, r.Stdout, r.Stderr)
	}
}

// interrupted begins a job and cuts the power in it.
func (w *worker) interrupted(j job) (acknowledged bool) {
	w.t.Helper()
	usual := w.took[j.kind]
	if usual == 0 {
		usual = 4 * time.Second
	}
	// Half of the cuts are near the end, where the commit point is.
	moment := time.Duration(w.random.Int64N(int64(usual) * 11 / 10))
	if w.random.IntN(2) == 0 {
		moment = usual*6/10 + moment/2
	}
	p, err := w.vm.Command(machine.Command{Argv: j.argv})
	w.check(err)
	ctx, cancel := context.WithTimeout(w.context(), moment)
	defer cancel()
	// The moment is the point here: the job ends before, or the power does.
	_ = p.WaitOutput(ctx, func(string, string) bool { return false })
	w.vm.Cut()
	r, _ := p.Wait(w.context())
	acknowledged = w.told(j, r)
	w.t.Logf("%s (%s): cut after %.2f s of some %.1f, acknowledged: %v", strings.Join(j.argv, " "), j.message, moment.Seconds(), usual.Seconds(), acknowledged)
	return acknowledged
}

// boots powers on, at times cuts once more in the middle of the boot, and waits until the boot is judged.
func (w *worker) boots() {
	w.t.Helper()
	if w.random.IntN(4) == 0 {
		w.check(w.vm.PowerOn(w.context()))
		if w.random.IntN(2) == 0 { // in the middle of what a boot does for us, which is late
			w.booted()
		}
		moment := time.Duration(w.random.Int64N(int64(10 * time.Second)))
		w.t.Logf("and again %.1f s into the boot", moment.Seconds())
		time.Sleep(moment) // the moment is the point
		w.vm.Cut()
	}
	w.powerOn()
}

// verdict lets the oracle judge, after a job that was cut, and learns what it has become.
func (w *worker) verdict(j job, acknowledged bool) (became string) {
	w.t.Helper()
	before, old := w.facts, w.next
	w.facts = w.system.facts(before.Booted.UUID)
	e := oracle.Expect{Next: []uint64{old}, Layout: []string{"@rootfs", "@snapshots"}}
	became = "undone"
	switch {
	case acknowledged:
		became = "acknowledged"
	case j.kind == "delete":
		w.note(j.target).MaybeDeleted = true
		if w.facts.Journal.Records[j.target].Deleted != nil {
			became = "finished"
		}
	case j.kind == "rollback":
		e.Next = append(e.Next, j.target)
	default:
		for n, r := range w.facts.Journal.Records {
			if r.Message == j.message && r.Phase == "committed" {
				e.Next = []uint64{n, old}
			}
		}
	}
	if !acknowledged && w.facts.Next() != old {
		became = "finished"
	}
	e.Acknowledged = w.acknowledged
	for _, f := range oracle.Judge(before, w.facts, e) {
		w.t.Errorf("after %q was cut: %s", strings.Join(j.argv, " "), f)
	}
	if booted := w.facts.NumberOf(w.facts.Booted); !slices.Contains(e.Next, booted) {
		w.t.Errorf("after %q was cut %d runs, and not one of %v", strings.Join(j.argv, " "), booted, e.Next)
	}
	w.learn()
	return became
}

// learn takes over what is: from here on it must not be lost any more.
func (w *worker) learn() {
	w.next, w.standing = w.facts.Next(), nil
	for n, r := range w.facts.Journal.Records {
		if r.Phase != "committed" {
			continue
		}
		w.note(n).Deleted = r.Deleted != nil
		w.note(n).MaybeDeleted = false
		if r.Deleted == nil {
			w.standing = append(w.standing, n)
		}
	}
	slices.Sort(w.standing)
}

func TestThePowerIsCutAtAnyMoment(t *testing.T) {
	cuts := fromEnvironment(t, "TXUPD_CUTS", 5)
	seed := fromEnvironment(t, "TXUPD_SEED", uint64(time.Now().UnixNano()))
	t.Logf("TXUPD_SEED=%d repeats the jobs and moments, TXUPD_CUTS sets how many", seed)
	w := &worker{system: start(t, prepared(apart)), random: rand.New(rand.NewPCG(seed, 0)), took: map[string]time.Duration{}}
	w.installOracle()
	w.must("systemctl", "start", "txupd") // its first start makes the journal
	w.facts = w.system.facts("")
	w.learn()
	became := map[string]int{}
	for i := range cuts {
		for range w.random.IntN(3) {
			w.whole(w.draw())
		}
		j := w.draw()
		acknowledged := w.interrupted(j)
		w.boots()
		how := w.verdict(j, acknowledged)
		became[how]++
		t.Logf("cut %d: %s %s; %d runs, standing are %v, %d events", i+1, j.kind, how, w.facts.NumberOf(w.facts.Booted), w.standing, w.facts.Journal.Head.Seq)
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d cuts in the middle of a job: %d undone, %d finished by the next start, %d acknowledged; of %d transactions none was lost",
		cuts, became["undone"], became["finished"], became["acknowledged"], len(w.acknowledged))
}
