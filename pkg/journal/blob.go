// Large values, in parts. bbolt rounds a value of some kilobytes up to whole
// pages and leaves a third of them empty; parts far smaller than a page fill it.

package journal

import (
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// A blob under number N is stored in parts under N and the part's number (4 bytes, big endian), each but the last
// of blobPart bytes. That is part of the format.
const (
	blobPart    = 500
	blobKeySize = 12
)

func blobKey(n uint64, part int) []byte {
	return binary.BigEndian.AppendUint32(numberKey(n), uint32(part))
}

// putBlob stores value in the place of what was there.
func putBlob(b *bbolt.Bucket, n uint64, value []byte) error {
	part := 0
	for len(value) > 0 {
		size := min(len(value), blobPart)
		if err := b.Put(blobKey(n, part), value[:size]); err != nil {
			return err
		}
		value = value[size:]
		part++
	}
	for ; b.Get(blobKey(n, part)) != nil; part++ {
		if err := b.Delete(blobKey(n, part)); err != nil {
			return err
		}
	}
	return nil
}

// getBlob returns a copy of what is stored under n, nil if there is nothing. A
// part that is missing shows by the checksum inside.
func getBlob(b *bbolt.Bucket, n uint64) []byte {
	var value []byte
	prefix := numberKey(n)
	c := b.Cursor()
	for key, part := c.Seek(prefix); len(key) == blobKeySize && string(key[:8]) == string(prefix); key, part = c.Next() {
		value = append(value, part...)
	}
	return value
}
