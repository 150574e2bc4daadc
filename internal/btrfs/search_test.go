package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

// result is one item as the kernel puts it into the buffer.
func result(object uint64, kind uint32, offset uint64, length uint32, data ...byte) []byte {
	native := binary.NativeEndian
	b := native.AppendUint64(nil, 7)
	b = native.AppendUint64(b, object)
	b = native.AppendUint64(b, offset)
	b = native.AppendUint32(b, kind)
	b = native.AppendUint32(b, length)
	return append(b, data...)
}

func TestEachItemRefusesWhatIsBeyondTheBuffer(t *testing.T) {
	whole := result(256, 1, 0, 3, 1, 2, 3)
	for name, c := range map[string]struct {
		results []byte
		count   uint32
		ok      bool
	}{
		"nothing":          {nil, 0, true},
		"one item":         {whole, 1, true},
		"two items":        {slices.Concat(whole, whole), 2, true},
		"no data":          {result(256, 1, 0, 0), 1, true},
		"fewer items":      {whole, 2, false},
		"half a header":    {whole[:20], 1, false},
		"data cut off":     {whole[:34], 1, false},
		"length too large": {result(256, 1, 0, math.MaxUint32, 1), 1, false},
		"type too large":   {result(256, 256, 0, 0), 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			var seen uint32
			_, used, err := eachItem(c.results, c.count, func(snapshot.SearchItem) error { seen++; return nil })
			if (err == nil) != c.ok {
				t.Fatalf("got %v", err)
			}
			if c.ok && (seen != c.count || used != len(c.results)) {
				t.Errorf("%d items in %d bytes, want %d in %d", seen, used, c.count, len(c.results))
			}
		})
	}
}

func FuzzEachItem(f *testing.F) {
	f.Add(result(256, 1, 0, 3, 1, 2, 3), uint32(1))
	f.Add(slices.Concat(result(256, 1, 0, 3, 1, 2, 3), result(257, 96, 2, 0)), uint32(2))
	f.Add(result(256, 1, 0, math.MaxUint32), uint32(math.MaxUint32))
	f.Add([]byte{}, uint32(1))
	f.Fuzz(func(t *testing.T, results []byte, count uint32) {
		total := 0
		_, used, err := eachItem(results, count, func(item snapshot.SearchItem) error {
			total += searchHeaderSize + len(item.Data)
			return nil
		})
		if used > len(results) || err == nil && used != total {
			t.Errorf("used %d of %d bytes, items take %d", used, len(results), total)
		}
	})
}

func TestContinueAfterIsTheNextKey(t *testing.T) {
	const top = math.MaxUint64
	all := snapshot.SearchKey{MaxObject: top, MaxType: 255, MaxOffset: top}
	for _, c := range []struct {
		name   string
		within snapshot.SearchKey
		last   snapshot.SearchItem
		more   bool
		object uint64
		kind   uint8
		offset uint64
	}{
		{"the offset", all, snapshot.SearchItem{Object: 5, Type: 6, Offset: 7}, true, 5, 6, 8},
		{"the type", all, snapshot.SearchItem{Object: 5, Type: 6, Offset: top}, true, 5, 7, 0},
		{"the object", all, snapshot.SearchItem{Object: 5, Type: 255, Offset: top}, true, 6, 0, 0},
		{"none above all", all, snapshot.SearchItem{Object: top, Type: 255, Offset: top}, false, 0, 0, 0},
		{"none above the range", snapshot.SearchKey{MaxObject: 5, MaxType: 6, MaxOffset: 7}, snapshot.SearchItem{Object: 5, Type: 6, Offset: 7}, false, 5, 6, 8},
		{"none of a higher type", snapshot.SearchKey{MaxObject: 5, MaxType: 6, MaxOffset: top}, snapshot.SearchItem{Object: 5, Type: 6, Offset: top}, false, 5, 7, 0},
		{"a higher type of a lower object", snapshot.SearchKey{MaxObject: 6, MaxType: 1}, snapshot.SearchItem{Object: 5, Type: 200}, true, 5, 200, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := c.within
			more := continueAfter(&key, c.last)
			if more != c.more || key.MinObject != c.object || key.MinType != c.kind || key.MinOffset != c.offset {
				t.Errorf("got (%d %d %d) %v, want (%d %d %d) %v", key.MinObject, key.MinType, key.MinOffset, more, c.object, c.kind, c.offset, c.more)
			}
		})
	}
}

// More items than any buffer holds come complete, once and in order, however
// small the buffer is at first.
func TestSearchIsCompleteAcrossBuffers(t *testing.T) {
	top := testbed.Loop(t, 256)
	const files = 20000
	dir, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for i := range files {
		if err := os.WriteFile(fmt.Sprintf("%s/a file with the number %05d", top, i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := (Driver{}).Sync(top); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 100, 5000, firstBuffer} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := &Searcher{}
			s.buffers.Put(newSearchBuffer(size))
			var last uint64
			count := 0
			err := s.Search(int(dir.Fd()), snapshot.SearchKey{
				MinObject: 256, MaxObject: 256, MinType: 96, MaxType: 96, MaxOffset: math.MaxUint64,
			}, func(item snapshot.SearchItem) error {
				if item.Object != 256 || item.Type != 96 || item.Offset <= last {
					return fmt.Errorf("item (%d %d %d) after offset %d", item.Object, item.Type, item.Offset, last)
				}
				last = item.Offset
				count++
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if count != files {
				t.Errorf("found %d entries, want %d", count, files)
			}
		})
	}
}

func TestSearchSelectsByTransaction(t *testing.T) {
	top := testbed.Loop(t, 256)
	dir, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	all := snapshot.SearchKey{MaxObject: math.MaxUint64, MaxType: 255, MaxOffset: math.MaxUint64}
	find := func(key snapshot.SearchKey) (count int, newest uint64) {
		err := new(Searcher).Search(int(dir.Fd()), key, func(item snapshot.SearchItem) error {
			if item.Transid < key.MinTransid || key.MaxTransid != 0 && item.Transid > key.MaxTransid {
				t.Errorf("an item of transaction %d is not of %d to %d", item.Transid, key.MinTransid, key.MaxTransid)
			}
			count, newest = count+1, max(newest, item.Transid)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return count, newest
	}
	count, newest := find(all)
	if count == 0 {
		t.Fatal("found nothing at all")
	}
	later := all
	later.MinTransid = newest + 1
	if count, _ := find(later); count != 0 {
		t.Errorf("%d items are newer than the newest", count)
	}
	earlier := all
	earlier.MaxTransid = newest
	if again, _ := find(earlier); again != count {
		t.Errorf("%d items are not newer than the newest, want all %d", again, count)
	}
}

func TestSearchSaysWhyItCannot(t *testing.T) {
	top := testbed.Loop(t, 256)
	for _, c := range []struct {
		name, dir string
		tree      uint64
		want      error
	}{
		{"no such tree", top, 4711, fs.ErrNotExist},
		{"not btrfs", "/proc", 0, snapshot.ErrNotBtrfs},
	} {
		dir, err := os.Open(c.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		key := snapshot.SearchKey{Tree: c.tree, MaxObject: math.MaxUint64}
		err = new(Searcher).Search(int(dir.Fd()), key, func(snapshot.SearchItem) error { return nil })
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	mine := errors.New("mine")
	dir, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	err = new(Searcher).Search(int(dir.Fd()), snapshot.SearchKey{MaxObject: math.MaxUint64, MaxType: 255}, func(snapshot.SearchItem) error { return mine })
	if err != mine {
		t.Errorf("got %v, want the callback's own error", err)
	}
}
