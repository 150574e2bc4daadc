// Path lists as packages have them, and the large journal that `make bench`
// measures: 10,000 records with 500 paths each.

package journal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/txupd/txupd/pkg/journal/record"
)

// realisticFiles makes up what an update of a few packages changes. Names are
// drawn so that packages differ between transactions and share nothing but directories.
func realisticFiles(seed uint64, count int) []record.FileChange {
	r := rand.New(rand.NewPCG(seed, 7))
	syllables := []string{"lib", "gtk", "py", "net", "ssl", "x11", "perl", "core", "util", "db", "font", "qt", "mono", "cups", "gst"}
	word := func() string {
		s := ""
		for range 1 + r.IntN(3) {
			s += syllables[r.IntN(len(syllables))]
		}
		return fmt.Sprintf("%s%c", s, 'a'+rune(r.IntN(26)))
	}
	kinds := []string{record.Modified, record.Modified, record.Modified, record.Added, record.Removed}
	changes := []record.FileChange{
		{Path: "/etc/ld.so.cache", Change: record.Modified},
		{Path: "/var/lib/dpkg/status", Change: record.Modified},
	}
	for len(changes) < count {
		owner := word() + "-" + word()
		version := fmt.Sprintf("%d.%d.%d", r.IntN(9), r.IntN(20), r.IntN(20))
		kind := kinds[r.IntN(len(kinds))]
		add := func(format string, args ...any) {
			if len(changes) < count {
				changes = append(changes, record.FileChange{Path: fmt.Sprintf(format, args...), Change: kind, Owner: owner})
			}
		}
		for _, name := range []string{"", "/changelog.Debian.gz", "/copyright", "/NEWS.gz"} {
			add("/usr/share/doc/%s%s", owner, name)
		}
		add("/var/lib/dpkg/info/%s.list", owner)
		add("/var/lib/dpkg/info/%s.md5sums", owner)
		add("/usr/lib/x86_64-linux-gnu/lib%s.so.%s", owner, version)
		add("/usr/lib/x86_64-linux-gnu/lib%s.so.%c", owner, version[0])
		module := word()
		for range r.IntN(30) {
			add("/usr/lib/python3/dist-packages/%s/%s.py", module, word())
		}
		for range r.IntN(20) {
			add("/usr/share/locale/%c%c/LC_MESSAGES/%s.mo", 'a'+rune(r.IntN(26)), 'a'+rune(r.IntN(26)), owner)
		}
		for range r.IntN(20) {
			add("/usr/share/man/man%d/%s.%d.gz", 1+r.IntN(8), word(), 1+r.IntN(8))
		}
	}
	return changes
}

// realisticRecord has some twenty package changes and three commands.
func realisticRecord(n uint64) record.Record {
	rec := sample(n)
	r := rand.New(rand.NewPCG(n, 8))
	rec.Created = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * 2 * time.Hour)
	for range 20 {
		p := record.PackageChange{Name: fmt.Sprintf("lib%c%c%d", 'a'+rune(r.IntN(26)), 'a'+rune(r.IntN(26)), r.IntN(5)),
			Arch: "amd64", Change: record.Upgraded, Reason: "dependency"}
		p.Old = fmt.Sprintf("%d.%d-%d+deb12u%d", r.IntN(9), r.IntN(30), r.IntN(9), r.IntN(9))
		p.New = fmt.Sprintf("%d.%d-%d+deb12u%d", r.IntN(9), r.IntN(30), r.IntN(9), r.IntN(9))
		rec.PackageChanges = append(rec.PackageChanges, p)
	}
	return rec
}

// putTransaction records a transaction as it goes: begun, run, committed with its files.
func putTransaction(tx *Tx, n uint64, paths int) error {
	rec := realisticRecord(n)
	packages := rec.PackageChanges
	rec.PackageChanges = nil
	if err := tx.Put("begin", &rec.Actor, rec); err != nil {
		return err
	}
	now := rec.Created.Add(time.Minute)
	rec.Phase, rec.Finished, rec.PackageChanges = record.Committed, &now, packages
	if err := tx.Put("commit", nil, rec); err != nil {
		return err
	}
	return tx.PutFiles(n, realisticFiles(n, paths))
}

