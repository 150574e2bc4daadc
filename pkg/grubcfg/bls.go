// Boot Loader Specification entries, type #1, for systemd-boot: one file an
// entry, which carries the tries of a trial in its name.

package grubcfg

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// BLSEntry is what an entry file says.
//
// Layout: https://uapi-group.org/specifications/specs/boot_loader_specification/
type BLSEntry struct {
	Title   string
	Version string
	SortKey string
	// Linux and Initrd are absolute paths on the boot partition.
	Linux   string
	Initrd  []string
	Options string
	// Other holds the keys that this package gives no meaning to, in their order.
	Other []BLSField
}

// BLSField is one "key value" line.
type BLSField struct {
	Key, Value string
}

// BLS is the entry for systemd-boot, which reads only its boot partition: the
// kernel must be staged there (BootUUID).
func (e Entry) BLS() (BLSEntry, error) {
	if err := e.Validate(); err != nil {
		return BLSEntry{}, err
	}
	if e.BootUUID == "" {
		return BLSEntry{}, fmt.Errorf("boot entry of snapshot %d: its kernel is not on the boot partition", e.Number)
	}
	b := BLSEntry{
		Title: cleanTitle(e.Title),
		// Entries with one sort key are ordered by version, the newest first.
		Version: strings.TrimSuffix(strconv.FormatUint(e.Number, 10)+"-"+e.KernelVersion, "-"),
		SortKey: "txupd",
		Linux:   path.Join("/", e.Kernel),
		Options: strings.Join(pinned(e.CommandLine, e.RootUUID, e.RootPath), " "),
	}
	for _, p := range e.Initrd {
		b.Initrd = append(b.Initrd, path.Join("/", p))
	}
	return b, nil
}

// Render is the file's text. A value that does not fit on its line, and an
// entry without a kernel, are refused.
func (b BLSEntry) Render() ([]byte, error) {
	if b.Linux == "" {
		return nil, fmt.Errorf("cannot render boot entry %q: it has no kernel", b.Title)
	}
	fields := []BLSField{{"title", b.Title}, {"version", b.Version}, {"sort-key", b.SortKey}, {"linux", b.Linux}}
	for _, p := range b.Initrd {
		if p == "" {
			return nil, fmt.Errorf("cannot render boot entry %q: the path of an initrd is empty", b.Title)
		}
		fields = append(fields, BLSField{"initrd", p})
	}
	fields = append(fields, BLSField{"options", b.Options})
	for _, f := range b.Other {
		if f.Key == "" || strings.HasPrefix(f.Key, "#") || strings.ContainsAny(f.Key, " \t") || known(f.Key) {
			return nil, fmt.Errorf("cannot render boot entry %q: %q is no other key", b.Title, f.Key)
		}
		fields = append(fields, f)
	}
	var text bytes.Buffer
	for _, f := range fields {
		line := f.Key + f.Value
		if strings.ContainsFunc(line, isControl) || !utf8.ValidString(line) || strings.Trim(f.Value, " ") != f.Value {
			return nil, fmt.Errorf("cannot render boot entry %q: %s %q is not one line of text", b.Title, f.Key, f.Value)
		}
		if f.Value != "" {
			fmt.Fprintf(&text, "%-9s %s\n", f.Key, f.Value)
		}
	}
	return text.Bytes(), nil
}

// ParseBLS reads an entry file. Of a key that is there twice the last one
// holds; initrd and options add up.
func ParseBLS(raw []byte) (BLSEntry, error) {
	var b BLSEntry
	if !utf8.Valid(raw) {
		return b, errors.New("cannot read boot entry: it is not text")
	}
	for line := range strings.Lines(string(raw)) {
		line = strings.Trim(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		cut := strings.IndexAny(line, " \t")
		if cut < 0 {
			continue // a key without a value says nothing
		}
		key, value := line[:cut], strings.Trim(line[cut:], " \t")
		if strings.ContainsFunc(line[:cut]+value, isControl) {
			return BLSEntry{}, fmt.Errorf("cannot read boot entry: %s %q holds control characters", key, value)
		}
		b.add(key, value)
	}
	if b.Linux == "" {
		return BLSEntry{}, errors.New("cannot read boot entry: it names no kernel")
	}
	return b, nil
}

func (b *BLSEntry) add(key, value string) {
	switch key {
	case "title":
		b.Title = value
	case "version":
		b.Version = value
	case "sort-key":
		b.SortKey = value
	case "linux":
		b.Linux = value
	case "initrd":
		b.Initrd = append(b.Initrd, value)
	case "options":
		b.Options = strings.TrimLeft(b.Options+" "+value, " ")
	default:
		b.Other = append(b.Other, BLSField{key, value})
	}
}

func known(key string) bool {
	switch key {
	case "title", "version", "sort-key", "linux", "initrd", "options":
		return true
	}
	return false
}

// BLSName is the name of an entry file: "ID.conf", or "ID+LEFT-DONE.conf"
// while its boots are counted. systemd-boot renames it at each try and
// systemd-bless-boot drops the count when the boot was good.
type BLSName struct {
	ID       ID
	Counting bool
	// Left is how many tries remain; at 0 the loader takes it last. Done is how many were made.
	Left, Done uint
}

// String is the file name.
func (n BLSName) String() string {
	switch {
	case !n.Counting:
		return string(n.ID) + ".conf"
	case n.Done == 0:
		return fmt.Sprintf("%s+%d.conf", n.ID, n.Left)
	default:
		return fmt.Sprintf("%s+%d-%d.conf", n.ID, n.Left, n.Done)
	}
}

// ParseBLSName reads a file name. One that does not end in ".conf" or has
// nothing before is refused; what looks like no count belongs to the ID.
func ParseBLSName(file string) (BLSName, error) {
	stem, ok := strings.CutSuffix(file, ".conf")
	if !ok || stem == "" || strings.Contains(stem, "/") {
		return BLSName{}, fmt.Errorf("%q is not the name of a boot entry, which is \"ID.conf\" or \"ID+LEFT-DONE.conf\"", file)
	}
	plus := strings.LastIndexByte(stem, '+')
	if plus <= 0 {
		return BLSName{ID: ID(stem)}, nil
	}
	left, done, tried := strings.Cut(stem[plus+1:], "-")
	n := BLSName{ID: ID(stem[:plus]), Counting: true}
	var errLeft, errDone error
	n.Left, errLeft = parseCount(left)
	if tried {
		n.Done, errDone = parseCount(done)
	}
	if errLeft != nil || errDone != nil {
		return BLSName{ID: ID(stem)}, nil
	}
	return n, nil
}

// parseCount reads decimal digits and nothing else.
func parseCount(s string) (uint, error) {
	v, err := strconv.ParseUint(s, 10, 32)
	return uint(v), err
}
