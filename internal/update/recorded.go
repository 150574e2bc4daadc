// The log: what commands printed, kept when their transaction ends, for root
// alone, compressed and within bounds.

package update

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Kinds of files in the log, by the ends of their names.
const (
	outputSuffix     = ".zst"
	transcriptSuffix = ".cast"
)

const mib = 1 << 20

// save keeps everything as dir/name.zst, both streams in the order of their
// coming, and what was printed on a terminal as dir/name.cast. Nothing printed,
// nothing written.
func (o *Output) save(name string) error {
	o.mu.Lock()
	file, size, failure := o.file, o.size, o.failure
	o.mu.Unlock()
	if failure != nil {
		return failure
	}
	var printed int64
	onTerminal := false
	frames := func(fn func(frame) error) error {
		if size == 0 {
			return nil
		}
		return eachFrame(io.NewSectionReader(file, 0, size), fn)
	}
	if err := frames(func(f frame) error {
		if f.stream == resized {
			onTerminal = true
		} else {
			printed += int64(len(f.data))
		}
		return nil
	}); err != nil || printed == 0 {
		return err
	}
	if err := o.keep(name+outputSuffix, func(w io.Writer) error { return o.compress(w, printed, frames) }); err != nil {
		return err
	}
	if onTerminal {
		if err := o.keep(name+transcriptSuffix, func(w io.Writer) error { return o.transcribe(w, frames) }); err != nil {
			return err
		}
	}
	return prune(o.dir, int64(o.bounds.TotalSize)*mib, name)
}

// keep writes one file of the log, which appears complete or not at all.
func (o *Output) keep(name string, fill func(io.Writer) error) (err error) {
	final := filepath.Join(o.dir, name)
	f, err := os.OpenFile(final+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(f.Name())
		} else {
			err = failpoint.Around("output/rename", func() error { return os.Rename(f.Name(), final) })
		}
	}()
	return fill(f)
}

// compress writes what was printed; of more than is to be kept the middle is left out.
func (o *Output) compress(w io.Writer, printed int64, frames func(func(frame) error) error) error {
	enc, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(256<<10))
	if err != nil {
		return err
	}
	half := int64(o.bounds.TransactionSize) * mib / 2
	from, to := half, printed-half // left out
	if from >= to {
		from, to = printed, printed
	}
	at, told := int64(0), false
	err = frames(func(f frame) error {
		if f.stream == resized {
			return nil
		}
		start := at
		at += int64(len(f.data))
		if n := min(at, from) - start; n > 0 {
			if _, err := enc.Write(f.data[:n]); err != nil {
				return err
			}
		}
		if at <= to || from == to {
			return nil
		}
		if !told {
			told = true
			if _, err := fmt.Fprintf(enc, "\n[txupd: %d bytes are left out here]\n", to-from); err != nil {
				return err
			}
		}
		_, err := enc.Write(f.data[max(0, to-start):])
		return err
	})
	return errors.Join(err, enc.Close())
}

// logged is one file of the log.
type logged struct {
	number uint64
	name   string
	size   int64
}

// logs lists the files of the log with that end, those of the newest transaction first; "" is all.
func logs(dir, suffix string) ([]logged, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var all []logged
	for _, e := range entries {
		number, end, _ := strings.Cut(e.Name(), ".")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || suffix != "" && "."+end != suffix {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			all = append(all, logged{n, e.Name(), info.Size()})
		}
	}
	slices.SortFunc(all, func(a, b logged) int { return cmp.Or(cmp.Compare(b.number, a.number), cmp.Compare(a.name, b.name)) })
	return all, nil
}

