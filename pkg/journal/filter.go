// A Bloom filter for each path list, so that the question which transactions
// touched a path opens hardly any list that does not hold it.

package journal

import (
	"encoding/binary"

	"github.com/txupd/txupd/pkg/journal/record"
)

// A filter is its format and the bits. Twelve bits a key and eight hashes open one list in 300 in vain.
const (
	filterFormat     = 1
	filterBitsPerKey = 12
	filterHashes     = 8
)

// The hash of a path is FNV-1a with the finalizer of MurmurHash3, whose halves are independent enough to derive
// all others from. It is part of the format.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func finish(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func hashPath(path string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(path) {
		h = (h ^ uint64(path[i])) * fnvPrime
	}
	return finish(h)
}

// filterKeys returns the hashes of all paths and of the directories above
// them, without the root. It leaves out directories that the path before has
// too, so changes are in order of path.
func filterKeys(changes []record.FileChange) []uint64 {
	keys := make([]uint64, 0, len(changes)+len(changes)/4)
	before := ""
	for _, c := range changes {
		shared := sharedPrefix(before, c.Path)
		h := uint64(fnvOffset)
		for i := range len(c.Path) {
			if c.Path[i] == '/' && i > 0 && i >= shared {
				keys = append(keys, finish(h))
			}
			h = (h ^ uint64(c.Path[i])) * fnvPrime
		}
		keys = append(keys, finish(h))
		before = c.Path
	}
	return keys
}

// buildFilter makes the filter over changes, which are in order of path.
func buildFilter(changes []record.FileChange) []byte {
	keys := filterKeys(changes)
	bits := make([]byte, (len(keys)*filterBitsPerKey+7)/8)
	for _, h := range keys {
		for i := range filterHashes {
			b := filterBit(h, i, len(bits))
			bits[b/8] |= 1 << (b % 8)
		}
	}
	return append([]byte{filterFormat}, bits...)
}

// filterBit maps hash i of a key to a bit of a filter with size bytes, without a division.
func filterBit(h uint64, i, size int) uint64 {
	x := uint64(uint32(h>>32) + uint32(i)*(uint32(h)|1))
	return x * uint64(size) * 8 >> 32
}

// filterMayHold reports whether filter can hold the key with hash h. One of a
// format that this version does not know can hold anything.
func filterMayHold(filter []byte, h uint64) bool {
	if len(filter) == 0 || filter[0] != filterFormat {
		return true
	}
	bits := filter[1:]
	if len(bits) == 0 {
		return false
	}
	for i := range filterHashes {
		b := filterBit(h, i, len(bits))
		if bits[b/8]&(1<<(b%8)) == 0 {
			return false
		}
	}
	return true
}

// filterOf returns the filter inside a stored value without copying it: filters are scanned by the thousand.
func (p *packer) filterOf(key, stored []byte) ([]byte, error) {
	body, err := checked(key, stored)
	if err != nil {
		return nil, err
	}
	if body[0] != formatPlain {
		return p.unpack(key, stored)
	}
	return body[1:], nil
}

// packFilter stores a filter uncompressed: its bits are noise.
func packFilter(key, filter []byte) []byte {
	stored := make([]byte, packHeader, packHeader+len(filter))
	stored[4] = formatPlain
	stored = append(stored, filter...)
	binary.LittleEndian.PutUint32(stored, checksum(key, stored[4:]))
	return stored
}
