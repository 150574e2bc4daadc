//go:build machine

// Every flush inside of a commit is a moment at which the power may go: what a
// guest wrote is recorded, the disk of each such moment is made again, and
// judged on the host, before and after the daemon has started over it.

package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/integration/oracle"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/internal/testbed/machine"
)

// recorded is one job of which every write is known.
type recorded struct {
	name        string
	from, until int64 // sizes of the log when it was asked for and when it was acknowledged
	next        []uint64
	// before and after are what has been acknowledged then.
	before, after []oracle.Acknowledged
}

// recording is a guest that is recorded.
type recording struct {
	*system
	path         string
	jobs         []recorded
	acknowledged []oracle.Acknowledged
	next         uint64
}

func (r *recording) size() int64 {
	r.t.Helper()
	size, err := machine.LogSize(r.path)
	r.check(err)
	return size
}

// job does one thing in the guest; done learns from what txctl says what has been acknowledged, and returns what boots next.
func (r *recording) job(name string, done func(stdout []byte) uint64, argv ...string) {
	r.t.Helper()
	one := recorded{name: name, from: r.size(), next: []uint64{r.next}, before: slices.Clone(r.acknowledged)}
	out := r.must(append([]string{"txctl", "--json"}, argv...)...)
	one.until = r.size()
	if r.next = done([]byte(out)); r.next != one.next[0] {
		one.next = append(one.next, r.next)
	}
	one.after = slices.Clone(r.acknowledged)
	r.jobs = append(r.jobs, one)
}

// commit is a job that makes a snapshot.
func (r *recording) commit(name string, argv ...string) {
	r.t.Helper()
	r.job(name, func(stdout []byte) uint64 {
		var doc struct{ Number uint64 }
		r.check(json.Unmarshal(stdout, &doc))
		r.acknowledged = append(r.acknowledged, oracle.Acknowledged{Number: doc.Number, Message: name})
		return doc.Number
	}, append([]string{"-m", name}, argv...)...)
}

func TestEveryFlushInACommitLeavesASystemThatBoots(t *testing.T) {
	most := fromEnvironment(t, "TXUPD_FLUSHES", 12)
	seed := fromEnvironment(t, "TXUPD_SEED", uint64(time.Now().UnixNano()))
	t.Logf("TXUPD_SEED=%d repeats the choice, TXUPD_FLUSHES sets how many are looked at, 0 all", seed)
	log := filepath.Join(t.TempDir(), "writes")
	s := startWith(t, prepared(machine.Variant{}), machine.Options{WriteLog: log})
	r := &recording{system: s, path: log}
	line := strings.TrimSpace(s.must("cat", "/proc/cmdline"))
	r.commit("the first one", "run", "--", "touch", "/usr/share/first")
	r.commit("one upon another", "run", "--", "sh", "-c", "date >/usr/share/first; head -c 300000 /dev/urandom >/usr/share/second")
	first, second := r.acknowledged[0].Number, r.acknowledged[1].Number
	r.job("a rollback", func([]byte) uint64 { return first }, "-y", "rollback", fmt.Sprint(first))
	r.job("a deletion", func([]byte) uint64 {
		r.acknowledged[1].Deleted = true
		return first
	}, "-y", "delete", fmt.Sprint(second))
	s.vm.Cut()
	newReplay(t, r, line).run(most, rand.New(rand.NewPCG(seed, 0)))
}

// replay makes the disks of former moments.
type replay struct {
	t    *testing.T
	r    *recording
	line string // the guest's kernel command line
	log  *machine.WriteLog
	base *os.File // the disk as it was after the first done entries
	done int
}

