package update

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/testbed"
)

// outputIn is an output with the bounds of the default configuration.
func outputIn(dir string) *Output { return newOutput(dir, config.Default().Log, time.Now) }

func TestLateReaderSeesEverything(t *testing.T) {
	o := outputIn(t.TempDir())
	o.begin(0)
	o.write(Stdout, []byte("one "))
	o.write(Stderr, []byte("oops"))
	o.end(0)
	o.begin(1)
	o.write(Stdout, []byte("two"))
	read := func(s Stream, command int) <-chan string {
		c := make(chan string, 1)
		go func() {
			var b bytes.Buffer
			if err := errors.Join(o.join(1), o.copyTo(&reader{}, &b, s, command)); err != nil {
				t.Error(err)
			}
			c <- b.String()
		}()
		return c
	}
	all, first, second, third, errs := read(Stdout, Everything), read(Stdout, 0), read(Stdout, 1), read(Stdout, 2), read(Stderr, Everything)
	if got := <-first; got != "one " { // before the transaction ends
		t.Errorf("output of the first command: %q", got)
	}
	o.write(Stdout, []byte(" three"))
	o.end(1)
	if got := <-second; got != "two three" {
		t.Errorf("output of the second command: %q", got)
	}
	o.begin(2)
	o.write(Stdout, []byte("!"))
	o.end(2)
	if got := <-third; got != "!" { // it was waited for
		t.Errorf("output of the third command: %q", got)
	}
	o.finish()
	if got := <-all; got != "one two three!" {
		t.Errorf("all output: %q", got)
	}
	if got := <-errs; got != "oops" {
		t.Errorf("errors: %q", got)
	}
	if got := o.tail(9); got != "wo three!" { // the errors came before the end of that line
		t.Errorf("tail: %q", got)
	}
	if got := <-read(Stdout, Everything); got != "one two three!" {
		t.Errorf("a reader after the end got %q", got)
	}
	o.forget()
}

func TestStuckReaderHoldsNobodyUp(t *testing.T) {
	o := outputIn(t.TempDir())
	r, w := io.Pipe() // nobody reads
	done := make(chan error, 1)
	if err := o.join(1); err != nil {
		t.Fatal(err)
	}
	go func() { done <- o.copyTo(&reader{}, w, Stdout, Everything) }()
	big := []byte(strings.Repeat("x", 1<<20))
	for range 8 {
		o.write(Stdout, big)
	}
	o.finish()
	if got := len(o.tail(100)); got != 100 {
		t.Errorf("tail of %d bytes", got)
	}
	r.Close()
	if err := <-done; err == nil {
		t.Error("the reader that left got no error")
	}
	o.forget()
}

func TestSavedLogHoldsBothStreams(t *testing.T) {
	dir := t.TempDir()
	o := outputIn(dir)
	o.begin(0)
	o.write(Stdout, []byte("out\n"))
	o.write(Stderr, []byte("err\n"))
	o.finish()
	if err := o.save("7"); err != nil {
		t.Fatal(err)
	}
	o.forget()
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 || names[0].Name() != "7.zst" {
		t.Fatalf("left in the log directory: %v, %v", names, err)
	}
	f, err := os.Open(dir + "/7.zst")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := io.ReadAll(d); err != nil || string(got) != "out\nerr\n" {
		t.Fatalf("log holds %q, %v", got, err)
	}
}

// TestOutputInThePipeOutlivesTheDeadline: a slow collector loses nothing that was printed in time.
func TestOutputInThePipeOutlivesTheDeadline(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close() // a child that lives on keeps it open
	text := strings.Repeat("0123456789", 6000)
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	o := outputIn(t.TempDir())
	o.begin(0)
	collect(r, func(p []byte) { o.write(Stdout, p) })
	o.finish()
	if got := o.tail(len(text)); got != text {
		t.Errorf("%d of %d bytes were kept", len(got), len(text))
	}
	o.forget()
}

func TestNothingPrintedNothingKept(t *testing.T) {
	dir := t.TempDir()
	o := outputIn(dir)
	o.begin(0)
	o.finish()
	if err := o.save("7"); err != nil {
		t.Fatal(err)
	}
	o.forget()
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Fatalf("left in the log directory: %v", names)
	}
}

// TestOutputOnAFullDisk: what a command prints goes on in memory, for readers
// that came before and later, and up to a bound.
func TestOutputOnAFullDisk(t *testing.T) {
	top := testbed.Loop(t, 256)
	for name, c := range map[string]struct {
		before string // printed while there is space
		fill   func(*testbed.Filler)
	}{
		"after some output": {strings.Repeat("some ", 100), func(f *testbed.Filler) { f.Data(0) }},
		"before any":        {"", (*testbed.Filler).All},
	} {
		o := outputIn(top)
		o.begin(0)
		o.write(Stdout, []byte(c.before))
		var early bytes.Buffer
		read := make(chan error)
		if err := o.join(2); err != nil {
			t.Fatal(err)
		}
		go func() { read <- o.copyTo(&reader{}, &early, Stdout, 0) }()
		f := testbed.NewFiller(t, top)
		c.fill(f)
		words := strings.Repeat("no space left on device\n", 1000)
		o.write(Stdout, []byte(words))
		o.end(0)
		if err := <-read; err != nil || early.String() != c.before+words {
			t.Errorf("%s: who came before read %d bytes, %v", name, early.Len(), err)
		}
		var late bytes.Buffer
		if err := o.copyTo(&reader{}, &late, Stdout, 0); err != nil || late.String() != c.before+words {
			t.Errorf("%s: who comes later reads %d bytes, %v", name, late.Len(), err)
		}
		if !strings.HasSuffix(o.tail(1000), "no space left on device\n") || o.failure != nil {
			t.Errorf("%s: the last words are %.60q, %v", name, o.tail(1000), o.failure)
		}
		for range 20 {
			o.write(Stdout, make([]byte, 1<<20))
		}
		if o.failure == nil || o.size > maxInMemory+2<<20 {
			t.Errorf("%s: %d bytes are kept in memory, %v", name, o.size, o.failure)
		}
		o.finish()
		o.forget()
		f.Empty()
	}
}
