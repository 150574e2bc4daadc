// The page check against bbolt's own, and against bytes that are no pages.

package journal

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// The page check and bbolt's own must both find a sound file sound.
func TestPageCheckAgreesWithBolt(t *testing.T) {
	for _, size := range []int{1 << 10, 4 << 10, 8 << 10, 64 << 10} {
		path := filepath.Join(t.TempDir(), "any.db")
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: size})
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(size), 1))
		for range 30 {
			err := db.Update(func(tx *bbolt.Tx) error {
				for range 40 {
					b, err := tx.CreateBucketIfNotExists([]byte(fmt.Sprint("bucket", r.IntN(5))))
					if err != nil {
						return err
					}
					if r.IntN(3) == 0 {
						if b, err = b.CreateBucketIfNotExists([]byte("nested")); err != nil {
							return err
						}
					}
					key := fmt.Appendf(nil, "%d", r.IntN(300))
					if r.IntN(4) == 0 {
						err = b.Delete(key)
					} else {
						err = b.Put(key, make([]byte, r.IntN(3*size)))
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			pages, err := readMeta(f, info.Size())
			if err != nil {
				t.Fatal(err)
			}
			if pages.pageSize != size || pages.torn {
				t.Errorf("page size %d, torn %v", pages.pageSize, pages.torn)
			}
			for _, leaves := range []bool{true, false} {
				if err := pages.check(leaves); err != nil {
					t.Errorf("page size %d, leaves %v: %v", size, leaves, err)
				}
			}
			f.Close()
		}
		db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Error(err)
			}
			return nil
		})
		db.Close()
	}
}

// Give it -fuzzminimizetime=1s: making a file of pages smaller byte by byte takes all the time otherwise.
func FuzzPages(f *testing.F) {
	const size = 1 << 10
	path := filepath.Join(f.TempDir(), "any.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: size})
	if err != nil {
		f.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for i := range 2 {
			b, err := tx.CreateBucket([]byte{'a' + byte(i)})
			if err != nil {
				return err
			}
			for k := range 1 + 40*i {
				if err := b.Put([]byte{byte(k)}, make([]byte, 50)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	db.Close()
	file, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	pages, err := readMeta(strings.NewReader(string(file)), int64(len(file)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file[:pages.highWater*size], uint16(pages.root), uint16(pages.freelist))
	f.Fuzz(func(t *testing.T, file []byte, root, freelist uint16) {
		r := strings.NewReader(string(file))
		p := &filePages{r: r, pageSize: size, highWater: uint64(len(file)/size + 4), root: uint64(root), freelist: uint64(freelist)}
		p.check(true)
		p.check(false)
		if _, err := readMeta(r, int64(len(file))); err == io.EOF {
			t.Fatal("an error without words")
		}
	})
}
