// Output that is kept, whatever was printed and whatever became of the file.

package update

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/sandbox"
)

// FuzzOutput: each stream has what was written to it, the log has both, and the
// transcript what a terminal showed of it, as asciicast that goes forward in time.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("\x00\x03\x18\x05hello\x01\x02\x03err\x00\x01\x02\xc3\x9f"))
	f.Add([]byte("\x02\x01\x04\x18\x50\x00\x05\x03gr\xc3\x00\x00\x02\xbc!\x03\x02\x00\x00\x01\x01\xff"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, script []byte) {
		clock := &stepping{time.Unix(1_700_000_000, 0)}
		o := newOutput(dir, config.Default().Log, clock.now)
		defer o.forget()
		o.begin(0)
		var streams [3]bytes.Buffer // by Stream; the first is both
		last := pkgmgr.Words{Limit: 10}
		var shown bytes.Buffer
		terminal := false
		for len(script) >= 3 {
			what, after, length := script[0]%4, time.Duration(script[1])*time.Millisecond, int(script[2])
			piece := script[3:min(3+length, len(script))]
			script = script[3+len(piece):]
			clock.at = clock.at.Add(after)
			switch what {
			case 0, 1:
				s := []Stream{Stdout, Stderr}[what]
				o.write(s, piece)
				streams[0].Write(piece)
				streams[s].Write(piece)
				last.Add(int(s), piece)
				if terminal && s == Stdout {
					shown.Write(piece)
				}
			case 2:
				o.terminal(sandbox.Size{Rows: uint16(length), Cols: 80})
				terminal = true
			case 3:
				o.terminal(sandbox.Size{})
				terminal = false
				shown.WriteByte(0) // a character that has not ended by then never does
			}
		}
		o.end(0)
		o.finish()
		for _, s := range []Stream{Stdout, Stderr} {
			var got bytes.Buffer
			if err := o.join(1); err != nil {
				t.Fatal(err)
			}
			if err := o.copyTo(&reader{}, &got, s, 0); err != nil || !bytes.Equal(got.Bytes(), streams[s].Bytes()) {
				t.Fatalf("stream %d: %q, %v, want %q", s, got.Bytes(), err, streams[s].Bytes())
			}
		}
		if got := o.tail(10); got != string(last.Bytes()) {
			t.Fatalf("the end is %q, want %q", got, last.Bytes())
		}
		all := streams[0].String()
		if o.file == nil {
			return // nothing came
		}
		frames := func(fn func(frame) error) error { return eachFrame(io.NewSectionReader(o.file, 0, o.size), fn) }
		var packed bytes.Buffer
		if err := o.compress(&packed, int64(len(all)), frames); err != nil {
			t.Fatal(err)
		}
		d, err := zstd.NewReader(&packed, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if got, err := io.ReadAll(d); err != nil || string(got) != all {
			t.Fatalf("the log has %q, %v, want %q", got, err, all)
		}
		var cast bytes.Buffer
		if err := o.transcribe(&cast, frames); err != nil {
			t.Fatal(err)
		}
		checkCast(t, cast.Bytes(), shown.Bytes())
	})
}

// checkCast reads asciicast v2 by the book. shown is what a terminal showed, with
// a NUL where there was none for a while.
func checkCast(t *testing.T, cast, shown []byte) {
	t.Helper()
	var text strings.Builder
	last := 0.0
	for i, line := range bytes.Split(bytes.TrimSuffix(cast, []byte("\n")), []byte("\n")) {
		if i == 0 {
			var header castHeader
			if len(cast) > 0 && (json.Unmarshal(line, &header) != nil || header.Version != 2) {
				t.Fatalf("the header is %s", line)
			}
			continue
		}
		var at float64
		var code, data string
		if err := json.Unmarshal(line, &[]any{&at, &code, &data}); err != nil || at < last || math.IsInf(at, 0) || code != "o" && code != "r" {
			t.Fatalf("after %v: %s (%v)", last, line, err)
		}
		if last = at; code == "o" {
			text.WriteString(data)
		}
	}
	// Bytes that are no text become U+FFFD, each part of what was shown by itself.
	want := ""
	for part := range strings.SplitSeq(string(shown), "\x00") {
		want += part
	}
	if utf8.Valid(shown) && !bytes.ContainsRune(shown, 0) && text.String() != want {
		t.Fatalf("the transcript shows %q, want %q", text.String(), want)
	}
	if !utf8.ValidString(text.String()) || text.Len() > 3*len(shown) {
		t.Fatalf("%q is shown for %q", text.String(), shown)
	}
}

