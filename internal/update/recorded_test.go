package update

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/sandbox"
)

// unpacked reads a file of the log.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	text, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// stepping is a clock that a test moves.
type stepping struct{ at time.Time }

func (s *stepping) now() time.Time { return s.at }

func TestTranscriptIsAsciicast(t *testing.T) {
	dir := t.TempDir()
	clock := &stepping{time.Unix(1_700_000_000, 0)}
	o := newOutput(dir, config.Default().Log, clock.now)
	say := func(after time.Duration, s Stream, text string) {
		clock.at = clock.at.Add(after)
		o.write(s, []byte(text))
	}
	o.begin(0) // a command without a terminal: it is in the output alone
	say(time.Second, Stdout, "apart\n")
	o.end(0)
	o.begin(1)
	clock.at = clock.at.Add(time.Second)
	o.terminal(sandbox.Size{Rows: 24, Cols: 80})
	say(0, Stdout, "$ ")
	say(500*time.Millisecond, Stdout, "gr\xc3")
	say(time.Millisecond, Stdout, "\xbc\xc3\x9fe \"\x1b[0m\r\n\xff\xe2\x82")
	o.terminal(sandbox.Size{Rows: 30, Cols: 100})
	say(time.Second, Stdout, "\xac!")
	o.terminal(sandbox.Size{})
	o.end(1)
	o.begin(2)
	say(time.Second, Stdout, "apart again\n")
	o.end(2)
	o.finish()
	if err := o.save("7"); err != nil {
		t.Fatal(err)
	}
	o.forget()
	if got := names(t, dir); !slices.Equal(got, []string{"7.cast", "7.zst"}) {
		t.Fatalf("the log has %q", got)
	}
	for _, name := range names(t, dir) {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v: %v", name, info.Mode(), err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "7.cast"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":2,"width":80,"height":24,"timestamp":1700000002}
[0,"o","$ "]
[0.5,"o","gr"]
[0.501,"o","üße \"\u001b[0m\r\n\ufffd"]
[0.501,"r","100x30"]
[1.501,"o","€!"]
`
	if string(raw) != want {
		t.Errorf("the transcript is\n%s\nand not\n%s", raw, want)
	}
	for line := range strings.Lines(string(raw)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if got := unpacked(t, filepath.Join(dir, "7.zst")); !strings.HasPrefix(got, "apart\n$ grüße") || !strings.HasSuffix(got, "€!apart again\n") {
		t.Errorf("the output is %q", got)
	}
	if tail := o.tail(6); strings.ContainsRune(tail, 0) {
		t.Errorf("sizes are in the tail: %q", tail)
	}
}

func TestLongOutputKeepsBeginningAndEnd(t *testing.T) {
	dir := t.TempDir()
	o := newOutput(dir, config.Log{TotalSize: 100, TransactionSize: 1}, time.Now)
	o.begin(0)
	o.terminal(sandbox.Size{Rows: 24, Cols: 80})
	line := strings.Repeat("x", 99) + "\n"
	var all strings.Builder
	for i := range 30_000 {
		text := fmt.Sprintf("%d %s", i, line)
		o.write(Stdout, []byte(text))
		all.WriteString(text)
	}
	o.end(0)
	o.finish()
	if err := o.save("1"); err != nil {
		t.Fatal(err)
	}
	o.forget()
	got := unpacked(t, filepath.Join(dir, "1.zst"))
	const half = mib / 2
	first, last := all.String()[:half], all.String()[all.Len()-half:]
	want := fmt.Sprintf("%s\n[txupd: %d bytes are left out here]\n%s", first, all.Len()-mib, last)
	if got != want {
		t.Errorf("%d bytes are kept: %.40q … %.40q", len(got), got, got[max(0, len(got)-40):])
	}
	cast, err := os.ReadFile(filepath.Join(dir, "1.cast"))
	if err != nil || len(cast) > 2*mib || !strings.Contains(string(cast), "the rest is left out") {
		t.Errorf("the transcript has %d bytes, %v", len(cast), err)
	}
}

func TestOutputAtTheBoundIsWhole(t *testing.T) {
	for _, size := range []int{mib - 1, mib, mib + 1} {
		dir := t.TempDir()
		o := newOutput(dir, config.Log{TotalSize: 100, TransactionSize: 1}, time.Now)
		o.begin(0)
		o.write(Stdout, bytes.Repeat([]byte("y"), size))
		o.finish()
		if err := o.save("1"); err != nil {
			t.Fatal(err)
		}
		o.forget()
		got := unpacked(t, filepath.Join(dir, "1.zst"))
		if whole := got == strings.Repeat("y", size); whole != (size <= mib) || strings.Count(got, "y") < min(size, mib) {
			t.Errorf("%d bytes: kept %d, whole %v", size, len(got), whole)
		}
	}
}

func TestOldestLogsGoFirst(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= 12; n++ {
		write(fmt.Sprintf("%d.zst", n), 100_000)
	}
	write("9.cast", 100_000)
	write("strange", 10)
	if err := prune(dir, 400_000, "1"); err != nil {
		t.Fatal(err)
	}
	got := names(t, dir)
	slices.Sort(got)
	if want := []string{"1.zst", "10.zst", "11.zst", "12.zst", "strange"}; !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
	if err := prune(dir, 1, "12"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"12.zst", "strange"}) {
		t.Errorf("the newest one has to stay: %q", got)
	}
	if err := prune(filepath.Join(dir, "none"), 1, "1"); err != nil {
		t.Errorf("no log at all: %v", err)
	}
}

func TestEachLineOfLongOnes(t *testing.T) {
	dir := t.TempDir()
	o := outputIn(dir)
	o.begin(0)
	o.write(Stdout, []byte("one\r\n\n"+strings.Repeat("l", 3*mib)+" needle\nlast"))
	o.finish()
	if err := o.save("3"); err != nil {
		t.Fatal(err)
	}
	o.forget()
	var found []int
	var texts []string
	if err := eachLine(context.Background(), filepath.Join(dir, "3.zst"), func(number int, line string) bool {
		if strings.Contains(line, "needle") {
			found = append(found, number)
		}
		if len(line) < 100 {
			texts = append(texts, fmt.Sprint(number, line))
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(found, []int{3}) || !slices.Equal(texts, []string{"1one", "2", "3 needle", "4last"}) {
		t.Errorf("found in %v, lines %q", found, texts)
	}
}

func TestALineOfMegabytesComesInPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "7.zst")
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	if err := os.WriteFile(path, enc.EncodeAll([]byte("a\n"+strings.Repeat("x", 2*mib+5)+"\nb"), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := eachLine(t.Context(), path, func(number int, line string) bool {
		got = append(got, fmt.Sprintf("%d: %d", number, len(line)))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1: 1", fmt.Sprintf("2: %d", mib), fmt.Sprintf("2: %d", mib), "2: 5", "3: 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