// newReplay puts the disk as it was before the first write where copies of it cost nothing.
func newReplay(t *testing.T, r *recording, line string) *replay {
	t.Helper()
	testbed.NeedTools(t, "qemu-img", "grub-fstest", "dbus-daemon")
	l, err := machine.OpenWriteLog(r.path)
	r.check(err)
	t.Cleanup(func() { l.Close() })
	scratch := testbed.Loop(t, 32<<10)
	base := filepath.Join(scratch, "base")
	r.check(prepared(machine.Variant{})(t).Raw(context.Background(), "system", base))
	file, err := os.OpenFile(base, os.O_RDWR, 0)
	r.check(err)
	t.Cleanup(func() { file.Close() })
	return &replay{t: t, r: r, line: line, log: l, base: file}
}

// moment is one to look at.
type moment struct {
	entries int
	job     recorded
}

// run looks at some of the moments, the last one of each job among them.
func (p *replay) run(most uint64, random *rand.Rand) {
	var all, chosen []moment
	for _, job := range p.r.jobs {
		found := p.log.Boundaries(job.from, job.until)
		p.t.Logf("%s: %d flushes in %d MiB", job.name, len(found), (job.until-job.from)>>20)
		if len(found) == 0 {
			p.t.Errorf("%s: nothing was written for it", job.name)
			continue
		}
		for i, n := range found {
			m := moment{n, job}
			if all = append(all, m); i == len(found)-1 {
				chosen = append(chosen, m)
			}
		}
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(m moment) bool {
		return slices.ContainsFunc(chosen, func(c moment) bool { return c.entries == m.entries })
	})
	random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	if most != 0 {
		rest = rest[:min(len(rest), max(0, int(most)-len(chosen)))]
	}
	chosen = append(chosen, rest...)
	slices.SortFunc(chosen, func(a, b moment) int { return a.entries - b.entries })
	outcomes := map[string]int{}
	for _, m := range chosen {
		p.t.Run(fmt.Sprint(m.entries), func(t *testing.T) {
			outcomes[p.look(t, m)]++
		})
	}
	p.t.Logf("%d flushes inside of %d jobs, %d looked at: %v", len(all), len(p.r.jobs), len(chosen), outcomes)
}

