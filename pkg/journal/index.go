// The indexes by package name and by time. Both are derived from the records
// and kept in the same bbolt transaction.

package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/txupd/txupd/pkg/journal/record"
)

// The index by package holds, under number/256 (8 bytes, big endian) and name,
// the last bytes of the numbers in ascending order. A package that changes with
// every update costs one byte each time, not a key; and as the newest numbers
// stand together, a change writes as few pages late in a journal's life as early.
const packageChunk = 256

// maxPackageName keeps keys far below bbolt's limit.
const maxPackageName = 4096

func packageKey(name string, n uint64) []byte {
	return append(numberKey(n/packageChunk), name...)
}

// timeKey sorts as the time does: seconds with the sign turned, nanoseconds, number.
func timeKey(t time.Time, n uint64) []byte {
	key := binary.BigEndian.AppendUint64(nil, uint64(t.Unix())^1<<63)
	key = binary.BigEndian.AppendUint32(key, uint32(t.Nanosecond()))
	return binary.BigEndian.AppendUint64(key, n)
}

const timeKeySize = 20

// indexed is the part of a stored record that the indexes are made of.
type indexed struct {
	Created        time.Time              `json:"created"`
	PackageChanges []record.PackageChange `json:"package_changes"`
}

func packageNames(changes []record.PackageChange) []string {
	names := make([]string, 0, len(changes))
	for _, c := range changes {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// index brings the indexes from the stored record old (nil for none) to rec.
func (tx *Tx) index(old []byte, patch object, rec record.Record) error {
	_, retimed := patch["created"]
	retimed = retimed || old == nil
	_, repackaged := patch["package_changes"]
	if !retimed && !repackaged {
		return nil
	}
	var was indexed
	if old != nil {
		if err := json.Unmarshal(old, &was); err != nil {
			return tx.damaged("record %d: %v", rec.Number, err)
		}
	}
	if retimed {
		if old != nil {
			if err := tx.byTime.Delete(timeKey(was.Created, rec.Number)); err != nil {
				return err
			}
		}
		if err := tx.byTime.Put(timeKey(rec.Created, rec.Number), nil); err != nil {
			return err
		}
	}
	if !repackaged {
		return nil
	}
	before, now := packageNames(was.PackageChanges), packageNames(rec.PackageChanges)
	for _, name := range before {
		if _, still := slices.BinarySearch(now, name); !still {
			if err := tx.indexPackage(name, rec.Number, false); err != nil {
				return err
			}
		}
	}
	for _, name := range now {
		if _, already := slices.BinarySearch(before, name); !already {
			if err := tx.indexPackage(name, rec.Number, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexPackage adds number n to a package's index or takes it out.
func (tx *Tx) indexPackage(name string, n uint64, add bool) error {
	if len(name) > maxPackageName {
		return fmt.Errorf("the package name %.40q… has %d bytes; at most %d can be recorded", name, len(name), maxPackageName)
	}
	key := packageKey(name, n)
	var low []byte
	if stored := tx.byPackage.Get(key); stored != nil {
		var err error
		if low, err = tx.j.pack.unpack(key, stored); err != nil {
			return tx.damaged("the index of package %q: %v", name, err)
		}
	}
	i, found := slices.BinarySearch(low, byte(n))
	switch {
	case add && !found:
		low = slices.Insert(low, i, byte(n))
	case !add && found:
		low = slices.Delete(low, i, i+1)
	default:
		return nil
	}
	if len(low) == 0 {
		return tx.byPackage.Delete(key)
	}
	return tx.byPackage.Put(key, tx.j.pack.pack(key, low))
}

// ByPackage returns the numbers of the transactions that changed the package of that name, newest first.
func (tx *Tx) ByPackage(name string) ([]uint64, error) {
	var numbers []uint64
	c := tx.byPackage.Cursor()
	above := Newest/packageChunk + 1
	key, value, err := tx.step(c.Last)
	for key != nil && err == nil {
		if len(key) < 8 || binary.BigEndian.Uint64(key) >= above {
			return nil, tx.damaged("the index by package has the key %x", key)
		}
		chunk := binary.BigEndian.Uint64(key)
		above = chunk
		want := packageKey(name, chunk*packageChunk)
		if string(key) != string(want) {
			key, value, err = tx.seek(c, want)
		}
		if err == nil && string(key) == string(want) {
			low, err := tx.unpackAt(key, value)
			if err != nil {
				return nil, tx.damaged("the index of package %q: %v", name, err)
			}
			for _, b := range slices.Backward(low) {
				numbers = append(numbers, chunk*packageChunk+uint64(b))
			}
		}
		if err != nil {
			break
		}
		// The last key of the chunk before, however many numbers lie between.
		key, value, err = tx.step(func() ([]byte, []byte) {
			c.Seek(numberKey(chunk))
			return c.Prev()
		})
	}
	return numbers, err
}

// ByTime returns the numbers of the transactions created at since or later and
// before until, newest first. A zero time is no limit.
func (tx *Tx) ByTime(since, until time.Time) ([]uint64, error) {
	var from []byte
	if !since.IsZero() {
		from = timeKey(since, 0)
	}
	var end []byte
	if !until.IsZero() {
		end = timeKey(until, 0)
	}
	var numbers []uint64
	c := tx.byTime.Cursor()
	key, _, err := tx.seek(c, from)
	for ; key != nil && err == nil; key, _, err = tx.step(c.Next) {
		if end != nil && bytes.Compare(key, end) >= 0 {
			break
		}
		if len(key) != timeKeySize {
			return nil, tx.damaged("the index by time has the key %x", key)
		}
		numbers = append(numbers, binary.BigEndian.Uint64(key[timeKeySize-8:]))
	}
	slices.Reverse(numbers)
	return numbers, err
}

// unpackAt unpacks a value that a cursor stands on.
func (tx *Tx) unpackAt(key, stored []byte) (payload []byte, err error) {
	defer tx.guard(&err)
	return tx.j.pack.unpack(key, stored)
}
