// Checks the pages of a bbolt file with plain reads, before bbolt maps it and
// beside it. bbolt trusts its pages: where they are damaged it panics, and
// where the file is too short its memory map faults. Its own check does so too.
//
// Layout: go.etcd.io/bbolt, internal/common/{page,meta,bucket}.go, in the byte order of the machine.

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

const (
	pageHeaderSize  = 16
	pageElementSize = 16
	metaSize        = 64
	bucketSize      = 16

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	bucketElement = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	// A tree over 2^64 keys is not deeper.
	maxDepth = 64
)

// filePages is a bbolt file at one moment, as its newest meta page says.
type filePages struct {
	r        io.ReaderAt
	pageSize int
	// highWater is one more than the last page in use.
	highWater, root, freelist, txid uint64
	// torn is set where the other meta page is invalid: after a power cut or a damage to the last commit.
	torn bool
}

// readMeta finds the newest valid meta page of a file of that size. A file
// that is shorter than that page says is an error.
func readMeta(r io.ReaderAt, size int64) (*filePages, error) {
	if size == 0 {
		return nil, errors.New("the file is empty")
	}
	var best *filePages
	valid := 0
	var why error
	first, err := metaAt(r, 0)
	if err != nil {
		why = err
	} else {
		best, valid = first, 1
	}
	// The second meta page tells its own place; without the first one all page sizes have to be tried.
	for pageSize := 1 << 10; pageSize <= 1<<16; pageSize <<= 1 {
		if first != nil && pageSize != first.pageSize {
			continue
		}
		second, err := metaAt(r, int64(pageSize))
		if err != nil || second.pageSize != pageSize {
			continue
		}
		valid++
		if best == nil || second.txid > best.txid {
			best = second
		}
	}
	if best == nil {
		return nil, fmt.Errorf("no meta page is valid: %w", why)
	}
	best.torn = valid < 2
	if uint64(size)/uint64(best.pageSize) < best.highWater {
		return nil, fmt.Errorf("the file has %d bytes and should have %d: it was cut short", size, best.highWater*uint64(best.pageSize))
	}
	return best, nil
}

func metaAt(r io.ReaderAt, offset int64) (*filePages, error) {
	b := make([]byte, pageHeaderSize+metaSize)
	if _, err := r.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("cannot read it: %w", err)
	}
	m, order := b[pageHeaderSize:], binary.NativeEndian
	h := fnv.New64a()
	h.Write(m[:metaSize-8])
	switch {
	case order.Uint32(m) != boltMagic:
		return nil, errors.New("it is not a bbolt file")
	case order.Uint32(m[4:]) != boltVersion:
		return nil, fmt.Errorf("it has version %d of bbolt's format", order.Uint32(m[4:]))
	case order.Uint64(m[56:]) != h.Sum64():
		return nil, errors.New("its checksum is wrong")
	}
	p := &filePages{
		r: r, pageSize: int(order.Uint32(m[8:])),
		root: order.Uint64(m[16:]), freelist: order.Uint64(m[32:]),
		highWater: order.Uint64(m[40:]), txid: order.Uint64(m[48:]),
	}
	if p.pageSize < 1<<10 || p.pageSize > 1<<16 || p.pageSize&(p.pageSize-1) != 0 {
		return nil, fmt.Errorf("its page size is %d", p.pageSize)
	}
	if p.highWater < 4 || p.highWater > 1<<40 {
		return nil, fmt.Errorf("its high-water mark is page %d", p.highWater)
	}
	return p, nil
}

// pageWalk is one check.
type pageWalk struct {
	*filePages
	// leaves: also read the leaf pages. Without, the cost is that of the branch pages, a hundredth.
	leaves bool
	used   []bool
	buffer [maxDepth][]byte // by depth: a page is in use while those below it are read
}

// check walks the trees from the root, with leaves down to every key and
// then also the list of free pages, and returns the first thing that is wrong.
func (p *filePages) check(leaves bool) error {
	w := &pageWalk{filePages: p, leaves: leaves, used: make([]bool, p.highWater)}
	w.used[0], w.used[1] = true, true
	if err := w.tree(p.root, nil, nil, 0); err != nil {
		return err
	}
	return w.free()
}

// page is one page with its overflow.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte // from the header on
}

