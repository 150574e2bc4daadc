// Exports, patterns and filters, whatever is in them.

package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/txupd/txupd/pkg/journal/record"
)

// chained makes an export of events, one JSON object a line, and of a path list
// for transaction number. Hashes, checksums and counts fit: mutations alone would
// never come further than them.
func chained(f testing.TB, events, list []byte, number uint64) []byte {
	f.Helper()
	pack, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	defer pack.close()
	var lines bytes.Buffer
	head := Head{Journal: "FUZZ", Hash: genesis("FUZZ")}
	put := func(event object) {
		event["seq"], event["prev"] = json.RawMessage(fmt.Sprint(head.Seq+1)), json.RawMessage(fmt.Sprintf("%q", head.Hash))
		payload, err := encodeJSON(event)
		if err != nil {
			return
		}
		stored := pack.pack(numberKey(head.Seq+1), payload)
		e, err := decodeEvent(payload)
		if err != nil {
			return
		}
		line, err := encodeJSON(exportLine{Type: lineEvent, Event: &e, Stored: stored})
		if err != nil {
			return
		}
		lines.Write(append(line, '\n'))
		head.Seq, head.Hash = head.Seq+1, sum(stored)
	}
	for raw := range bytes.Lines(events) {
		var event object
		if json.Unmarshal(raw, &event) == nil && event != nil {
			put(event)
		}
	}
	lists := uint64(0)
	if len(list) > 0 {
		stored := pack.pack(numberKey(number), list)
		put(object{"number": json.RawMessage(fmt.Sprint(number)), "kind": json.RawMessage(`"files"`), "time": json.RawMessage(`"2026-01-02T03:04:05Z"`),
			"patch": json.RawMessage(fmt.Sprintf(`{"file_list":{"sha256":%q,"count":1}}`, sum(stored)))})
		line, err := encodeJSON(exportLine{Type: lineFiles, Number: number, Stored: stored})
		if err != nil {
			f.Fatal(err)
		}
		lines.Write(append(line, '\n'))
		lists = 1
	}
	begin, err := encodeJSON(exportLine{Type: lineJournal, Format: exportFormat, Schema: &schema{Major: schemaMajor}, Head: &head})
	if err != nil {
		f.Fatal(err)
	}
	end, err := encodeJSON(exportLine{Type: lineEnd, Events: head.Seq, Lists: lists})
	if err != nil {
		f.Fatal(err)
	}
	return slices.Concat(begin, []byte("\n"), lines.Bytes(), end, []byte("\n"))
}

