package snapshot

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// named appends a name with its length before it, as many items end.
func named(header []byte, name string) []byte {
	return append(binary.LittleEndian.AppendUint16(header, uint16(len(name))), name...)
}

func dirItem(object uint64, location, kind byte, name string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, object)
	b = append(b, location)
	b = append(b, make([]byte, 8+8+2)...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	return append(append(b, kind), name...)
}

func TestEachNameReadsAllNamesOfAnItem(t *testing.T) {
	index := make([]byte, 8)
	short := SearchItem{Object: 300, Type: inodeRefKey, Offset: 256,
		Data: slices.Concat(named(index, "one"), named(index, "\xff\n"))}
	extended := SearchItem{Object: 300, Type: inodeExtrefKey, Offset: 4711,
		Data: named(append(binary.LittleEndian.AppendUint64(nil, 257), index...), "three")}
	root := SearchItem{Object: 256, Type: inodeRefKey, Offset: 256, Data: named(index, "..")}
	type found struct {
		Parent uint64
		Name   string
	}
	var got []found
	for _, item := range []SearchItem{short, extended, root} {
		err := EachName(item, func(parent uint64, name []byte) error {
			got = append(got, found{parent, string(name)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]found{{256, "one"}, {256, "\xff\n"}, {257, "three"}}, got); diff != "" {
		t.Error(diff)
	}
}

// Names from the disk are opened: none may lead elsewhere.
func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "/", "a\x00", strings.Repeat("x", 256)} {
		ref := SearchItem{Object: 300, Type: inodeRefKey, Data: named(make([]byte, 8), name)}
		if err := EachName(ref, func(uint64, []byte) error { return nil }); err == nil {
			t.Errorf("%q was taken from a reference", name)
		}
		entry := SearchItem{Object: 300, Type: dirIndexKey, Data: dirItem(301, inodeItemKey, 1, name)}
		if _, _, _, err := parseDirEntry(entry); err == nil {
			t.Errorf("%q was taken from a directory", name)
		}
		root := SearchItem{Object: 300, Type: rootRefKey, Data: named(make([]byte, 16), name)}
		if _, _, err := ParseRootRef(root); err == nil {
			t.Errorf("%q was taken from a subvolume", name)
		}
	}
}

func TestParseDirEntryTellsWhatItIs(t *testing.T) {
	for name, c := range map[string]struct {
		location, kind byte
		want           uint8
	}{
		"file":      {inodeItemKey, 1, entryOther},
		"link":      {inodeItemKey, 7, entryOther},
		"directory": {inodeItemKey, 2, entryDirectory},
		"encrypted": {inodeItemKey, 2 | 0x80, entryDirectory},
		"subvolume": {rootItemKey, 2, entrySubvolume},
	} {
		object, kind, found, err := parseDirEntry(SearchItem{Data: dirItem(4711, c.location, c.kind, name)})
		if err != nil {
			t.Fatal(err)
		}
		if object != 4711 || kind != c.want || string(found) != name {
			t.Errorf("%s: got object %d, kind %d, name %q", name, object, kind, found)
		}
	}
}

// A root item that an old kernel wrote last has uuids that are not its own.
func TestParseRootDistrustsFieldsOfAnOlderGeneration(t *testing.T) {
	data := make([]byte, rootItemSize)
	binary.LittleEndian.PutUint64(data[160:], 50)
	data[247] = 7
	for generation, want := range map[uint64]UUID{50: {7}, 49: {}} {
		binary.LittleEndian.PutUint64(data[239:], generation)
		s, err := ParseRoot(SearchItem{Object: 256, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		if s.UUID != want || s.Generation != 50 {
			t.Errorf("generation %d: got uuid %q of generation %d", generation, s.UUID, s.Generation)
		}
	}
}

// Whatever an item holds: an error or a value, never a panic, and names that can be opened.
func FuzzItems(f *testing.F) {
	f.Add(uint64(300), uint64(256), []byte{})
	f.Add(uint64(300), uint64(256), named(make([]byte, 8), "name"))
	f.Add(uint64(256), uint64(256), named(make([]byte, 8), ".."))
	f.Add(uint64(300), uint64(1), named(make([]byte, 16), "name"))
	f.Add(uint64(300), uint64(2), dirItem(301, inodeItemKey, 1, "name"))
	f.Add(uint64(300), uint64(0), make([]byte, inodeItemSize))
	f.Add(uint64(300), uint64(0), make([]byte, rootItemSize))
	f.Add(uint64(300), uint64(0), slices.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, object, offset uint64, data []byte) {
		check := func(name []byte) {
			if err := checkName(name); err != nil {
				t.Error(err)
			}
		}
		for _, kind := range []uint8{inodeRefKey, inodeExtrefKey} {
			item := SearchItem{Object: object, Type: kind, Offset: offset, Data: data}
			_ = EachName(item, func(_ uint64, name []byte) error { check(name); return nil })
		}
		item := SearchItem{Object: object, Offset: offset, Data: data}
		_, _, _ = parseInode(item)
		_, _ = ParseRoot(item)
		if _, _, name, err := parseDirEntry(item); err == nil {
			check(name)
		}
		if _, name, err := ParseRootRef(item); err == nil {
			check([]byte(name))
		}
	})
}
