// The output of a transaction's commands: kept in a file without a name while
// the transaction lives, so that readers may come late and be slow without
// anybody waiting for them, and compressed into the log at its end.

package update

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/sandbox"
)

// Stream tells output from errors.
type Stream byte

// The streams of a command. What it reads is no stream here: what is typed is
// recorded only where the terminal prints it.
const (
	Stdout Stream = 1
	Stderr Stream = 2
	// resized is no output: its four bytes say that a terminal has so many rows
	// and columns from here on, or with zeros that what follows comes from none.
	resized Stream = 3
)

// frameHeader stands before each piece of output: stream, four bytes of length,
// eight of when it came, in microseconds since the output began.
const frameHeader = 13

// Output collects what the commands of one transaction print.
type Output struct {
	dir    string // where the log goes
	bounds config.Log
	now    func() time.Time
	began  time.Time

	mu      sync.Mutex
	grown   *sync.Cond
	file    *os.File // frames, made with the first byte
	size    int64
	memory  bool         // the disk is full, and file in memory
	before  *os.File     // what it was then, in which readers may be
	parts   map[int]part // by command
	closed  bool
	failure error // writing failed: the output is cut there
	readers int
}

// part is the output of one command: where it begins, and where it ends, -1
// while the command runs.
type part struct{ from, to int64 }

// Everything is the command of readers who want the output of all.
const Everything = -1

func newOutput(dir string, bounds config.Log, now func() time.Time) *Output {
	o := &Output{dir: dir, bounds: bounds, now: now, began: now(), parts: map[int]part{}}
	o.grown = sync.NewCond(&o.mu)
	return o
}

// begin notes that a command begins.
func (o *Output) begin(command int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parts[command] = part{o.size, -1}
	o.grown.Broadcast()
}

// end notes that everything the command printed was collected: who reads that
// command alone comes to the end.
func (o *Output) end(command int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parts[command] = part{o.parts[command].from, o.size}
	o.grown.Broadcast()
}

// write appends one piece. Where it cannot be kept the command's pipe must not
// stop: the output is cut and the failure kept for the record.
func (o *Output) write(s Stream, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.failure != nil || len(p) == 0 {
		return
	}
	frame := make([]byte, frameHeader+len(p))
	frame[0] = byte(s)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(p)))
	binary.BigEndian.PutUint64(frame[5:], uint64(max(0, o.now().Sub(o.began).Microseconds())))
	copy(frame[frameHeader:], p)
	err := o.append(frame)
	if errors.Is(err, unix.ENOSPC) && !o.memory {
		if err = o.toMemory(); err == nil {
			err = o.append(frame)
		}
	}
	if err != nil {
		o.failure = fmt.Errorf("cannot keep the output of the command: %w", err)
		return
	}
	o.size += int64(len(frame))
	o.grown.Broadcast()
}

// append writes one frame behind the others.
func (o *Output) append(frame []byte) (err error) {
	if o.file == nil {
		if o.file, err = namelessFile(o.dir); err != nil {
			return err
		}
	}
	if o.memory && o.size > maxInMemory {
		return unix.ENOSPC
	}
	_, err = o.file.WriteAt(frame, o.size)
	return err
}

// terminal notes that what follows is printed on a terminal of that size, of none for the zero one.
func (o *Output) terminal(size sandbox.Size) {
	var p [4]byte
	binary.BigEndian.PutUint16(p[:], size.Rows)
	binary.BigEndian.PutUint16(p[2:], size.Cols)
	o.write(resized, p[:])
}

// namelessFile makes a file that is gone with its last descriptor: a crash leaves nothing behind.
func namelessFile(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, ".output-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// maxPipe is the most that a pipe holds (/proc/sys/fs/pipe-max-size is that for users).
const maxPipe = 1 << 20

// collect hands on what comes from r until its end, or until r's deadline; what is
// in the pipe by then still counts, however slow we were.
func collect(r *os.File, to func(p []byte)) {
	buf := make([]byte, 32<<10)
	var err error
	for err == nil {
		var n int
		n, err = r.Read(buf)
		if n > 0 {
			to(buf[:n])
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	raw, err := r.SyscallConn()
	if err != nil {
		return // it was closed
	}
	for left := maxPipe; left > 0; {
		n := 0
		if err := raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buf) }); err != nil || n <= 0 {
			return // nothing is left; a read never waits here
		}
		to(buf[:n])
		left -= n
	}
}

