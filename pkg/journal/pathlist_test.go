// The path list codec and the filters: what goes in comes out, bytes that make
// no sense are errors, and the filters never say "no" wrongly.

package journal

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/journal/record"
)

func decodePaths(raw []byte) ([]record.FileChange, error) {
	l, err := openPaths(raw)
	if err != nil {
		return nil, err
	}
	changes := []record.FileChange{}
	for e, err := range l.entries() {
		if err != nil {
			return nil, err
		}
		changes = append(changes, e.fileChange())
	}
	return changes, nil
}

// drawChanges makes up paths that share directories, with odd bytes in them.
func drawChanges(t *rapid.T) []record.FileChange {
	part := rapid.OneOf(
		rapid.SampledFrom([]string{"usr", "share", "doc", "lib", "a", "a-b", "a0", "é", "\xff\xfe", "new\nline", ".."}),
		rapid.StringMatching(`[a-z0-9._+-]{1,9}`))
	change := rapid.Custom(func(t *rapid.T) record.FileChange {
		return record.FileChange{
			Path:   "/" + strings.Join(rapid.SliceOfN(part, 0, 6).Draw(t, "parts"), "/"),
			Change: rapid.SampledFrom([]string{record.Added, record.Removed, record.Modified, record.TypeChange, "of the future"}).Draw(t, "change"),
			Owner:  rapid.SampledFrom([]string{"", "htop", "libc6"}).Draw(t, "owner"),
		}
	})
	return rapid.SliceOfN(change, 0, 60).Draw(t, "changes")
}

func byPath(a, b record.FileChange) int { return strings.Compare(a.Path, b.Path) }

func TestPathListsComeOutAsTheyWentIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changes := drawChanges(t)
		want := sortedByPath(changes)
		raw, err := encodePaths(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodePaths(raw)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v %s", err, cmp.Diff(want, got))
		}
		for i := range raw {
			if _, err := decodePaths(raw[:i]); err == nil {
				t.Fatalf("cut to %d of %d bytes it was read", i, len(raw))
			}
		}
	})
}

func TestPathsThatCannotBeRecordedAreRefused(t *testing.T) {
	for _, path := range []string{"", strings.Repeat("/x", MaxPath)} {
		if _, err := encodePaths([]record.FileChange{{Path: path}}); err == nil {
			t.Errorf("a path of %d bytes was recorded", len(path))
		}
	}
}

func TestFilterNeverDeniesWhatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changes := sortedByPath(drawChanges(t))
		filter := buildFilter(changes)
		for _, c := range changes {
			for path := trimSlash(c.Path); path != ""; path = path[:strings.LastIndexByte(path, '/')] {
				if !filterMayHold(filter, hashPath(path)) {
					t.Fatalf("%q of %q denied", path, c.Path)
				}
			}
		}
	})
}

func TestFilterSeldomAffirmsWhatIsNotThere(t *testing.T) {
	filter := buildFilter(sortedByPath(realisticFiles(1, 500)))
	wrong := 0
	const probes = 100_000
	for _, c := range realisticFiles(1_000_003, probes) {
		if filterMayHold(filter, hashPath(c.Path+"~")) {
			wrong++
		}
	}
	t.Logf("%d of %d wrong, %d bytes for 500 paths", wrong, probes, len(filter))
	if wrong > probes/100 {
		t.Errorf("%d of %d wrong", wrong, probes)
	}
	if filterMayHold(buildFilter(nil), hashPath("/etc")) {
		t.Error("the filter over nothing affirms")
	}
	if !filterMayHold([]byte{99, 0}, hashPath("/etc")) {
		t.Error("a filter of an unknown format denies")
	}
}

