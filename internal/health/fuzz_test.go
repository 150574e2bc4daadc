package health

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzOutput: of whatever a check prints, in whatever pieces, the end is kept as
// text, and one line of it is fit for a report and a terminal.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("checking\n\x1b[31mno answer\x1b[0m\r\n\n"), uint16(3))
	f.Add(bytes.Repeat([]byte("é"), keptOutput), uint16(1))
	f.Add([]byte("it failed\n\x1b\x0f\n"), uint16(9))
	f.Add([]byte("\xff\xfe\u202etxt\n \u2028"), uint16(0))
	f.Fuzz(func(t *testing.T, output []byte, piece uint16) {
		var kept tail
		for rest := output; len(rest) > 0; {
			n := min(int(piece)+1, len(rest))
			if written, err := kept.Write(rest[:n]); written != n || err != nil {
				t.Fatalf("%d of %d bytes, %v", written, n, err)
			}
			rest = rest[n:]
		}
		end := output[max(0, len(output)-keptOutput):]
		if !bytes.Equal(kept.last, end) {
			t.Fatalf("%d bytes were kept, and they are not the last ones", len(kept.last))
		}
		text := kept.text()
		if !utf8.ValidString(text) || len(text) > keptOutput || utf8.Valid(end) && text != string(end) {
			t.Fatalf("%d bytes became %q", len(output), text)
		}
		line := lastLine(text)
		if utf8.RuneCountInString(line) > maxLine+1 || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.TrimSpace(line) != line {
			t.Errorf("%q", line)
		}
		if line == "" && strings.ContainsFunc(text, func(r rune) bool { return unicode.IsPrint(r) && r != ' ' }) {
			t.Errorf("%q says nothing", text)
		}
	})
}

// FuzzRoutes: of the kernel's tables only a default route that is up, accepts
// and leads out of the machine counts, and other text is none.
func FuzzRoutes(f *testing.F) {
	f.Add("eth0", uint32(0), uint32(0x0101a8c0), uint16(3), uint32(0), uint8(0), "Iface\tDestination\n")
	f.Add("lo", uint32(0), uint32(0), uint16(0x203), uint32(0xffff), uint8(64), "\xff\t\t0\n\n")
	root := f.TempDir()
	dir := filepath.Join(root, "proc/net")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.Fatal(err)
	}
	write := func(t *testing.T, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, device string, destination, gateway uint32, flags uint16, mask uint32, prefix uint8, text string) {
		ask := func() bool {
			found, err := System{root}.DefaultRoute()
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		write(t, "ipv6_route", "")
		write(t, "route", text)
		if ask() && !strings.Contains(text, "00000000") {
			t.Errorf("a default route in %q", text)
		}
		if device == "" || strings.ContainsFunc(device, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return
		}
		leads := flags&routeUp != 0 && flags&routeReject == 0 && device != "lo"
		// net/ipv4/fib_trie.c, fib_route_seq_show
		write(t, "route", fmt.Sprintf("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n%s\t%08X\t%08X\t%04X\t%d\t%d\t%d\t%08X\t%d\t%d\t%d\n",
			device, destination, gateway, flags, 0, 0, 100, mask, 0, 0, 0))
		if want := leads && destination == 0 && mask == 0; ask() != want {
			t.Errorf("%s to %08X/%08X with %04X: %v", device, destination, mask, flags, !want)
		}
		write(t, "route", "")
		// net/ipv6/route.c, rt6_info_route
		write(t, "ipv6_route", fmt.Sprintf("%032x %02x %032x %02x %032x %08x %08x %08x %08x %8s\n", destination, prefix, 0, 0, gateway, 1024, 1, 0, flags, device))
		if want := leads && destination == 0 && prefix == 0; ask() != want {
			t.Errorf("%s to %x/%d with %04x: %v", device, destination, prefix, flags, !want)
		}
	})
}
