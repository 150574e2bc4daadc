// Damaged files: cut, zeroed, flipped. Either the damage is reported or the
// data are right, and nothing ever panics or faults.

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/pkg/journal/record"
)

func contextCancelled(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

func equalRecords(a, b record.Record) bool { return cmp.Equal(a, b) }

// smallJournal returns the bytes of a journal with something in every bucket,
// branch pages, free pages, and what can be read out of it.
func smallJournal(t *testing.T) (file []byte, content string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openAt(t, path)
	for n := uint64(1); n <= 16; n++ {
		update(t, j, func(tx *Tx) error { return putTransaction(tx, n, 60) })
		update(t, j, func(tx *Tx) error {
			if n%5 == 0 {
				return tx.PutSteps(n, []byte(`[{"kind":"fork"},{"kind":"`+strings.Repeat("x", 900)+`"}]`))
			}
			return tx.PutMeta(fmt.Sprint(n), []byte("value"))
		})
	}
	content, err := dump(j)
	if err != nil {
		t.Fatal(err)
	}
	checkSound(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return file, content
}

// dump reads everything through the exported methods.
func dump(j *Journal) (string, error) {
	var s strings.Builder
	err := j.View(func(tx *Tx) error {
		for e, err := range tx.Events(0) {
			if err != nil {
				return err
			}
			fmt.Fprintln(&s, e.Seq, e.Kind, e.Hash)
		}
		for rec, err := range tx.Records(Newest, true) {
			if err != nil {
				return err
			}
			files, err := tx.Files(rec.Number)
			if err != nil {
				return err
			}
			fmt.Fprintf(&s, "%v %v\n", rec.Number, files)
			raw, err := tx.storedRecord(rec.Number)
			if err != nil {
				return err
			}
			fmt.Fprintf(&s, "%s\n", raw)
			for _, p := range rec.PackageChanges {
				numbers, err := tx.ByPackage(p.Name)
				if err != nil {
					return err
				}
				fmt.Fprintln(&s, p.Name, numbers)
			}
			value, err := tx.Meta(fmt.Sprint(rec.Number))
			if err != nil {
				return err
			}
			fmt.Fprintf(&s, "%s\n", value)
		}
		for n, err := range tx.Candidates("/etc/ld.so.cache") {
			if err != nil {
				return err
			}
			fmt.Fprintln(&s, n)
		}
		unfinished, err := tx.Unfinished()
		if err != nil {
			return err
		}
		for _, n := range unfinished {
			steps, err := tx.Steps(n)
			if err != nil {
				return err
			}
			fmt.Fprintf(&s, "%d %s\n", n, steps)
		}
		numbers, err := tx.ByTime(time.Time{}, time.Time{})
		fmt.Fprintln(&s, numbers)
		return err
	})
	return s.String(), err
}

// judge opens damaged bytes: an error has to be a DamagedError, and where neither Open nor Verify finds anything the
// content has to be right. It reports whether the damage was found.
func judge(t *testing.T, path string, file []byte, content string) bool {
	t.Helper()
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	j, err := Open(path, Options{})
	if err != nil {
		if !errors.As(err, &damaged) {
			t.Fatalf("not reported as damage: %v", err)
		}
		return true
	}
	defer j.Close()
	got, err := dump(j)
	if err != nil && !errors.As(err, &damaged) {
		t.Fatalf("not reported as damage: %v", err)
	}
	r, verr := j.Verify(t.Context())
	if verr != nil && !errors.As(verr, &damaged) {
		t.Fatalf("verify: %v", verr)
	}
	if verr != nil || !r.OK() {
		return true
	}
	if err != nil || got != content {
		t.Fatalf("the damage was not found: %v\n%s", err, cmp.Diff(content, got))
	}
	return false
}

func TestACutFileIsDamagedWhereverItWasCut(t *testing.T) {
	file, content := smallJournal(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	pages, err := readMeta(strings.NewReader(string(file)), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	used := int(pages.highWater) * pages.pageSize
	cuts := 0
	for size := 0; size <= min(len(file), used+4*pageSize); size += pages.pageSize / 2 {
		found := judge(t, path, file[:size], content)
		if size < used && !found {
			t.Errorf("cut to %d of %d bytes in use it was taken for sound", size, used)
		}
		if size >= used && found {
			t.Errorf("without free space at the end (%d of %d bytes) it was taken for damaged", size, len(file))
		}
		cuts++
	}
	t.Logf("%d cuts, %d pages", cuts, pages.highWater)
}

func TestZeroedPagesAreFound(t *testing.T) {
	file, content := smallJournal(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	pages, err := readMeta(strings.NewReader(string(file)), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for id := range int(pages.highWater) {
		damaged := append([]byte(nil), file...)
		clear(damaged[id*pages.pageSize : (id+1)*pages.pageSize])
		if judge(t, path, damaged, content) {
			found++
		}
	}
	t.Logf("%d of %d pages mattered", found, pages.highWater)
	if found == 0 {
		t.Error("none was found")
	}
}

// TXUPD_FLIPS makes it more of them.
func TestFlippedBitsAreFoundOrHarmless(t *testing.T) {
	file, content := smallJournal(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	flips := 300
	if s := os.Getenv("TXUPD_FLIPS"); s != "" {
		if _, err := fmt.Sscan(s, &flips); err != nil {
			t.Fatal(err)
		}
	}
	pages, err := readMeta(strings.NewReader(string(file)), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	used := int(pages.highWater) * pages.pageSize
	found := 0
	for i := range flips {
		at := r.IntN(used)
		if i%3 == 0 { // headers and elements stand at the beginnings of pages
			at = at/pageSize*pageSize + r.IntN(300)
		}
		damaged := append([]byte(nil), file...)
		damaged[at] ^= 1 << r.IntN(8)
		if judge(t, path, damaged, content) {
			found++
		}
	}
	t.Logf("%d of %d flips were in use, and found", found, flips)
}

// openUnread opens a file as one too large to read every page of: the leaves are not looked at.
func openUnread(t *testing.T, path string) (*Journal, error) {
	t.Helper()
	f, err := lock(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	pages, err := readMeta(f, info.Size())
	if err == nil {
		err = pages.check(false)
	}
	if err != nil {
		f.Close()
		return nil, &DamagedError{Path: path, Reason: err.Error()}
	}
	pack, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	j := &Journal{path: path, now: time.Now, log: slog.New(slog.DiscardHandler), file: f, pack: pack}
	if err := j.openDB(); err != nil {
		f.Close()
		return nil, err
	}
	if err := j.checkContent(); err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

func TestBoltNeverPanicsThroughUnreadLeaves(t *testing.T) {
	file, _ := smallJournal(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	meta, err := readMeta(strings.NewReader(string(file)), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	pages := int(meta.highWater)
	r := rand.New(rand.NewPCG(1, 2))
	var damaged *DamagedError
	const damages = 300
	failed := 0
	for i := range damages {
		bad := append([]byte(nil), file...)
		id := 2 + r.IntN(pages-2)
		if i%3 == 0 {
			clear(bad[id*pageSize : (id+1)*pageSize])
		} else {
			for range 4 {
				bad[id*pageSize+r.IntN(200)] ^= byte(1 + r.IntN(255))
			}
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := openUnread(t, path)
		if err == nil {
			_, err = dump(j)
			uerr := j.Update(func(tx *Tx) error { return putTransaction(tx, 41, 60) })
			if uerr != nil && !errors.As(uerr, &damaged) {
				t.Errorf("page %d: update: %v", id, uerr)
			}
			if _, verr := j.Verify(t.Context()); verr != nil && !errors.As(verr, &damaged) {
				t.Errorf("page %d: verify: %v", id, verr)
			}
			j.Close()
		}
		if err != nil {
			failed++
			if !errors.As(err, &damaged) {
				t.Errorf("page %d: %v", id, err)
			}
		}
	}
	t.Logf("%d of %d damages were met", failed, damages)
}

func TestAFileCutUnderAnOpenJournalIsNoCrash(t *testing.T) {
	file, _ := smallJournal(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	j := openAt(t, path)
	if err := os.Truncate(path, 2*pageSize); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := dump(j); !errors.As(err, &damaged) {
		t.Errorf("reading: %v", err)
	}
	for range 2 { // the second one must not wait for the first one's lock
		if err := j.Update(func(tx *Tx) error { return tx.Put("begin", nil, sample(99)) }); !errors.As(err, &damaged) {
			t.Errorf("writing: %v", err)
		}
	}
	if _, err := j.Verify(t.Context()); !errors.As(err, &damaged) {
		t.Errorf("verifying: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}

func TestATornMetaPageLosesAtMostTheLastChange(t *testing.T) {
	file, _ := smallJournal(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	for id := range 2 {
		torn := append([]byte(nil), file...)
		torn[id*pageSize+pageHeaderSize+40]++
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		j, err := Open(path, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatalf("meta page %d: %v", id, err)
		}
		if !strings.Contains(log.String(), "meta page") {
			t.Errorf("meta page %d: nothing was said: %q", id, log.String())
		}
		if r, err := j.Verify(t.Context()); err != nil || r.OK() {
			t.Errorf("meta page %d: verify found nothing: %v", id, err)
		}
		update(t, j, func(tx *Tx) error { return putTransaction(tx, 77, 10) })
		checkSound(t, j)
		j.Close()
	}
}