func parsePage(id uint64, data []byte) (page, error) {
	if len(data) < pageHeaderSize {
		return page{}, fmt.Errorf("page %d has no header", id)
	}
	order := binary.NativeEndian
	return page{id: id, flags: order.Uint16(data[8:]), count: int(order.Uint16(data[10:])), data: data}, nil
}

// header reads how long a page is and what it is, without marking it as used.
func (w *pageWalk) header(id uint64) (flags uint16, pages uint64, err error) {
	if id < 2 || id >= w.highWater {
		return 0, 0, fmt.Errorf("a reference to page %d, of %d", id, w.highWater)
	}
	var b [pageHeaderSize]byte
	if _, err := w.r.ReadAt(b[:], int64(id)*int64(w.pageSize)); err != nil {
		return 0, 0, fmt.Errorf("cannot read page %d: %w", id, err)
	}
	order := binary.NativeEndian
	if at := order.Uint64(b[:]); at != id {
		return 0, 0, fmt.Errorf("page %d says that it is page %d", id, at)
	}
	pages = uint64(order.Uint32(b[12:])) + 1
	if id+pages > w.highWater {
		return 0, 0, fmt.Errorf("page %d claims %d pages", id, pages)
	}
	return order.Uint16(b[8:]), pages, nil
}

// read reads a page with its overflow and marks it as used.
func (w *pageWalk) read(id uint64, depth int) (page, error) {
	if depth >= maxDepth {
		return page{}, fmt.Errorf("the tree is deeper than %d at page %d", maxDepth, id)
	}
	_, pages, err := w.header(id)
	if err != nil {
		return page{}, err
	}
	for i := id; i < id+pages; i++ {
		if w.used[i] {
			return page{}, fmt.Errorf("page %d is used twice", i)
		}
		w.used[i] = true
	}
	size := int(pages) * w.pageSize
	if cap(w.buffer[depth]) < size {
		w.buffer[depth] = make([]byte, size)
	}
	data := w.buffer[depth][:size]
	if _, err := w.r.ReadAt(data, int64(id)*int64(w.pageSize)); err != nil {
		return page{}, fmt.Errorf("cannot read page %d: %w", id, err)
	}
	return parsePage(id, data)
}

// tree checks the tree at page id, whose keys must be in [low, high); nil is no limit.
func (w *pageWalk) tree(id uint64, low, high []byte, depth int) error {
	p, err := w.read(id, depth)
	if err != nil {
		return err
	}
	switch p.flags {
	case branchPage:
		return w.branch(p, low, high, depth)
	case leafPage:
		return w.leaf(p, low, high, depth)
	default:
		return fmt.Errorf("page %d is neither branch nor leaf (flags %#x)", id, p.flags)
	}
}

