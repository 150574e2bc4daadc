// The files that a transaction changed: a path list and its filter, apart from
// the record, which only carries the list's hash.

package journal

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"github.com/txupd/txupd/pkg/journal/record"
)

// storedFileList is a member of a stored record beside those of record.Record.
const storedFileList = "file_list"

// fileList says which path list belongs to a record.
type fileList struct {
	SHA256 string `json:"sha256"` // of the stored bytes
	Count  int    `json:"count"`
}

// PutFiles records which files transaction n changed, in the place of what was
// recorded before. The record itself must be there (ErrNotFound).
func (tx *Tx) PutFiles(n uint64, changes []record.FileChange) error {
	err := tx.write(func() error {
		old, err := tx.storedRecord(n)
		if err != nil {
			return err
		}
		if old == nil {
			return ErrNotFound
		}
		changes := sortedByPath(changes)
		raw, err := encodePaths(changes)
		if err != nil {
			return err
		}
		key := numberKey(n)
		stored := tx.j.pack.pack(key, raw)
		if err := putBlob(tx.files, n, stored); err != nil {
			return err
		}
		if err := tx.filters.Put(key, packFilter(key, buildFilter(changes))); err != nil {
			return err
		}
		list, err := encodeJSON(fileList{SHA256: sum(stored), Count: len(changes)})
		if err != nil {
			return err
		}
		return tx.patch("files", nil, n, old, object{storedFileList: list})
	})
	if err != nil {
		return fmt.Errorf("cannot record the files of snapshot %d: %w", n, err)
	}
	return nil
}

// Files returns the files that transaction n changed, by path; none is no error.
func (tx *Tx) Files(n uint64) ([]record.FileChange, error) {
	return tx.selectFiles(n, nil)
}

// FilesBelow returns those at path and below it.
func (tx *Tx) FilesBelow(n uint64, path string) ([]record.FileChange, error) {
	path = trimSlash(path)
	if path == "" {
		return tx.Files(n)
	}
	return tx.selectFiles(n, &path)
}

func trimSlash(path string) string { return strings.TrimRight(path, "/") }

// selectFiles reads a list: all of it, or what is at or below one path.
func (tx *Tx) selectFiles(n uint64, below *string) (changes []record.FileChange, err error) {
	defer tx.guard(&err)
	key := numberKey(n)
	stored := getBlob(tx.files, n)
	if stored == nil {
		return nil, nil
	}
	raw, err := tx.j.pack.unpack(key, stored)
	if err != nil {
		return nil, tx.damaged("the files of snapshot %d: %v", n, err)
	}
	l, err := openPaths(raw)
	if err != nil {
		return nil, tx.damaged("the files of snapshot %d: %v", n, err)
	}
	end := ""
	if below == nil {
		changes = make([]record.FileChange, 0, l.count)
	} else {
		end = *below + "0" // '0' follows '/': nothing below the path sorts as high
	}
	for e, err := range l.entries() {
		if err != nil {
			return nil, tx.damaged("the files of snapshot %d: %v", n, err)
		}
		if below != nil {
			if string(e.path) >= end {
				break
			}
			if !isBelow(e.path, *below) {
				continue
			}
		}
		changes = append(changes, e.fileChange())
	}
	return changes, nil
}

// isBelow reports whether path is dir or in it.
func isBelow(path []byte, dir string) bool {
	return len(path) >= len(dir) && string(path[:len(dir)]) == dir && (len(path) == len(dir) || path[len(dir)] == '/')
}

// MayTouch reports whether transaction n may have changed path or something
// below it. "No" is certain; for a "yes" FilesBelow has to be asked.
func (tx *Tx) MayTouch(n uint64, path string) (may bool, err error) {
	defer tx.guard(&err)
	key := numberKey(n)
	stored := tx.filters.Get(key)
	if stored == nil {
		return false, nil
	}
	return tx.mayHold(key, stored, trimSlash(path))
}

func (tx *Tx) mayHold(key, stored []byte, path string) (may bool, err error) {
	defer tx.guard(&err)
	filter, err := tx.j.pack.filterOf(key, stored)
	if err != nil {
		return false, tx.damaged("the filter under the key %x: %v", key, err)
	}
	return path == "" || filterMayHold(filter, hashPath(path)), nil
}

// Candidates iterates, newest first, over the numbers of all transactions that may
// have changed path or something below it. It reads only filters. The caller must not write meanwhile.
func (tx *Tx) Candidates(path string) iter.Seq2[uint64, error] {
	path = trimSlash(path)
	return func(yield func(uint64, error) bool) {
		c := tx.filters.Cursor()
		key, value, err := tx.step(c.Last)
		for ; key != nil || err != nil; key, value, err = tx.step(c.Prev) {
			may, n := true, uint64(0)
			if err == nil {
				var ok bool
				if n, ok = keyNumber(key); !ok {
					err = tx.damaged("a filter is stored under the key %x", key)
				} else {
					may, err = tx.mayHold(key, value, path)
				}
			}
			if (may || err != nil) && (!yield(n, err) || err != nil) {
				return
			}
		}
	}
}

// listOf returns what a stored record says of its path list; ok is false if it has none.
func listOf(raw []byte) (l fileList, ok bool, err error) {
	var stored struct {
		FileList *fileList `json:"file_list"`
	}
	if err := json.Unmarshal(raw, &stored); err != nil || stored.FileList == nil {
		return fileList{}, false, err
	}
	return *stored.FileList, true, nil
}
