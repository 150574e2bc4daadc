// The file as a whole: who may open it, what a cut in the middle leaves, and
// that it can be set aside, compacted and migrated.

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func TestSecondOpenIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openAt(t, path)
	_, err := Open(path, Options{Timeout: 30 * time.Millisecond})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("second open: %v", err)
	}
	if err := Compact(path, Options{Timeout: time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("compact: %v", err)
	}
	// One who waits gets it when the first one leaves.
	got := make(chan error)
	go func() {
		j, err := Open(path, Options{Timeout: time.Minute})
		if err == nil {
			err = j.Close()
		}
		got <- err
	}()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("after waiting: %v", err)
	}
}

func TestManyOpenAtOnceMakeOneJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	ids := make(chan string, 8)
	var wg sync.WaitGroup
	for range cap(ids) {
		wg.Go(func() {
			j, err := Open(path, Options{Timeout: time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			ids <- j.ID()
			j.Close()
		})
	}
	wg.Wait()
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Errorf("two journals: %s and %s", first, id)
		}
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("left over: %v", names)
	}
}

func TestLeftoversOfACutAreRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(path+temporaryMark+"ABC", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("left over: %v", names)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "missing", "journal.db"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a directory was opened")
	}
	for name, content := range map[string]string{"empty": "", "text": strings.Repeat("not a journal\n", 1000)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := Open(path, Options{}); !errors.As(err, &damaged) || damaged.Path != path {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSetAsideMakesRoomAndKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	var names []string
	for range 2 {
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		aside, err := SetAside(path)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(aside); string(b) != "damaged" || err != nil {
			t.Errorf("%s: %q %v", aside, b, err)
		}
		names = append(names, aside)
	}
	if names[0] == names[1] || !strings.HasPrefix(names[0], path+".damaged-2") {
		t.Errorf("set aside as %v", names)
	}
	openAt(t, path)
	if _, err := SetAside(path); !errors.Is(err, ErrLocked) {
		t.Errorf("a journal in use was set aside: %v", err)
	}
}

func TestCompactKeepsEverythingAndShrinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openAt(t, path)
	for n := uint64(1); n <= 50; n++ {
		update(t, j, func(tx *Tx) error {
			if err := tx.Put("begin", nil, sample(n)); err != nil {
				return err
			}
			return tx.PutSteps(n, []byte(`"`+strings.Repeat(fmt.Sprint(n), 20000)+`"`))
		})
	}
	update(t, j, func(tx *Tx) error {
		for n := uint64(1); n <= 50; n++ {
			if err := tx.DeleteSteps(n); err != nil {
				return err
			}
		}
		return nil
	})
	var before Head
	view(t, j, func(tx *Tx) (err error) { before, err = tx.Head(); return err })
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	old, _ := os.Stat(path)
	if err := Compact(path, Options{}); err != nil {
		t.Fatal(err)
	}
	now, _ := os.Stat(path)
	if now.Size() >= old.Size() {
		t.Errorf("%d bytes became %d", old.Size(), now.Size())
	}
	j = openAt(t, path)
	checkSound(t, j)
	if err := j.VerifyHead(before); err != nil {
		t.Error(err)
	}
}

func TestSchemaDecidesWhoMayOpen(t *testing.T) {
	for _, c := range []struct {
		schema schema
		want   error
	}{{schema{1, 7}, nil}, {schema{2, 0}, ErrNewer}, {schema{0, 9}, ErrOlder}} {
		t.Run(fmt.Sprint(c.schema), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			j := openAt(t, path)
			update(t, j, func(tx *Tx) error {
				tx.dirty = true
				if _, err := tx.b.CreateBucketIfNotExists([]byte("of the future")); err != nil {
					return err
				}
				return tx.putMetaJSON(metaSchema, c.schema)
			})
			j.Close()
			j, err := Open(path, Options{})
			if !errors.Is(err, c.want) || (c.want != nil) != (err != nil) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			defer j.Close()
			update(t, j, func(tx *Tx) error { return tx.Put("begin", nil, sample(1)) })
			view(t, j, func(tx *Tx) error {
				if s, err := tx.schema(); s != c.schema || err != nil {
					t.Errorf("schema became %v %v", s, err)
				}
				return nil
			})
			checkSound(t, j)
		})
	}
}

func TestMigrateMakesANewFileAndKeepsTheOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openAt(t, path)
	update(t, j, func(tx *Tx) error { return tx.Put("begin", nil, sample(1)) })
	id := j.ID()
	j.Close()
	if kept, err := Migrate(path, Options{}); err != nil || kept != nil {
		t.Errorf("a current journal: %v %v", kept, err)
	}
	step := func(old, new *bbolt.Tx) error {
		b, err := new.CreateBucket([]byte("number of records"))
		if err != nil {
			return err
		}
		return b.Put([]byte("n"), []byte(fmt.Sprint(old.Bucket([]byte(bucketRecords)).Inspect().KeyN)))
	}
	failing := func(old, new *bbolt.Tx) error { return errors.New("no") }
	if _, err := migrate(path, Options{}.withDefaults(), []migration{failing}); err == nil {
		t.Error("a failing migration succeeded")
	}
	openAt(t, path).Close()
	kept, err := migrate(path, Options{}.withDefaults(), []migration{step})
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v %v", kept, err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrNewer) {
		t.Errorf("the new file: %v", err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.View(func(tx *bbolt.Tx) error {
		if got := tx.Bucket([]byte("number of records")).Get([]byte("n")); string(got) != "1" {
			t.Errorf("migrated %q", got)
		}
		return nil
	})
	if old := openAt(t, kept[0]); old.ID() != id {
		t.Errorf("what was kept is %s", old.ID())
	}
}
