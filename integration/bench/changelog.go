// Comparing snapshots, against the kernel and the tools that do the same, and
// asking a journal that has seen ten thousand transactions.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// compareIn, in the environment, makes a process of this program that compares two trees and tells its memory.
const compareIn = "TXUPD_BENCH_COMPARE"

// image is where the snapshots that are compared lie, as snapper has its own.
func (s *stage) image(n int) string {
	return filepath.Join(s.machine.Root, ".snapshots", fmt.Sprint(n), "snapshot")
}

// edited forks image from, edits the fork and seals what came of it as image to.
func (s *stage) edited(from, to int, edit func(dir string) error) error {
	d := btrfs.Driver{}
	dir := filepath.Dir(s.image(to))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	info := fmt.Sprintf("<?xml version=\"1.0\"?>\n<snapshot>\n  <type>single</type>\n  <num>%d</num>\n  <date>2026-01-01 00:00:00</date>\n</snapshot>\n", to)
	if err := os.WriteFile(filepath.Join(dir, "info.xml"), []byte(info), 0o644); err != nil {
		return err
	}
	source, work := s.machine.Root, filepath.Join(dir, "work")
	if from > 0 {
		source = s.image(from)
	}
	if err := d.Fork(source, work, false); err != nil {
		return err
	}
	if err := edit(work); err != nil {
		return err
	}
	// A fork writes out what is in memory; sealing alone would not. What was
	// forked stays, as a transaction's snapshot does: it ties the images together.
	return d.Fork(work, s.image(to), true)
}

// rewrite changes every step-th of the small files, so many of them.
func rewrite(dir string, first, step, count int) error {
	done := 0
	at := 0
	err := filepath.WalkDir(filepath.Join(dir, "usr/share/many"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || done == count {
			return err
		}
		if at++; at >= first && (at-first)%step == 0 {
			done++
			return os.WriteFile(path, []byte("rewritten "+path), 0o644)
		}
		return nil
	})
	if err == nil && done != count {
		err = fmt.Errorf("%d files were rewritten, not %d", done, count)
	}
	return err
}

func (s *stage) compare() error {
	if err := s.fill(200_000); err != nil {
		return err
	}
	const base, thousand, sibling, ten, all = 2001, 2002, 2003, 2004, 2005
	for _, e := range []struct {
		from, to int
		edit     func(string) error
	}{
		{0, base, func(string) error { return nil }},
		{base, thousand, func(dir string) error { return rewrite(dir, 1, 200, 1000) }},
		{base, sibling, func(dir string) error { return rewrite(dir, 100, 200, 1000) }},
		{base, ten, func(dir string) error { return rewrite(dir, 50, 20_000, 10) }},
		{base, all, func(dir string) error { _, err := output("chmod", "-R", "g+w", dir+"/usr/share/many"); return err }},
	} {
		if err := s.edited(e.from, e.to, e.edit); err != nil {
			return err
		}
	}
	if err := s.settle(); err != nil {
		return err
	}
	ours := func(from, to, want int) (sample, error) {
		return s.measure(func() (time.Duration, error) {
			var n int
			took, err := timed(func() (err error) {
				n, err = s.changes(s.image(from), s.image(to))
				return err
			})
			if err == nil && n != want {
				err = fmt.Errorf("%d changes were found between %d and %d, not %d", n, from, to, want)
			}
			return took, err
		})
	}
	tool := func(argv ...string) (sample, error) {
		return s.measureN(max(3, s.runs/5), func() (time.Duration, error) {
			return timed(func() error {
				cmd := exec.Command(argv[0], argv[1:]...) // what it prints goes nowhere
				if err := cmd.Run(); err != nil {
					return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
				}
				return nil
			})
		})
	}
	few, err := ours(base, thousand, 1000)
	if err != nil {
		return err
	}
	send, err := tool("btrfs", "send", "-q", "--no-data", "-p", s.image(base), "-f", "/dev/null", s.image(thousand))
	if err != nil {
		return err
	}
	report("compare, 1,000 of 200,000 files changed : send without data", few.median(), send.median(), "bar 0.33")
	if err := s.compareTools(few.median(), tool, base, thousand); err != nil {
		return err
	}
	some, err := ours(base, ten, 10)
	if err != nil {
		return err
	}
	value("compare, 10 of 200,000 files changed", ms(some.median()), "bar 10 ms")
	siblings, err := ours(thousand, sibling, 2000)
	if err != nil {
		return err
	}
	if send, err = tool("btrfs", "send", "-q", "--no-data", "-p", s.image(thousand), "-f", "/dev/null", s.image(sibling)); err != nil {
		return err
	}
	report("compare two siblings, 2,000 files differ : send without data", siblings.median(), send.median(), "bar 1")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), compareIn+"="+s.image(base)+" "+s.image(all))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	value("most resident memory of comparing with 200,000 changes", strings.TrimSpace(string(out)), "bar 64 MiB")
	return nil
}

