package journal

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/txupd/txupd/internal/reserve"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

// note records one small change.
func note(j *Journal, n uint64, message string) error {
	return j.Update(func(tx *Tx) error {
		return tx.Put("begin", nil, record.Record{Number: n, Phase: record.Open, Message: message})
	})
}

// large records more than is allocated ahead, which does not compress.
func large(j *Journal) error {
	value := make([]byte, 3<<20)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	return j.Update(func(tx *Tx) error { return tx.PutMeta("large", value) })
}

// TestSmallChangesAreRecordedOnAFullFileSystem, and one that is too large is an
// error that harms nothing, unless somebody makes room.
func TestSmallChangesAreRecordedOnAFullFileSystem(t *testing.T) {
	for name, mkfs := range map[string][]string{"apart": {"-m", "dup"}, "mixed": {"--mixed"}} {
		t.Run(name, func(t *testing.T) {
			top := testbed.Loop(t, 256, mkfs...)
			path := filepath.Join(top, "journal.db")
			asked := 0
			room := func() bool { return false }
			j, err := Open(path, Options{Room: func() bool {
				asked++
				return room()
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { j.Close() })
			if err := note(j, 1, "with space"); err != nil {
				t.Fatal(err)
			}
			held := reserve.At(filepath.Join(top, "reserve"))
			if err := held.Take(); err != nil {
				t.Fatal(err)
			}
			full := testbed.Fill(t, top)
			for n := uint64(2); n < 60; n++ {
				if err := note(j, n, strings.Repeat("without space ", 20)); err != nil {
					t.Fatalf("change %d: %v", n, err)
				}
			}
			if asked > 0 {
				t.Errorf("small changes asked for room %d times", asked)
			}
			if err := large(j); !errors.Is(err, syscall.ENOSPC) || asked != 1 {
				t.Fatalf("a change that does not fit: %v, asked for room %d times", err, asked)
			}
			room = func() bool {
				released, err := held.Release()
				return released && err == nil
			}
			if err := note(j, 60, "after one that did not fit"); err != nil {
				t.Fatal(err)
			}
			room = func() bool {
				full.Empty()
				return true
			}
			if err := large(j); err != nil {
				t.Fatalf("with room: %v", err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			again := openAt(t, path)
			report, err := again.Verify(t.Context())
			if err != nil || len(report.Problems) > 0 {
				t.Errorf("verify: %v, %+v", err, report.Problems)
			}
			if report.Records != 60 || report.Events != 60 {
				t.Errorf("%d records, %d events", report.Records, report.Events)
			}
		})
	}
}

// TestAFailedChangeGivesTheBlocksBack that it took before there were no more.
func TestAFailedChangeGivesTheBlocksBack(t *testing.T) {
	top := testbed.Loop(t, 256)
	j := openAt(t, filepath.Join(top, "journal.db"))
	if err := note(j, 1, "with space"); err != nil {
		t.Fatal(err)
	}
	testbed.NewFiller(t, top).Data(0)
	before := j.size()
	if err := large(j); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a change that does not fit: %v", err)
	}
	if after := j.size(); after != before {
		t.Errorf("the file has %d bytes, before it had %d", after, before)
	}
	if err := note(j, 2, "after it"); err != nil {
		t.Fatal(err)
	}
}

// TestAChangeIsNotMadeTwice where it was written and only its flush failed.
func TestAChangeIsNotMadeTwice(t *testing.T) {
	j, err := Open(filepath.Join(t.TempDir(), "journal.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	change := func(tx *Tx) error {
		return tx.Put("begin", nil, record.Record{Number: 1, Phase: record.Open})
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	id, err := j.update(change)
	if err != nil {
		t.Fatal(err)
	}
	events := func() (n uint64) {
		if err := j.View(func(tx *Tx) error {
			head, err := tx.Head()
			n = head.Seq
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := j.again(id, change); err != nil || events() != 1 {
		t.Errorf("of one that was written: %v, %d events", err, events())
	}
	if err := j.again(id+1, change); err != nil || events() != 2 {
		t.Errorf("of one that was not: %v, %d events", err, events())
	}
}
