// Transcripts of terminals as asciicast v2: a header and one event a line.
// Format: https://docs.asciinema.org/manual/asciicast/v2/

package update

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// castHeader is the first line.
type castHeader struct {
	Version   int    `json:"version"`
	Width     uint16 `json:"width"`
	Height    uint16 `json:"height"`
	Timestamp int64  `json:"timestamp"` // of the first event, in seconds since 1970
}

// transcribe writes what was printed while there was a terminal: its output and
// its sizes, nothing else. What is typed is in it where the terminal echoed it.
func (o *Output) transcribe(w io.Writer, frames func(func(frame) error) error) error {
	out := bufio.NewWriter(w)
	c := &cast{out: out, o: o, left: int64(o.bounds.TransactionSize) * mib}
	if err := frames(c.frame); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	return out.Flush()
}

// cast is a transcript that is being written.
type cast struct {
	out     io.Writer
	o       *Output
	started bool
	shown   bool // there is a terminal now
	start   time.Duration
	at      time.Duration
	rest    []byte // the beginning of a character whose end is yet to come
	left    int64  // bytes that may still be kept
}

func (c *cast) frame(f frame) error {
	switch {
	case f.stream == resized && len(f.data) != 4:
		return fmt.Errorf("the size of a terminal has %d bytes", len(f.data))
	case f.stream == resized:
		return c.size(binary.BigEndian.Uint16(f.data), binary.BigEndian.Uint16(f.data[2:]), f.after)
	case f.stream != Stdout || !c.shown || c.left <= 0:
		return nil
	}
	c.at = f.after
	if c.left -= int64(len(f.data)); c.left <= 0 {
		f.data = append(f.data, "\r\n[txupd: the rest is left out]\r\n"...)
	}
	text := append(c.rest, f.data...)
	whole := len(text) - partial(text)
	c.rest = append([]byte{}, text[whole:]...)
	if whole == 0 {
		return nil
	}
	return c.event("o", string(text[:whole]))
}

// size notes the terminal's, or that there is none any more.
func (c *cast) size(rows, columns uint16, at time.Duration) error {
	if rows == 0 && columns == 0 {
		c.shown = false
		return c.flush()
	}
	c.shown = true
	if !c.started {
		c.started, c.start, c.at = true, at, at
		header, err := json.Marshal(castHeader{Version: 2, Width: columns, Height: rows, Timestamp: c.o.began.Add(at).Unix()})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%s\n", header)
		return err
	}
	c.at = at
	return c.event("r", fmt.Sprintf("%dx%d", columns, rows))
}

// flush writes the beginning of a character whose end never came.
func (c *cast) flush() error {
	if len(c.rest) == 0 {
		return nil
	}
	text := string(c.rest)
	c.rest = nil
	return c.event("o", text)
}

// event writes one line; bytes that are no text become U+FFFD, which the format has no other way to say.
func (c *cast) event(code, data string) error {
	raw, err := json.Marshal([]any{max(0, c.at-c.start).Round(time.Microsecond).Seconds(), code, data})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", raw)
	return err
}

// partial is how many bytes at the end of text begin a character that is not complete.
func partial(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}
