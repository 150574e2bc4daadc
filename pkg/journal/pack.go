// How one value is stored: a checksum over key and value, because bbolt has
// none outside its meta pages, and compression where it pays.

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// A stored value is
//
//	crc32c  4 bytes, little endian, over the key and everything that follows
//	format  1 byte, formatPlain or formatZstd
//	payload
const (
	formatPlain = 0
	formatZstd  = 1

	packHeader = 5
	// Below this size compression does not earn its frame header.
	packThreshold = 512
	// No honest value comes near it; it bounds what a forged frame can allocate.
	maxUnpacked = 512 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// packer compresses and checks values; safe for concurrent use.
type packer struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newPacker() (*packer, error) {
	// A small window keeps an idle daemon small; path lists repeat at short distance.
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(256<<10),
		zstd.WithEncoderCRC(false),
		zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, fmt.Errorf("cannot start the compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(2),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		return nil, fmt.Errorf("cannot start the decompressor: %w", err)
	}
	return &packer{enc: enc, dec: dec}, nil
}

func (p *packer) close() {
	p.dec.Close()
}

// pack renders the stored form of payload under key.
func (p *packer) pack(key, payload []byte) []byte {
	stored := make([]byte, packHeader, packHeader+len(payload))
	stored[4] = formatPlain
	if len(payload) >= packThreshold {
		stored[4] = formatZstd
		stored = p.enc.EncodeAll(payload, stored)
	}
	if stored[4] == formatPlain || len(stored) >= packHeader+len(payload) {
		stored = append(stored[:packHeader], payload...)
		stored[4] = formatPlain
	}
	binary.LittleEndian.PutUint32(stored, checksum(key, stored[4:]))
	return stored
}

// unpack returns the payload in memory of its own.
func (p *packer) unpack(key, stored []byte) ([]byte, error) {
	body, err := checked(key, stored)
	if err != nil {
		return nil, err
	}
	switch body[0] {
	case formatPlain:
		return append([]byte(nil), body[1:]...), nil
	case formatZstd:
		payload, err := p.dec.DecodeAll(body[1:], nil)
		if err != nil {
			return nil, fmt.Errorf("it cannot be decompressed: %w", err)
		}
		return payload, nil
	default:
		return nil, fmt.Errorf("its format %d is not known", body[0])
	}
}

// checked verifies the checksum and returns format byte and payload, still in stored's memory.
func checked(key, stored []byte) ([]byte, error) {
	if len(stored) < packHeader {
		return nil, errors.New("it is too short")
	}
	if binary.LittleEndian.Uint32(stored) != checksum(key, stored[4:]) {
		return nil, errors.New("its checksum is wrong")
	}
	return stored[4:], nil
}

func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}