func TestAChangedPathTakesLessThanTwentyBytes(t *testing.T) {
	j := newJournal(t)
	const records, paths = 200, 500
	for n := uint64(1); n <= records; n++ {
		update(t, j, func(tx *Tx) error { return putTransaction(tx, n, paths) })
	}
	each := func(n int) float64 { return float64(n) / (records * paths) }
	var lists, filters, used int
	view(t, j, func(tx *Tx) error {
		l, f, stats := tx.files.Stats(), tx.filters.Stats(), j.db.Stats()
		lists, filters = l.LeafAlloc+l.BranchAlloc, f.LeafAlloc+f.BranchAlloc
		used = int(tx.b.Size()) - (stats.FreePageN+stats.PendingPageN)*pageSize
		return nil
	})
	checkSound(t, j)
	t.Logf("bytes of pages per path: list %.1f, filter %.1f, everything with records, events and indexes %.1f",
		each(lists), each(filters), each(used))
	if each(lists+filters) >= 20 {
		t.Errorf("%d bytes for %d paths", lists+filters, records*paths)
	}
}

// BenchmarkLarge measures a journal of 10,000 records with 500 paths each; TXUPD_BENCH_RECORDS makes it another number.
func BenchmarkLarge(b *testing.B) {
	records := uint64(10_000)
	if s := os.Getenv("TXUPD_BENCH_RECORDS"); s != "" {
		if _, err := fmt.Sscan(s, &records); err != nil {
			b.Fatal(err)
		}
	}
	const paths = 500
	path := filepath.Join(b.TempDir(), "journal.db")
	j, err := Open(path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for n := uint64(1); n <= records; {
		update(b, j, func(tx *Tx) error {
			for i := 0; i < 50 && n <= records; i++ {
				if err := putTransaction(tx, n, paths); err != nil {
					return err
				}
				n++
			}
			return nil
		})
	}
	j.Close()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			j, err := Open(path, Options{})
			if err != nil {
				b.Fatal(err)
			}
			j.Close()
		}
		b.ReportMetric(float64(info.Size())/float64(records*paths), "bytes/path")
	})
	if j, err = Open(path, Options{}); err != nil {
		b.Fatal(err)
	}
	defer j.Close()

	inView := func(fn func(*Tx) error) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				view(b, j, fn)
			}
		}
	}
	b.Run("newest-20", inView(func(tx *Tx) error {
		left := 20
		for _, err := range tx.Records(Newest, true) {
			if left--; err != nil || left == 0 {
				return err
			}
		}
		return nil
	}))
	b.Run("by-package-all", inView(func(tx *Tx) error {
		numbers, err := tx.ByPackage("htop")
		if len(numbers) != int(records) {
			return fmt.Errorf("%d of %d: %v", len(numbers), records, err)
		}
		return err
	}))
	b.Run("by-package-with-records", inView(func(tx *Tx) error {
		numbers, err := tx.ByPackage("libab1")
		for _, n := range numbers {
			if _, err := tx.Record(n); err != nil {
				return err
			}
		}
		return err
	}))
	b.Run("filters-only", inView(func(tx *Tx) error {
		for _, err := range tx.Candidates("/usr/share/doc/nothing") {
			if err != nil {
				return err
			}
		}
		return nil
	}))
	blame := func(path string, want int) func(*Tx) error {
		return func(tx *Tx) error {
			found := 0
			for n, err := range tx.Candidates(path) {
				if err != nil {
					return err
				}
				changes, err := tx.FilesBelow(n, path)
				if err != nil {
					return err
				}
				found += len(changes)
			}
			if found < want {
				return fmt.Errorf("found %d of %d", found, want)
			}
			return nil
		}
	}
	b.Run("blame-one", inView(blame(realisticFiles(records/2, paths)[paths/2].Path, 1)))
	b.Run("blame-in-every-record", inView(blame("/etc/ld.so.cache", int(records))))
	b.Run("show", inView(func(tx *Tx) error {
		if _, err := tx.Record(records / 2); err != nil {
			return err
		}
		_, err := tx.Files(records / 2)
		return err
	}))
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			checkSound(b, j)
		}
	})
	n := records
	b.Run("append", func(b *testing.B) {
		for b.Loop() {
			n++
			update(b, j, func(tx *Tx) error { return tx.Put("begin", nil, realisticRecord(n)) })
		}
	})
	b.Run("append-to-empty", func(b *testing.B) {
		j := newJournal(b)
		n := uint64(0)
		for b.Loop() {
			n++
			update(b, j, func(tx *Tx) error { return tx.Put("begin", nil, realisticRecord(n)) })
		}
	})
	b.Run("encode-500-paths", func(b *testing.B) {
		changes := realisticFiles(1, paths)
		for b.Loop() {
			sorted := sortedByPath(changes)
			raw, err := encodePaths(sorted)
			if err != nil {
				b.Fatal(err)
			}
			j.pack.pack(numberKey(1), raw)
			buildFilter(sorted)
		}
	})
}