// compareTools measures what else there is, where it is installed.
func (s *stage) compareTools(ours time.Duration, tool func(...string) (sample, error), from, to int) error {
	if _, err := exec.LookPath("rsync"); err == nil {
		took, err := tool("rsync", "-nai", "--delete", s.image(from)+"/", s.image(to)+"/")
		if err != nil {
			return err
		}
		report("the same : rsync -nai", ours, took.median(), "bar 0.1")
	} else {
		value("rsync -nai", "none", "rsync is not installed")
	}
	if _, err := exec.LookPath("snapper"); err != nil {
		value("snapper status", "none", "snapper is not installed")
		return nil
	}
	configs := filepath.Join(s.machine.Root, "etc/snapper/configs")
	if err := errors.Join(os.MkdirAll(configs, 0o755),
		os.WriteFile(filepath.Join(configs, "root"), []byte("SUBVOLUME=\"/\"\nFSTYPE=\"btrfs\"\n"), 0o644)); err != nil {
		return err
	}
	took, err := s.measureN(max(3, s.runs/5), func() (time.Duration, error) {
		lists, err := filepath.Glob(filepath.Join(filepath.Dir(s.image(to)), "filelist-*"))
		if err != nil {
			return 0, err
		}
		for _, l := range lists {
			if err := os.Remove(l); err != nil {
				return 0, err
			}
		}
		cmd := exec.Command("snapper", "--no-dbus", "--root", s.machine.Root, "status", fmt.Sprintf("%d..%d", from, to))
		cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+s.bus.Address)
		var out []byte
		took, err := timed(func() (err error) {
			out, err = cmd.CombinedOutput()
			return err
		})
		if err != nil {
			return took, fmt.Errorf("snapper status: %w: %.300s", err, out)
		}
		return took, nil
	})
	if err != nil {
		return err
	}
	report("the same : snapper status, its file lists deleted", ours, took.median(), "bar 0.25")
	return nil
}

// changes compares two images as a transaction does, and counts.
func (s *stage) changes(from, to string) (int, error) {
	d := btrfs.Driver{}
	before, err := tree(d, from)
	if err != nil {
		return 0, err
	}
	after, err := tree(d, to)
	if err != nil {
		return 0, err
	}
	found, err := snapshot.Compare(s.ctx, &btrfs.Searcher{}, before, after)
	return len(found), err
}

// tellMemory compares two images and prints the most memory that it took.
func (s *stage) tellMemory(images string) error {
	from, to, _ := strings.Cut(images, " ")
	if n, err := s.changes(from, to); err != nil || n < 200_000 {
		return fmt.Errorf("%d changes: %w", n, err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				return err
			}
			fmt.Printf("%.1f M\n", float64(kib)/1024)
			return nil
		}
	}
	return errors.New("the kernel does not tell")
}

// What the large journal holds.
const (
	longHistory  = 10_000
	pathsEach    = 500
	firstOfThem  = 100
	everyRecord  = "/etc/ld.so.cache"
	askedPackage = "libssl3"
)