// FuzzImport: what is imported is a sound journal, which exports itself as the
// same events; anything else is refused with the reason.
func FuzzImport(f *testing.F) {
	list, err := encodePaths(sortedByPath(someFiles()))
	if err != nil {
		f.Fatal(err)
	}
	for _, events := range []string{
		`{"kind":"begin","number":1,"time":"2026-01-02T03:04:05Z","patch":{"number":1,"created":"2026-01-02T03:04:05Z","package_changes":[{"name":"htop"}]}}` + "\n" +
			`{"kind":"commit","number":1,"patch":{"phase":"committed","package_changes":null,"later":{"a":[1.50]}},"new":true}`,
		`{"number":1,"patch":{"number":1,"Created":"2026-01-02T03:04:05Z"}}`,
		`{"number":1,"patch":{"number":2}}`,
		`{"number":3,"patch":{"number":3,"created":"0000-01-01T00:00:00+23:59"}}` + "\n" + `{"number":3,"patch":{"file_list":{"sha256":"x"}}}`,
		`{"number":1}`,
	} {
		f.Add([]byte(events), list, uint64(1), []byte(nil))
		f.Add([]byte(events), []byte(nil), uint64(0), []byte(`{"type":"event"}`+"\n"))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, events, list []byte, number uint64, behind []byte) {
		if len(list) > 4096 {
			return // short front-coded lists can stand for long ones: this bounds the time that one takes
		}
		lines := append(chained(t, events, list, number), behind...)
		path := filepath.Join(dir, "import.db")
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, NoFreelistSync: true})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Update(func(tx *bbolt.Tx) error { // of the import before
			for _, name := range buckets {
				if tx.Bucket([]byte(name)) != nil {
					if err := tx.DeleteBucket([]byte(name)); err != nil {
						return err
					}
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := importInto(t.Context(), db, path, bytes.NewReader(lines)); err != nil {
			if len(err.Error()) < 10 {
				t.Errorf("refused with %q", err)
			}
			return
		}
		pack, err := newPacker()
		if err != nil {
			t.Fatal(err)
		}
		defer pack.close()
		if err := db.View(func(b *bbolt.Tx) error {
			tx := &Tx{j: &Journal{path: path, id: "FUZZ", pack: pack}, b: b}
			if err := tx.open(); err != nil {
				return err
			}
			var again bytes.Buffer
			if err := tx.export(t.Context(), &again); err != nil {
				return fmt.Errorf("what was imported cannot be exported: %w\n%s", err, lines)
			}
			got, want := storedLines(t, again.Bytes()), storedLines(t, lines)
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Errorf("-imported +exported\n%s", diff)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// storedLines are the lines of an export without what can be read of them.
func storedLines(t *testing.T, lines []byte) (all []exportLine) {
	t.Helper()
	for raw := range bytes.Lines(lines) {
		if len(bytes.TrimSpace(raw)) == 0 {
			continue
		}
		var l exportLine
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatal(err)
		}
		l.Event, l.Files = nil, nil
		all = append(all, l)
	}
	return all
}

// FuzzPatch: the patch between what is stored and a record leads to that record,
// leaves what it does not know, and is empty the second time.
func FuzzPatch(f *testing.F) {
	for n := range uint64(2) {
		raw, err := encodeJSON(sample(n + 1))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, raw)
		f.Add([]byte(`{"number":1,"schema":1,"later":[{"a":1}],"tags":["x"],"boots":[{"boot_id":"b","later":1}]}`), raw)
	}
	f.Add([]byte(`{"number":1,"Number":2,"actor":null,"actor":{"uid":1,"later":{}}}`), []byte(`{"number":3,"boots":[{}],"notes":[{"text":"\ud800"}]}`))
	f.Fuzz(func(t *testing.T, old, next []byte) {
		var rec record.Record
		if json.Unmarshal(next, &rec) != nil {
			return
		}
		rec.FileChanges = nil
		var before object
		var known record.Record
		if json.Unmarshal(old, &before) != nil || before == nil || json.Unmarshal(old, &known) != nil {
			return
		}
		for name := range before {
			// Two spellings of one member are never written.
			if name != strings.ToLower(name) || !utf8.ValidString(name) || strings.Contains(name, "\ufffd") || isNull(before[name]) {
				return
			}
		}
		patch, err := diffRecord(old, rec)
		if err != nil {
			return // a number that Go does not take, say
		}
		stored, err := applyPatch(old, patch)
		if err != nil {
			t.Fatal(err)
		}
		if more, err := diffRecord(stored, rec); err != nil || len(more) > 0 {
			t.Fatalf("%s to %s is patched to %s, which still differs in %v (%v)", old, next, stored, more, err)
		}
		if again, err := applyPatch(stored, patch); err != nil || !sameJSON(again, stored) {
			t.Fatalf("patched twice it is %s, not %s (%v)", again, stored, err)
		}
		var after object
		if err := json.Unmarshal(stored, &after); err != nil {
			t.Fatal(err)
		}
		mine, err := members(record.Record{})
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range before {
			if _, ours := mine[name]; !ours && strings.HasPrefix(name, "later") && !sameJSON(after[name], value) {
				t.Fatalf("%s was %s and is %s", name, value, after[name])
			}
		}
	})
}

// FuzzPattern: a pattern selects what a plain matcher says, and nothing that is not below its Below.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"/etc/**.conf", "/etc/a/b.conf"}, {"/x/[+-9]b", "/x//b"}, {`/x/[\d]`, `/x/\`}, {"/x/[!]a]", "/x/b/c"}, {`/\`, `/\`}, {"/[[:alpha:]]", "/[:]"},
		{"/a/[", "/a/["}, {"/é?", "/é\xff"}, {`/\**//`, "/*x/y"}, {"/[^-a]", "/b"}, {"/***", "/a/b"}, {"/" + strings.Repeat("a", 5000), "/a"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		p, err := ParsePattern(text)
		if err != nil {
			if len(err.Error()) > 5*maxPattern || strings.HasPrefix(text, "/") && len(text) <= maxPattern && utf8.ValidString(text) && !strings.ContainsAny(text, "\x00[") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if len(path) > 200 || strings.Count(text, "*")+strings.Count(text, "?") > 12 {
			return // the plain matcher is slow
		}
		if got, want := p.Match(path), selects(strings.TrimRight(text, "/"), path, p.glob != nil); got != want {
			t.Errorf("%q selects %q: %v", text, path, got)
		}
		if p.Match(path) && !isBelow([]byte(path), p.Below()) {
			t.Errorf("%q selects %q, which is not below %q", text, path, p.Below())
		}
		// A path with everything escaped selects itself and what is below.
		if name := "/" + path; utf8.ValidString(name) && !strings.ContainsRune(name, 0) && !strings.HasSuffix(name, "/") {
			var quoted strings.Builder
			for _, r := range name {
				if strings.ContainsRune(`*?[\`, r) {
					quoted.WriteByte('\\')
				}
				quoted.WriteRune(r)
			}
			q, err := ParsePattern(quoted.String())
			if err != nil && quoted.Len() <= maxPattern {
				t.Fatal(err)
			}
			if err == nil && (!q.Match(name) || !q.Match(name+"/x") || q.Match(name+"x") || q.Below() != name) {
				t.Errorf("%q does not select %q alone", quoted.String(), name)
			}
		}
	})
}

// selects is the glob by the book: it fits the path, or a directory above it.
func selects(glob, path string, wild bool) bool {
	chars := func(s string) []rune { return []rune(s) }
	if !wild { // byte for byte: a name need not be UTF-8
		chars = func(s string) (all []rune) {
			for _, b := range []byte(s) {
				all = append(all, rune(b))
			}
			return all
		}
	}
	if fits(chars(glob), chars(path)) {
		return true
	}
	for i := range path {
		if path[i] == '/' && fits(chars(glob), chars(path[:i])) {
			return true
		}
	}
	return false
}

func fits(glob, path []rune) bool {
	if len(glob) == 0 {
		return len(path) == 0
	}
	rest := func(n int) []rune { return glob[n:] }
	switch one := string(glob); {
	case strings.HasPrefix(one, "**"):
		for i := 0; i <= len(path); i++ {
			if fits(rest(2), path[i:]) {
				return true
			}
		}
		return false
	case glob[0] == '*':
		for i := 0; ; i++ {
			if fits(rest(1), path[i:]) {
				return true
			}
			if i == len(path) || path[i] == '/' {
				return false
			}
		}
	case glob[0] == '?':
		return len(path) > 0 && path[0] != '/' && fits(rest(1), path[1:])
	case glob[0] == '[' && set(one) != "":
		s := []rune(set(one))
		return len(path) > 0 && inSet(s[1:len(s)-1], path[0]) && fits(rest(len(s)), path[1:])
	case glob[0] == '\\' && len(glob) > 1:
		return len(path) > 0 && path[0] == glob[1] && fits(rest(2), path[1:])
	}
	return len(path) > 0 && path[0] == glob[0] && fits(rest(1), path[1:])
}

func inSet(body []rune, c rune) bool {
	not := body[0] == '!' || body[0] == '^'
	if not {
		body = body[1:]
	}
	in := false
	for len(body) > 0 {
		if len(body) > 2 && body[1] == '-' {
			in = in || body[0] <= c && c <= body[2]
			body = body[3:]
			continue
		}
		in = in || body[0] == c
		body = body[1:]
	}
	return c != '/' && in != not
}

// FuzzFilter: a filter never says "no" of a path that was changed, or of a
// directory above it, and any other bytes are read without harm.
func FuzzFilter(f *testing.F) {
	f.Add([]byte("/etc/fstab\n/usr/share/doc/a\n/usr/share/doc/a/b"), []byte{filterFormat, 0, 255})
	f.Add([]byte("a\n//\n/"), []byte{2})
	f.Fuzz(func(t *testing.T, paths, stored []byte) {
		filterMayHold(stored, hashPath(string(paths)))
		var changes []record.FileChange
		for path := range bytes.SplitSeq(paths, []byte("\n")) {
			if len(path) > 0 {
				changes = append(changes, record.FileChange{Path: string(path)})
			}
		}
		filter := buildFilter(sortedByPath(changes))
		for _, c := range changes {
			for i := range c.Path {
				if i > 0 && c.Path[i] == '/' && !filterMayHold(filter, hashPath(c.Path[:i])) {
					t.Fatalf("%q is above %q, and the filter says no", c.Path[:i], c.Path)
				}
			}
			if !filterMayHold(filter, hashPath(c.Path)) {
				t.Fatalf("the filter says no to %q", c.Path)
			}
		}
		key := numberKey(7)
		p := &packer{} // which is not needed for what is stored plain
		if got, err := p.filterOf(key, packFilter(key, filter)); err != nil || !bytes.Equal(got, filter) {
			t.Fatalf("%x is stored and read as %x (%v)", filter, got, err)
		}
		if len(filter) > 1+(2*len(paths)+16)*filterBitsPerKey {
			t.Errorf("a filter of %d bytes for %d", len(filter), len(paths))
		}
	})
}