// next waits until there is more than at in what a reader wants, and returns
// from where to where; at the end of it, or once the reader has left, twice the same.
func (o *Output) next(r *reader, at int64, command int) (from, to int64, file *os.File) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		wanted, known := o.parts[command]
		if !known { // everything, or a command that is yet to begin
			wanted, known = part{0, -1}, command == Everything
		}
		from, to = max(at, wanted.from), o.size
		ended := o.closed
		if wanted.to >= 0 {
			to, ended = wanted.to, true
		}
		switch {
		case r.left:
			return at, at, o.file
		case known && from < to:
			return from, to, o.file
		case ended:
			return to, to, o.file
		}
		o.grown.Wait()
	}
}

// copyTo writes one stream to w, of the given command alone or of everything,
// until its end or until w fails, for a reader that has joined.
func (o *Output) copyTo(r *reader, w io.Writer, s Stream, command int) error {
	defer o.release()
	buf := make([]byte, 32<<10)
	var at int64
	for {
		var end int64
		var file *os.File
		at, end, file = o.next(r, at, command)
		if at == end {
			return nil
		}
		for at < end {
			var header [frameHeader]byte
			if _, err := file.ReadAt(header[:], at); err != nil {
				return fmt.Errorf("cannot read kept output: %w", err)
			}
			length := int64(binary.BigEndian.Uint32(header[1:]))
			at += frameHeader
			if Stream(header[0]) != s {
				at += length
				continue
			}
			for length > 0 {
				n, err := file.ReadAt(buf[:min(int64(len(buf)), length)], at)
				if err != nil && !errors.Is(err, io.EOF) {
					return fmt.Errorf("cannot read kept output: %w", err)
				}
				if _, err := w.Write(buf[:n]); err != nil {
					return err
				}
				at += int64(n)
				length -= int64(n)
			}
		}
	}
}

// release lets go of the file when the last reader of a closed output leaves.
func (o *Output) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readers--
	o.drop()
}

func (o *Output) drop() {
	if o.closed && o.readers == 0 && o.file != nil {
		o.file.Close()
		if o.before != nil {
			o.before.Close()
		}
	}
}

// finish ends the output: readers come to the end. No more can be written.
func (o *Output) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	o.grown.Broadcast()
	o.readers++ // until tail and save had their turn, see forget
}

// forget lets go of the file once nobody will ask again.
func (o *Output) forget() { o.release() }

// tail returns the last limit bytes of everything printed, by whole lines.
func (o *Output) tail(limit int) string {
	o.mu.Lock()
	file, size := o.file, o.size
	o.mu.Unlock()
	if size == 0 {
		return ""
	}
	last := pkgmgr.Words{Limit: limit}
	// A frame's output is read whole, so a failing read shows as a shorter tail.
	_ = eachFrame(io.NewSectionReader(file, 0, size), func(f frame) error {
		if f.stream != resized {
			last.Add(int(f.stream), f.data)
		}
		return nil
	})
	return string(last.Bytes())
}

// frame is one piece of output.
type frame struct {
	stream Stream
	after  time.Duration // since the output began
	data   []byte
}

func eachFrame(r io.Reader, fn func(frame) error) error {
	var header [frameHeader]byte
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		f := frame{stream: Stream(header[0]), after: time.Duration(binary.BigEndian.Uint64(header[5:])) * time.Microsecond}
		length := int64(binary.BigEndian.Uint32(header[1:]))
		var err error
		// Of a file that is damaged no more is asked for than it holds.
		if f.data, err = io.ReadAll(io.LimitReader(r, length)); err != nil {
			return err
		}
		if int64(len(f.data)) < length {
			return io.ErrUnexpectedEOF
		}
		if err := fn(f); err != nil {
			return err
		}
	}
}