// history asks a journal of 10,000 transactions with 500 paths each.
func (s *stage) history() error {
	if _, err := s.client.Status(s.ctx); err != nil { // the daemon has made its journal
		return err
	}
	if err := s.bus.StopDaemon(); err != nil {
		return err
	}
	path := filepath.Join(s.machine.Root, ".snapshots/.txupd/journal.db")
	if err := os.Rename(path, path+".before"); err != nil {
		return err
	}
	defer func() {
		_ = s.bus.StopDaemon() // it has the large one open; the next measurement starts another
		_ = os.Rename(path+".before", path)
	}()
	j, err := journal.Open(path, journal.Options{})
	if err != nil {
		return err
	}
	for n := uint64(firstOfThem); n < firstOfThem+longHistory; n += 50 {
		if err := s.ctx.Err(); err != nil {
			return errors.Join(err, j.Close())
		}
		if err := j.Update(func(tx *journal.Tx) error {
			for i := range uint64(50) {
				if err := happened(tx, n+i); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return errors.Join(err, j.Close())
		}
	}
	if err := j.Close(); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	value("bytes of journal per changed path, all else included", fmt.Sprintf("%.1f", float64(info.Size())/longHistory/pathsEach), "bar 20")
	opening, err := s.measure(func() (time.Duration, error) {
		return timed(func() error {
			j, err := journal.Open(path, journal.Options{})
			if err != nil {
				return err
			}
			return j.Close()
		})
	})
	if err != nil {
		return err
	}
	value("opening it", ms(opening.median()), "bar 100 ms")
	long, short, err := s.appending(path, path+".short")
	if err != nil {
		return err
	}
	report("appending a record to it : to a short one", long.median(), short.median(), "bar: no slower")
	middle := uint64(firstOfThem + longHistory/2)
	rare := paths(middle)[pathsEach/2].Path
	for _, args := range [][]string{
		{"log", "-n", "20"}, {"log", "--package", askedPackage, "-n", "20"}, {"log", "--package", askedPackage},
		{"blame", rare}, {"blame", everyRecord}, {"show", fmt.Sprint(middle)},
	} {
		took, err := s.measure(func() (time.Duration, error) {
			return timed(func() error { return s.txctl(args...) })
		})
		if err != nil {
			return err
		}
		name := strings.Join(args, " ")
		if args[0] == "blame" && args[1] == rare {
			name = "blame of a path that one transaction changed"
		}
		value("txctl "+name, ms(took.median()), "bar 50 ms")
	}
	return nil
}

// appending measures the record of one more transaction in the long journal and
// in a short one, in turn, so that both see the same disk.
func (s *stage) appending(long, short string) (inLong, inShort sample, err error) {
	n := uint64(firstOfThem + 2*longHistory)
	var journals [2]*journal.Journal
	for i, path := range []string{long, short} {
		if journals[i], err = journal.Open(path, journal.Options{}); err != nil {
			return nil, nil, err
		}
		defer func() { err = errors.Join(err, journals[i].Close()) }()
	}
	for range s.runs + 20 {
		n++
		for i, into := range []*sample{&inLong, &inShort} {
			took, err := timed(func() error {
				return journals[i].Update(func(tx *journal.Tx) error { return happened(tx, n) })
			})
			if err != nil {
				return nil, nil, err
			}
			*into = append(*into, took)
		}
	}
	// The first ones find the short journal empty, and everything to be read.
	return inLong[20:], inShort[20:], nil
}

// happened records transaction n, as it is recorded when it ends and is deleted later.
func happened(tx *journal.Tx, n uint64) error {
	r := rand.New(rand.NewPCG(n, 1))
	parent, created := n-1, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n)*2*time.Hour)
	finished, deleted := created.Add(time.Minute), created.Add(time.Hour)
	rec := record.Record{
		Number: n, UUID: fmt.Sprintf("44444444-4444-4444-8444-%012d", n), Phase: record.Open, Verdict: record.Untried, Parent: &parent,
		Created: created, Actor: record.Actor{Name: "root", Login: "anna", Session: "3"}, Kind: "update", Message: "the nightly update",
		Tags: []string{"nightly"}, Commands: []record.Command{{Argv: []string{"apt-get", "-y", "dist-upgrade"}, Started: created, Duration: 30}},
	}
	if err := tx.Put("begin", &rec.Actor, rec); err != nil {
		return err
	}
	rec.Phase, rec.Finished, rec.Deleted = record.Committed, &finished, &deleted
	for i := range 20 {
		name := fmt.Sprintf("lib%c%d", 'a'+rune(r.IntN(26)), r.IntN(40))
		if i == 0 && n%50 == 0 {
			name = askedPackage
		}
		rec.PackageChanges = append(rec.PackageChanges, record.PackageChange{Name: name, Arch: "amd64", Change: record.Upgraded,
			Old: fmt.Sprintf("%d.%d-1", r.IntN(9), r.IntN(30)), New: fmt.Sprintf("%d.%d-2", r.IntN(9), r.IntN(30))})
	}
	changed := paths(n)
	rec.Packages, rec.Files = record.CountPackages(rec.PackageChanges), record.CountFiles(changed)
	if err := tx.Put("committed", &rec.Actor, rec); err != nil {
		return err
	}
	return tx.PutFiles(n, changed)
}

// paths are what transaction n changed: some files with every update, the rest of some packages.
func paths(n uint64) []record.FileChange {
	r := rand.New(rand.NewPCG(n, 2))
	all := []record.FileChange{{Path: everyRecord, Change: record.Modified}, {Path: "/var/lib/dpkg/status", Change: record.Modified}}
	for len(all) < pathsEach {
		owner := fmt.Sprintf("lib%c%c%d", 'a'+rune(r.IntN(26)), 'a'+rune(r.IntN(26)), r.IntN(90))
		for i := range min(20, pathsEach-len(all)) {
			all = append(all, record.FileChange{Path: fmt.Sprintf("/usr/lib/%s/%c%d/module-%d.so", owner, 'a'+rune(r.IntN(26)), r.IntN(900), i), Change: record.Modified, Owner: owner})
		}
	}
	return all
}