// look judges the disk of one moment: as GRUB sees it, as the kernel does, and
// after the daemon has started.
func (p *replay) look(t *testing.T, m moment) (outcome string) {
	r := p.r
	r.check(p.log.Replay(p.base, p.done, m.entries))
	p.done = m.entries
	disk := filepath.Join(filepath.Dir(p.base.Name()), fmt.Sprint(m.entries))
	if out, err := exec.Command("cp", "--reflink=always", p.base.Name(), disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer os.Remove(disk)

	e := oracle.Expect{Next: m.job.next, Acknowledged: m.job.before, Layout: []string{"@rootfs", "@snapshots", "@txupd-grub"}, Unserved: true}
	if acknowledged := p.log.Entries[m.entries-1].End >= m.job.until; acknowledged {
		e.Acknowledged = m.job.after
		e.Next = e.Next[len(e.Next)-1:]
	} else if n := len(m.job.after); n > 0 && len(m.job.before) == n && m.job.after[n-1].Deleted {
		e.Acknowledged = slices.Clone(m.job.before)
		e.Acknowledged[n-1].MaybeDeleted = true
	}

	root := filepath.Join(t.TempDir(), "root") // before the mounts, so that they go first
	next := p.asGRUB(t, disk, e.Next)
	p.mount(t, testbed.Attach(t, disk), root, next)
	facts := p.judge(t, m, "as the cut left it", root, e)
	outcome = "old"
	if facts.Next() != m.job.next[0] {
		outcome = "new"
	}
	if facts.Boot.Menu && facts.Next() != next.Number {
		outcome += ", GRUB another"
	}

	// The daemon finishes or undoes; whichever it is, nothing is left over.
	e.Unserved = false
	served := []string{filepath.Join(tree, "bin/txupd"), "--root", root, "--command-line", p.line}
	once := p.serve(t, served, m, root, e)
	again := p.serve(t, served, m, root, e)
	if once.Journal.Head != again.Journal.Head || !reflect.DeepEqual(once.Subvolumes, again.Subvolumes) || !reflect.DeepEqual(once.Boot, again.Boot) {
		t.Errorf("a second start changed something: %+v %+v", once.Journal.Head, again.Journal.Head)
	}
	return outcome
}

func (p *replay) judge(t *testing.T, m moment, when, root string, e oracle.Expect) oracle.Facts {
	t.Helper()
	facts, err := oracle.Look(oracle.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range oracle.Judge(oracle.Facts{}, facts, e) {
		t.Errorf("%s, %d entries, %s: %s", m.job.name, m.entries, when, f)
	}
	return facts
}

// serve lets the daemon start over the system once, and judges what it leaves.
func (p *replay) serve(t *testing.T, daemon []string, m moment, root string, e oracle.Expect) oracle.Facts {
	t.Helper()
	b := testbed.PrivateBus(t, testbed.BusOptions{Daemon: daemon})
	cmd := exec.Command(filepath.Join(tree, "bin/txctl"), "status", "--json")
	cmd.Env = b.Env()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("txctl status: %v\n%s", err, out)
	}
	var st bus.Status
	if err := json.Unmarshal(out, &st); err != nil {
		t.Fatal(err)
	}
	if st.Transaction != nil {
		t.Errorf("%s, %d entries: transaction %+v goes on", m.job.name, m.entries, st.Transaction)
	}
	if err := b.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	return p.judge(t, m, "after the daemon has started", root, e)
}

// asGRUB is what GRUB boots from a disk. It replays no log, so it may see an
// older menu than the kernel, but only one of those that may be, with all that it names.
func (p *replay) asGRUB(t *testing.T, disk string, may []uint64) oracle.Entry {
	t.Helper()
	read := func(path string) ([]byte, error) {
		var said bytes.Buffer
		cmd := exec.Command("grub-fstest", disk, "cat", "(loop0)"+path)
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err == nil && said.Len() > 0 {
			err = fmt.Errorf("%s", said.String())
		}
		return out, err
	}
	text, err := read("/@txupd-grub/txupd.cfg")
	if err != nil {
		if slices.Contains(may, 0) {
			return oracle.Entry{RootPath: "@rootfs"} // there was no menu yet
		}
		t.Fatalf("GRUB reads no menu: %v", err)
	}
	b := oracle.ReadMenu(text)
	if len(b.Problems) > 0 {
		t.Errorf("the menu that GRUB reads: %q", b.Problems)
	}
	if !slices.Contains(may, b.Default) {
		t.Errorf("GRUB boots %d, and it has to be one of %v", b.Default, may)
	}
	at := slices.IndexFunc(b.Entries, func(e oracle.Entry) bool { return e.Number == b.Default })
	if at < 0 {
		t.Fatalf("the menu that GRUB reads has no entry of %d", b.Default)
	}
	e := b.Entries[at]
	for _, file := range append([]string{e.Kernel}, e.Initrd...) {
		found, err := read(file)
		if err != nil || len(found) == 0 {
			t.Errorf("GRUB cannot read %s: %v", file, err)
		}
	}
	return e
}

// mount mounts a root as its boot would, with what its fstab says of the file system.
func (p *replay) mount(t *testing.T, device, root string, e oracle.Entry) {
	t.Helper()
	testbed.Mount(t, device, root, "subvol="+e.RootPath)
	text, err := os.ReadFile(filepath.Join(root, "etc/fstab"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[2] != "btrfs" || fields[1] == "/" {
			continue
		}
		var options []string
		for o := range strings.SplitSeq(fields[3], ",") {
			if strings.HasPrefix(o, "subvol=") {
				options = append(options, o)
			}
		}
		if err := unix.Access(filepath.Join(root, fields[1]), unix.F_OK); err != nil {
			t.Fatalf("%s: %v", fields[1], err)
		}
		testbed.Mount(t, device, filepath.Join(root, fields[1]), strings.Join(options, ","))
	}
}