func (w *pageWalk) branch(p page, low, high []byte, depth int) error {
	keys, children, err := p.branchElements(low, high)
	if err != nil {
		return err
	}
	// All leaves are at the same depth: what the first child is, all are.
	flags, _, err := w.header(children[0])
	if err != nil {
		return err
	}
	for i, child := range children {
		next := high
		if i+1 < len(keys) {
			next = keys[i+1]
		}
		if flags == leafPage && !w.leaves {
			if child < 2 || child >= w.highWater || w.used[child] {
				return fmt.Errorf("page %d refers to page %d, which is used twice or beyond the end", p.id, child)
			}
			w.used[child] = true
			continue
		}
		if err := w.tree(child, keys[i], next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// branchElements returns the keys and children of a branch page.
func (p page) branchElements(low, high []byte) (keys [][]byte, children []uint64, err error) {
	if p.count == 0 {
		return nil, nil, fmt.Errorf("branch page %d is empty", p.id)
	}
	c := elements{page: p, next: pageHeaderSize + p.count*pageElementSize, low: low, high: high}
	for i := range p.count {
		e := c.at(i)
		if e == nil {
			return nil, nil, c.err
		}
		key := c.key(i, binary.NativeEndian.Uint32(e), binary.NativeEndian.Uint32(e[4:]), 0)
		if c.err != nil {
			return nil, nil, c.err
		}
		keys = append(keys, key)
		children = append(children, binary.NativeEndian.Uint64(e[8:]))
	}
	return keys, children, nil
}

func (w *pageWalk) leaf(p page, low, high []byte, depth int) error {
	c := elements{page: p, next: pageHeaderSize + p.count*pageElementSize, low: low, high: high}
	order := binary.NativeEndian
	for i := range p.count {
		e := c.at(i)
		if e == nil {
			return c.err
		}
		flags, ksize, vsize := order.Uint32(e), order.Uint32(e[8:]), order.Uint32(e[12:])
		key := c.key(i, order.Uint32(e[4:]), ksize, vsize)
		if c.err != nil {
			return c.err
		}
		switch flags {
		case 0:
		case bucketElement:
			if err := w.bucket(p.id, key, p.data[c.next-int(vsize):c.next], depth); err != nil {
				return err
			}
		default:
			return fmt.Errorf("page %d: element %d has flags %#x", p.id, i, flags)
		}
	}
	return nil
}

// bucket checks the bucket whose header, and where it is small whose only page, is value.
func (w *pageWalk) bucket(id uint64, name, value []byte, depth int) error {
	if len(value) < bucketSize {
		return fmt.Errorf("page %d: bucket %q has no header", id, name)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		if err := w.tree(root, nil, nil, depth+1); err != nil {
			return fmt.Errorf("bucket %q: %w", name, err)
		}
		return nil
	}
	p, err := parsePage(id, value[bucketSize:])
	if err != nil {
		return fmt.Errorf("bucket %q: %w", name, err)
	}
	if p.flags != leafPage {
		return fmt.Errorf("bucket %q: its page inside page %d is not a leaf (flags %#x)", name, id, p.flags)
	}
	return w.leaf(p, nil, nil, depth+1)
}

// elements steps through those of a page and checks that their data lie one after the other, in order.
type elements struct {
	page
	next      int // where the next element's data begin
	low, high []byte
	last      []byte
	err       error
}

// at returns the bytes of element i, nil with err set where there is none.
func (c *elements) at(i int) []byte {
	start := pageHeaderSize + i*pageElementSize
	if start+pageElementSize > len(c.page.data) {
		c.err = fmt.Errorf("page %d claims %d elements", c.id, c.count)
		return nil
	}
	return c.page.data[start : start+pageElementSize]
}

// key returns the key of element i, whose data are at pos from the element, and moves on behind its value.
func (c *elements) key(i int, pos, ksize, vsize uint32) []byte {
	start := uint64(pageHeaderSize+i*pageElementSize) + uint64(pos)
	end := start + uint64(ksize) + uint64(vsize)
	if start != uint64(c.next) || end > uint64(len(c.page.data)) || ksize == 0 {
		c.err = fmt.Errorf("page %d: element %d lies where it cannot", c.id, i)
		return nil
	}
	key := c.page.data[start : start+uint64(ksize)]
	if c.low != nil && bytes.Compare(key, c.low) < 0 || c.high != nil && bytes.Compare(key, c.high) >= 0 ||
		c.last != nil && bytes.Compare(key, c.last) <= 0 {
		c.err = fmt.Errorf("page %d: key %x is out of order", c.id, key)
		return nil
	}
	c.last, c.next = key, int(end)
	return key
}

// free checks the list of free pages against the pages in use.
func (w *pageWalk) free() error {
	_, pages, err := w.header(w.freelist)
	if err != nil {
		return fmt.Errorf("the list of free pages: %w", err)
	}
	p, err := w.read(w.freelist, 0)
	if err != nil {
		return fmt.Errorf("the list of free pages: %w", err)
	}
	if p.flags != freelistPage {
		return fmt.Errorf("page %d is not the list of free pages (flags %#x)", p.id, p.flags)
	}
	order := binary.NativeEndian
	ids, count := p.data[pageHeaderSize:], uint64(p.count)
	if p.count == 0xFFFF { // the count did not fit and stands first
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return fmt.Errorf("the list of free pages on %d pages claims %d", pages, count)
	}
	last := uint64(1)
	for i := range count {
		id := order.Uint64(ids[i*8:])
		if id <= last || id >= w.highWater {
			return fmt.Errorf("the list of free pages has %d after %d, of %d", id, last, w.highWater)
		}
		if w.used[id] {
			return fmt.Errorf("page %d is free and used", id)
		}
		w.used[id] = true
		last = id
	}
	if !w.leaves {
		return nil // the overflow of leaves was not seen
	}
	if id := slices.Index(w.used, false); id >= 0 {
		return fmt.Errorf("page %d is neither free nor used", id)
	}
	return nil
}
