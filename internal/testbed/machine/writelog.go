// What a guest wrote to a disk, in order and with its flushes, so that the disk
// of any moment can be made again: with what was flushed by then, and without
// what a power cut may take.

package machine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// WriteLog is the record of a disk (Options.WriteLog).
//
// Format: that of the kernel's dm-log-writes (drivers/md/dm-log-writes.c in
// Linux), as QEMU's driver blklogwrites writes it: a superblock of one sector,
// then for each write a sector with its header, and the data; all numbers are
// little endian. An entry is appended when the write has reached the disk, so
// that what stands before a flush is safe once that has.
type WriteLog struct {
	file    *os.File
	Entries []LogEntry
}

// LogEntry is one write, discard or flush.
type LogEntry struct {
	Offset, Length int64 // on the disk, in bytes; 0 for a flush
	Flush, Discard bool
	// End is the size that the log had with this entry, to tell what came before a moment.
	End int64

	data int64 // where its data is in the log
}

const (
	logMagic      = 0x6a736677736872
	logVersion    = 1
	logHeaderSize = 32

	logFlush   = 1 << 0
	logFUA     = 1 << 1 // the write is safe by itself, as if a flush followed
	logDiscard = 1 << 2
	logMark    = 1 << 3
)

// LogSize is how long a log is by now: what is appended later was written later.
func LogSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// OpenWriteLog reads the headers of a log. One whose last entry is not complete, because
// the machine was killed in the middle of it, ends before that.
func OpenWriteLog(path string) (*WriteLog, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	l := &WriteLog{file: file}
	if err := l.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot read the log of writes %s: %w", path, err), file.Close())
	}
	return l, nil
}

// Close closes the file.
func (l *WriteLog) Close() error { return l.file.Close() }

func (l *WriteLog) read() error {
	size, err := l.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var head [logHeaderSize]byte
	if _, err := l.file.ReadAt(head[:28], 0); err != nil {
		return fmt.Errorf("it has no superblock: %w", err)
	}
	magic, version := binary.LittleEndian.Uint64(head[0:]), binary.LittleEndian.Uint64(head[8:])
	sector := int64(binary.LittleEndian.Uint32(head[24:]))
	if magic != logMagic || version != logVersion || sector < logHeaderSize {
		return fmt.Errorf("magic %#x, version %d, sectors of %d bytes: that is no such log", magic, version, sector)
	}
	// Not by the number of entries in the superblock, which is only brought up to date now and then.
	for at := sector; at+sector <= size; {
		if _, err := l.file.ReadAt(head[:], at); err != nil {
			return err
		}
		number := func(i int) int64 { return int64(binary.LittleEndian.Uint64(head[8*i:])) }
		flags := number(2)
		e := LogEntry{Offset: number(0) * sector, Length: number(1) * sector, Flush: flags&(logFlush|logFUA) != 0, Discard: flags&logDiscard != 0, data: at + sector}
		if flags&^(logFlush|logFUA|logDiscard|logMark) != 0 || e.Offset < 0 || e.Length < 0 {
			return fmt.Errorf("the entry at %d makes no sense: % x", at, head)
		}
		if flags == 0 && e.Length == 0 {
			return nil // never written: the end
		}
		if e.End = e.data; !e.Discard {
			e.End += e.Length
		}
		if e.End > size {
			return nil
		}
		l.Entries = append(l.Entries, e)
		at = e.End
	}
	return nil
}

// Replay does to a disk what the entries from the first one up to, without, the last one did.
func (l *WriteLog) Replay(disk *os.File, first, last int) error {
	for _, e := range l.Entries[first:last] {
		var err error
		switch {
		case e.Length == 0:
		case e.Discard:
			err = unix.Fallocate(int(disk.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.Offset, e.Length)
		default:
			_, err = io.Copy(io.NewOffsetWriter(disk, e.Offset), io.NewSectionReader(l.file, e.data, e.Length))
		}
		if err != nil {
			return fmt.Errorf("cannot repeat the write of %d bytes at %d: %w", e.Length, e.Offset, err)
		}
	}
	return nil
}

// Boundaries are the places of a log between two sizes of it at which a flush
// ends: n stands for the first n entries. The last one is the whole of it.
func (l *WriteLog) Boundaries(from, until int64) []int {
	var found []int
	end := -1
	for i, e := range l.Entries {
		if e.End <= from || e.End > until {
			continue
		}
		if end = i + 1; e.Flush {
			found = append(found, end)
		}
	}
	if end >= 0 && (len(found) == 0 || found[len(found)-1] != end) {
		found = append(found, end)
	}
	return found
}

// Raw writes a disk of the image to a file of its own, as it is before any
// machine that was started from it has written to it.
func (i Image) Raw(ctx context.Context, disk, to string) error {
	from, format := i.disk(disk)
	return runTool(ctx, "qemu-img", "convert", "-q", "-f", format, "-O", "raw", from, to)
}