// prune removes the oldest logs until the rest fits, never those under the name given.
func prune(dir string, limit int64, except string) error {
	all, err := logs(dir, "")
	if err != nil {
		return err
	}
	var total int64
	for _, l := range all {
		total += l.size
	}
	for _, l := range slices.Backward(all) {
		if total <= limit {
			return nil
		}
		if strconv.FormatUint(l.number, 10) == except {
			continue
		}
		if err := os.Remove(filepath.Join(dir, l.name)); err != nil {
			return err
		}
		total -= l.size
	}
	return nil
}

// dropLog removes what was recorded of a transaction's output, if anything was.
func dropLog(dir string, n snapshot.Number) (err error) {
	for _, suffix := range []string{outputSuffix, transcriptSuffix} {
		if e := os.Remove(filepath.Join(dir, strconv.FormatUint(uint64(n), 10)+suffix)); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// OutputFile opens what the commands of a transaction printed, compressed with zstd.
func (u *Updater) OutputFile(n snapshot.Number) (*os.File, error) {
	return u.logged(n, outputSuffix, "printed nothing, or its output was dropped since to make room")
}

// TranscriptFile opens what a transaction printed on terminals, as asciicast v2.
func (u *Updater) TranscriptFile(n snapshot.Number) (*os.File, error) {
	return u.logged(n, transcriptSuffix, "had no terminal, or its transcript was dropped since to make room")
}

func (u *Updater) logged(n snapshot.Number, suffix, why string) (*os.File, error) {
	rec, err := u.recordOf(uint64(n))
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(u.logDir(), strconv.FormatUint(uint64(n), 10)+suffix), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	switch {
	case rec.Phase == record.Open:
		why = "is in progress: its output is kept when it ends"
	case rec.Deleted != nil:
		why = "was deleted, and what it printed with it"
	}
	return nil, fmt.Errorf("transaction %d %s: %w", n, why, fault.ErrNotFound)
}

// longestLine is how much of a matching line is told.
const longestLine = 4 << 10

// Grep looks for text in everything that was recorded, newest transaction
// first, and stops after limit lines (0 for none).
func (u *Updater) Grep(ctx context.Context, text string, ignoreCase bool, limit uint64) (bus.Grep, error) {
	doc := bus.Grep{Text: text, Matches: []bus.Match{}, Complete: true, Warnings: []string{}}
	if text == "" || strings.ContainsRune(text, '\n') {
		return doc, fmt.Errorf("%w: a text within one line is expected", fault.ErrInvalidArgument)
	}
	all, err := logs(u.logDir(), outputSuffix)
	if err != nil {
		return doc, err
	}
	has := func(line string) bool { return strings.Contains(line, text) }
	if ignoreCase {
		lower := strings.ToLower(text)
		has = func(line string) bool { return strings.Contains(strings.ToLower(line), lower) }
	}
	for _, l := range all {
		err := eachLine(ctx, filepath.Join(u.logDir(), l.name), func(number int, line string) bool {
			if !has(line) {
				return true
			}
			if limit > 0 && uint64(len(doc.Matches)) >= limit {
				doc.Complete = false
				return false
			}
			doc.Matches = append(doc.Matches, bus.Match{Number: l.number, Line: number, Text: line[:min(len(line), longestLine)]})
			return true
		})
		if ctx.Err() != nil {
			return doc, fmt.Errorf("%w: %w", fault.ErrCancelled, context.Cause(ctx))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have been dropped meanwhile
			doc.Warnings = append(doc.Warnings, fmt.Sprintf("the output of transaction %d cannot be read to its end: %v", l.number, err))
		}
		if !doc.Complete {
			break
		}
	}
	return doc, nil
}

// eachLine calls fn with each line of a compressed file and its number, until
// it says no. A line longer than a mebibyte comes in pieces of that number.
func eachLine(ctx context.Context, path string, fn func(number int, line string) bool) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return err
	}
	defer d.Close()
	r := bufio.NewReaderSize(d, mib)
	for number := 1; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := r.ReadSlice('\n')
		if len(line) > 0 && !fn(number, strings.TrimRight(string(line), "\r\n")) {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			number++
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