// FuzzFrames: a file of kept output that is damaged is an error, and takes no
// more memory than it has bytes.
func FuzzFrames(f *testing.F) {
	framed := func(s Stream, length uint32, after uint64, data string) []byte {
		return append(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32([]byte{byte(s)}, length), after), data...)
	}
	f.Add(slices.Concat(framed(resized, 4, 0, "\x00\x18\x00\x50"), framed(Stdout, 2, 5, "$ ")))
	f.Add(framed(Stdout, math.MaxUint32, math.MaxUint64, "x"))
	f.Add(framed(resized, 1, 0, "x"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		total := 0
		frames := func(fn func(frame) error) error {
			return eachFrame(bytes.NewReader(raw), func(f frame) error {
				total += frameHeader + len(f.data)
				return fn(f)
			})
		}
		err := frames(func(frame) error { return nil })
		if total > len(raw) || err == nil && total != len(raw) {
			t.Fatalf("%d of %d bytes were frames (%v)", total, len(raw), err)
		}
		o := newOutput(dir, config.Default().Log, time.Now)
		var cast bytes.Buffer
		if o.transcribe(&cast, frames) == nil && cast.Len() > 0 && !strings.HasPrefix(cast.String(), `{"version":2,`) {
			t.Errorf("%q is transcribed as %s", raw, cast.Bytes())
		}
		_ = o.compress(io.Discard, int64(len(raw)), frames) // no more than that it comes to an end
	})
}

// FuzzEachLine: a log's lines are those that were printed, numbered, and a file
// that is no log ends with an error and without much memory.
func FuzzEachLine(f *testing.F) {
	f.Add([]byte("Reading package lists...\r\nE: no\n\nend"), []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 1, 0, 0})
	f.Add([]byte("\n\r\n\xff\n\n"), []byte(nil))
	path := filepath.Join(f.TempDir(), "7.zst")
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(256<<10))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { enc.Close() })
	f.Fuzz(func(t *testing.T, text, raw []byte) {
		read := func(file []byte) (lines []string, numbers []int, err error) {
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			err = eachLine(t.Context(), path, func(number int, line string) bool {
				if len(line) > mib || strings.Contains(line, "\n") {
					t.Fatalf("a line of %d bytes", len(line))
				}
				lines, numbers = append(lines, line), append(numbers, number)
				return len(lines) < 10_000
			})
			return lines, numbers, err
		}
		if _, numbers, err := read(raw); err != nil && errors.Is(err, io.EOF) || !slices.IsSorted(numbers) {
			t.Errorf("%x: lines %v, %v", raw, numbers, err)
		}
		if bytes.Count(text, []byte("\n")) >= 10_000 || len(text) > 4*mib {
			return
		}
		lines, numbers, err := read(enc.EncodeAll(text, nil))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(text)) {
			want = append(want, strings.TrimRight(line, "\r\n"))
		}
		if len(text) < mib && !slices.Equal(lines, want) {
			t.Errorf("%q has the lines %q", text, lines)
		}
		if len(numbers) > 0 && (numbers[0] != 1 || numbers[len(numbers)-1] != len(want)) {
			t.Errorf("%d lines are numbered %d to %d", len(want), numbers[0], numbers[len(numbers)-1])
		}
	})
}

// FuzzLastLines: what a person is shown of a failure are its last lines that say anything.
func FuzzLastLines(f *testing.F) {
	f.Add("Reading...\rReading... Done\nE: no\n\n \t\n", uint8(8))
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		got := lastLines(text, int(n))
		lines := strings.Split(got, "\n")
		if got == "" {
			lines = nil
		}
		if len(lines) > int(n) || slices.ContainsFunc(lines, func(l string) bool { return strings.TrimRight(l, " \t\r") != l || l == "" }) {
			t.Errorf("%q", got)
		}
		if n == 0 || strings.Trim(text, " \t\r\n") == "" {
			return
		}
		end := strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' })
		for len(end) > 0 && strings.Trim(end[len(end)-1], " \t") == "" {
			end = end[:len(end)-1]
		}
		if want := strings.TrimRight(end[len(end)-1], " \t"); lines[len(lines)-1] != want {
			t.Errorf("the last line of %q is %q, not %q", text, lines[len(lines)-1], want)
		}
	})
}
