package machine

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeLog makes a log of entries: sector, sectors, flags, and the byte that the data consists of.
func writeLog(t *testing.T, entries ...[4]uint64) string {
	t.Helper()
	var b bytes.Buffer
	sector := func(numbers ...uint64) {
		block := make([]byte, 0, 512)
		for _, n := range numbers {
			block = binary.LittleEndian.AppendUint64(block, n)
		}
		b.Write(block[:cap(block)])
	}
	sector(logMagic, logVersion, 1, 512) // it counts fewer than there are
	for _, e := range entries {
		sector(e[0], e[1], e[2], 0)
		if e[2]&logDiscard == 0 {
			b.Write(bytes.Repeat([]byte{byte(e[3])}, int(e[1])*512))
		}
	}
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReplayOfALog(t *testing.T) {
	path := writeLog(t, [4]uint64{1, 2, 0, 'a'}, [4]uint64{0, 0, logFlush, 0}, [4]uint64{2, 1, 0, 'b'}, [4]uint64{1, 1, logDiscard, 0}, [4]uint64{0, 1, logFUA, 'c'}, [4]uint64{3, 1, 0, 'd'})
	whole, err := LogSize(path)
	if err != nil {
		t.Fatal(err)
	}
	// Killed in the middle of the next entry.
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	header := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 0), 4)
	if _, err := file.Write(append(header, make([]byte, 1000)...)); err != nil {
		t.Fatal(err)
	}
	l, err := OpenWriteLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if len(l.Entries) != 6 || l.Entries[5].End != whole {
		t.Fatalf("%d entries: %+v", len(l.Entries), l.Entries)
	}
	if got := l.Boundaries(0, whole); !slices.Equal(got, []int{2, 5, 6}) {
		t.Errorf("all boundaries: %v", got)
	}
	if got := l.Boundaries(l.Entries[1].End, l.Entries[3].End); !slices.Equal(got, []int{4}) {
		t.Errorf("without a flush between: %v", got)
	}
	if got := l.Boundaries(whole, whole+1); len(got) != 0 {
		t.Errorf("where nothing was written: %v", got)
	}
	disk, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if _, err := disk.Write(bytes.Repeat([]byte{'.'}, 4*512)); err != nil {
		t.Fatal(err)
	}
	looks := func() string {
		raw, err := os.ReadFile(disk.Name())
		if err != nil {
			t.Fatal(err)
		}
		var s strings.Builder
		for block := range slices.Chunk(raw, 512) {
			s.WriteByte(max(block[0], '0')) // a hole is 0
			if bytes.Count(block, block[:1]) != len(block) {
				t.Errorf("a sector is mixed: %q", block)
			}
		}
		return s.String()
	}
	for _, c := range []struct {
		first, last int
		want        string
	}{{0, 2, "0aa0"}, {2, 4, "00b0"}, {4, 6, "c0bd"}} {
		if err := l.Replay(disk, c.first, c.last); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(looks(), ".", "0"); got != c.want {
			t.Errorf("after %d entries the disk is %s, want %s", c.last, got, c.want)
		}
	}
}

func TestWhatIsNoLog(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "text": strings.Repeat("x", 1024)} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenWriteLog(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := writeLog(t, [4]uint64{0, 0, 1 << 40, 0})
	if _, err := OpenWriteLog(path); err == nil || !strings.Contains(err.Error(), "makes no sense") {
		t.Errorf("unknown flags: %v", err)
	}
}