func TestFilesBelowAPathAgreeWithASearch(t *testing.T) {
	j := newJournal(t)
	update(t, j, func(tx *Tx) error { return tx.Put("begin", nil, sample(1)) })
	rapid.Check(t, func(t *rapid.T) {
		changes := drawChanges(t)
		if err := j.Update(func(tx *Tx) error { return tx.PutFiles(1, changes) }); err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(changes, byPath)
		asked := "/usr"
		if len(changes) > 0 {
			asked = rapid.SampledFrom(changes).Draw(t, "asked").Path
			if i := strings.LastIndexByte(asked, '/'); i > 0 && rapid.Bool().Draw(t, "its directory") {
				asked = asked[:i]
			}
		}
		var want []record.FileChange
		for _, c := range changes {
			dir := strings.TrimRight(asked, "/")
			if c.Path == dir || strings.HasPrefix(c.Path, dir+"/") {
				want = append(want, c)
			}
		}
		err := j.View(func(tx *Tx) error {
			got, err := tx.FilesBelow(1, asked)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("below %q: %v %s", asked, err, cmp.Diff(want, got))
			}
			if may, err := tx.MayTouch(1, asked); err != nil || len(want) > 0 && !may {
				t.Fatalf("may touch %q: %v %v, it does", asked, may, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestCandidatesAreNewestFirst(t *testing.T) {
	j := newJournal(t)
	update(t, j, func(tx *Tx) error {
		for n := uint64(1); n <= 5; n++ {
			files := []record.FileChange{{Path: "/etc/passwd", Change: record.Modified}}
			if n%2 == 0 {
				files = []record.FileChange{{Path: "/usr/bin/htop", Change: record.Added}}
			}
			if err := tx.Put("begin", nil, sample(n)); err != nil {
				return err
			}
			if err := tx.PutFiles(n, files); err != nil {
				return err
			}
		}
		return nil
	})
	for path, want := range map[string][]uint64{
		"/etc/passwd": {5, 3, 1}, "/etc": {5, 3, 1}, "/usr/bin/": {4, 2}, "/": {5, 4, 3, 2, 1}, "/opt": nil,
	} {
		view(t, j, func(tx *Tx) error {
			var got []uint64
			for n, err := range tx.Candidates(path) {
				if err != nil {
					return err
				}
				got = append(got, n)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", path, got, want)
			}
			return nil
		})
	}
}

// listOfEntries encodes shared and rest of each path as they are given.
func listOfEntries(entries ...[2]any) []byte {
	var column [columns][]byte
	for _, e := range entries {
		shared, rest := e[0].(int), e[1].(string)
		column[colShared] = binary.AppendUvarint(column[colShared], uint64(shared))
		column[colLength] = binary.AppendUvarint(column[colLength], uint64(len(rest)))
		column[colRest] = append(column[colRest], rest...)
		column[colChange], column[colOwner] = append(column[colChange], 0), append(column[colOwner], 0)
	}
	raw := binary.AppendUvarint([]byte{pathListFormat}, uint64(len(entries)))
	raw = append(raw, 1, 1, 'x')
	for _, c := range column {
		raw = append(binary.AppendUvarint(raw, uint64(len(c))), c...)
	}
	return raw
}

func TestAPathListThatNobodyWroteIsRefused(t *testing.T) {
	if changes, err := decodePaths(listOfEntries([2]any{0, "/a"}, [2]any{2, ""}, [2]any{1, "b"}, [2]any{2, "c"})); err != nil || len(changes) != 4 || changes[3].Path != "/bc" {
		t.Fatalf("one that somebody could have written: %+v, %v", changes, err)
	}
	for what, raw := range map[string][]byte{
		"out of order":         listOfEntries([2]any{0, "/b"}, [2]any{1, "a"}),
		"a directory after":    listOfEntries([2]any{0, "/b/c"}, [2]any{2, ""}),
		"less shared than is":  listOfEntries([2]any{0, "/b"}, [2]any{0, "/c"}),
		"an empty path":        listOfEntries([2]any{0, ""}),
		"more than there are":  append([]byte{pathListFormat, 200, 1, 1}, listOfEntries([2]any{0, "/a"})[3:]...),
		"more shared than was": listOfEntries([2]any{0, "/b"}, [2]any{3, "c"}),
	} {
		if changes, err := decodePaths(raw); err == nil {
			t.Errorf("%s: %+v", what, changes)
		}
	}
	// Some kilobytes that stand for gigabytes.
	entries := [][2]any{{0, "/" + strings.Repeat("a", MaxPath-1)}}
	for range maxPaths/MaxPath + 1 {
		entries = append(entries, [2]any{MaxPath, ""})
	}
	l, err := openPaths(listOfEntries(entries...))
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for e, err := range l.entries() {
		if total += len(e.path); err != nil {
			break
		}
	}
	if total > maxPaths {
		t.Errorf("%d bytes of paths came of %d", total, len(listOfEntries(entries...)))
	}
}

func FuzzPathList(f *testing.F) {
	for _, changes := range [][]record.FileChange{nil, someFiles(), realisticFiles(1, 20), {{Path: "/\xff"}}} {
		raw, err := encodePaths(sortedByPath(changes))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4096 {
			return // front coding can blow up: what is bounded here is only the test's memory
		}
		changes, err := decodePaths(raw)
		if err != nil || !slices.IsSortedFunc(changes, byPath) ||
			slices.ContainsFunc(changes, func(c record.FileChange) bool { return c.Path == "" }) {
			return
		}
		again, err := encodePaths(changes)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodePaths(again)
		if err != nil || !slices.Equal(got, changes) {
			t.Fatalf("%v %s", err, cmp.Diff(changes, got))
		}
	})
}

func FuzzUnpack(f *testing.F) {
	p, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(p.close)
	key := numberKey(1)
	for _, payload := range [][]byte{nil, []byte("{}"), bytes.Repeat([]byte("/usr/share/doc"), 100)} {
		stored := p.pack(key, payload)
		if got, err := p.unpack(key, stored); err != nil || !bytes.Equal(got, payload) {
			f.Fatalf("%q %v", got, err)
		}
		if _, err := p.unpack(numberKey(2), stored); err == nil {
			f.Fatal("a value was read under another key")
		}
		f.Add(stored[4:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		stored := append(make([]byte, 4), body...)
		p.unpack(key, stored) // mostly a wrong checksum
		if len(body) == 0 {
			return
		}
		crc := checksum(key, body)
		stored[0], stored[1], stored[2], stored[3] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
		if payload, err := p.unpack(key, stored); err == nil && len(payload) > maxUnpacked {
			t.Fatalf("%d bytes came out of %d", len(payload), len(stored))
		}
	})
}
