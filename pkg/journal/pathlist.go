// The path list of one transaction, front-coded: each path is stored as what it
// does not share with the one before it. Like is put beside like, in columns,
// for the compressor that comes after (pack.go).

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/txupd/txupd/pkg/journal/record"
)

// An encoded list is, all numbers unsigned varints,
//
//	format        1
//	count
//	words         count, then length and bytes of each: change kinds and owners
//	five columns  length in bytes, then one entry for each path: bytes shared
//	              with the path before · length of the rest · the rest · change
//	              (index into words) · owner (likewise)
//
// with the paths in ascending order of their bytes. Paths are bytes, not text.
const pathListFormat = 1

// MaxPath is the longest path that PutFiles takes (bytes). It is far above what
// a system call takes; but a tree can be deeper than any call reaches at once.
const MaxPath = 1 << 16

// maxPaths is how many bytes the paths of one list have together: a list of a few
// megabytes could stand for any number.
const maxPaths = 1 << 30

const (
	colShared = iota
	colLength
	colRest
	colChange
	colOwner
	columns
)

// sortedByPath returns changes in order of path.
func sortedByPath(changes []record.FileChange) []record.FileChange {
	sorted := slices.Clone(changes)
	slices.SortStableFunc(sorted, func(a, b record.FileChange) int { return strings.Compare(a.Path, b.Path) })
	return sorted
}

// sharedPrefix returns how many bytes two paths begin with alike.
func sharedPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// encodePaths renders changes, which are in order of path.
func encodePaths(sorted []record.FileChange) ([]byte, error) {
	var words []string
	index := map[string]uint64{}
	word := func(s string) uint64 {
		i, ok := index[s]
		if !ok {
			i = uint64(len(words))
			index[s] = i
			words = append(words, s)
		}
		return i
	}
	var column [columns][]byte
	before, total := "", 0
	for _, c := range sorted {
		if c.Path == "" || len(c.Path) > MaxPath {
			return nil, fmt.Errorf("the path %.40q has %d bytes; 1 to %d can be recorded", c.Path, len(c.Path), MaxPath)
		}
		if total += len(c.Path); total > maxPaths {
			return nil, fmt.Errorf("the paths of %d files have more than %d bytes", len(sorted), maxPaths)
		}
		shared := sharedPrefix(before, c.Path)
		column[colShared] = binary.AppendUvarint(column[colShared], uint64(shared))
		column[colLength] = binary.AppendUvarint(column[colLength], uint64(len(c.Path)-shared))
		column[colRest] = append(column[colRest], c.Path[shared:]...)
		column[colChange] = binary.AppendUvarint(column[colChange], word(c.Change))
		column[colOwner] = binary.AppendUvarint(column[colOwner], word(c.Owner))
		before = c.Path
	}

	out := []byte{pathListFormat}
	out = binary.AppendUvarint(out, uint64(len(sorted)))
	out = binary.AppendUvarint(out, uint64(len(words)))
	for _, w := range words {
		out = binary.AppendUvarint(out, uint64(len(w)))
		out = append(out, w...)
	}
	for _, c := range column {
		out = binary.AppendUvarint(out, uint64(len(c)))
		out = append(out, c...)
	}
	return out, nil
}

// pathList is an encoded list that was looked over: reading it needs no more memory than one path.
type pathList struct {
	count  int
	words  []string
	column [columns][]byte
}

var errPathList = errors.New("the path list is cut short or makes no sense")

// openPaths reads the head of an encoded list, and keeps raw.
func openPaths(raw []byte) (*pathList, error) {
	r := varints{rest: raw}
	if format := r.number(); r.bad || format != pathListFormat {
		return nil, fmt.Errorf("the path list has format %d, not %d", format, pathListFormat)
	}
	count, words := r.number(), r.number()
	// Each path and each word takes at least a byte, so this bounds what is allocated.
	if r.bad || count > uint64(len(r.rest)) || words > uint64(len(r.rest)) {
		return nil, errPathList
	}
	l := &pathList{count: int(count), words: make([]string, words)}
	for i := range l.words {
		l.words[i] = string(r.bytes())
	}
	for i := range l.column {
		l.column[i] = r.bytes()
	}
	if r.bad || len(r.rest) > 0 || l.count > len(l.column[colShared]) {
		return nil, errPathList
	}
	return l, nil
}

// entry is one path of a list; path is only good until the next one.
type entry struct {
	path          []byte
	change, owner string
}

func (e entry) fileChange() record.FileChange {
	return record.FileChange{Path: string(e.path), Change: e.change, Owner: e.owner}
}

// entries iterates over the paths in order.
func (l *pathList) entries() iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		var col [columns]varints
		for i := range col {
			col[i].rest = l.column[i]
		}
		var path []byte
		total := 0
		for range l.count {
			shared, length := col[colShared].number(), col[colLength].number()
			change, owner := col[colChange].number(), col[colOwner].number()
			if shared > uint64(len(path)) || length > MaxPath || shared+length > MaxPath ||
				change >= uint64(len(l.words)) || owner >= uint64(len(l.words)) {
				yield(entry{}, errPathList)
				return
			}
			rest := col[colRest].take(length)
			// What does not follow the path before, as bytes do, was not written by us, and would not be found.
			if shared < uint64(len(path)) && (len(rest) == 0 || rest[0] <= path[shared]) || shared+length == 0 {
				yield(entry{}, errPathList)
				return
			}
			path = append(path[:shared], rest...)
			if total += len(path); total > maxPaths {
				yield(entry{}, errPathList)
				return
			}
			for i := range col {
				if col[i].bad {
					yield(entry{}, errPathList)
					return
				}
			}
			if !yield(entry{path: path, change: l.words[change], owner: l.words[owner]}, nil) {
				return
			}
		}
		for i := range col {
			if len(col[i].rest) > 0 {
				yield(entry{}, errPathList)
				return
			}
		}
	}
}

// varints reads numbers and strings; bad is set once something does not fit.
type varints struct {
	rest []byte
	bad  bool
}

func (v *varints) number() uint64 {
	n, size := binary.Uvarint(v.rest)
	if size <= 0 {
		v.bad = true
		return 0
	}
	v.rest = v.rest[size:]
	return n
}

func (v *varints) take(n uint64) []byte {
	if n > uint64(len(v.rest)) {
		v.bad = true
		return nil
	}
	b := v.rest[:n]
	v.rest = v.rest[n:]
	return b
}

func (v *varints) bytes() []byte { return v.take(v.number()) }
