// The small files beside snapshots and the kernel's tables, whatever is in them.

package snapshot

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzInfo: what is written into info.xml is XML that says it, on one line and
// in words that snapper's tools can show; another number changes nothing else.
func FuzzInfo(f *testing.F) {
	f.Add("pkg add <htop> & \"more\"\x1b[31m\nsecond line", "important", "yes", uint32(1000), uint32(12))
	f.Add("]]>\ufffe\x00\xff", "a=b,c", "\u2028 \u0085", uint32(0), uint32(1))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, description, key, value string, uid, number uint32) {
		const uuid = "8f2c7d1e-1111-4222-8333-444455556666"
		at := time.Date(2026, 3, 14, 15, 9, 26, 0, time.FixedZone("", 3600))
		given := Info{Description: description, UID: uid, UserData: map[string]string{key: value}}
		info := newInfo(Number(number), uuid, at, given)
		if !maps.Equal(given.UserData, map[string]string{key: value}) {
			t.Fatal("the caller's data were changed")
		}
		if err := writeInfo(dir, info); err != nil {
			t.Fatal(err)
		}
		read := func() (got snapperInfo) {
			text, err := os.ReadFile(filepath.Join(dir, infoName))
			if err != nil {
				t.Fatal(err)
			}
			if err := xml.Unmarshal(text, &got); err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			return got
		}
		got := read()
		if got.Number != Number(number) || got.UID != uid || got.Date != "2026-03-14 14:09:26" {
			t.Errorf("%+v", got)
		}
		if !slices.ContainsFunc(got.UserData, func(d snapperUserData) bool { return d.Key == userDataTransaction && d.Value == uuid }) {
			t.Errorf("the transaction is not in %+v", got.UserData)
		}
		for _, text := range []string{got.Description, got.UserData[0].Key, got.UserData[0].Value} {
			if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) || strings.TrimSpace(text) != text {
				t.Errorf("%q is not one line of text", text)
			}
		}
		for _, d := range got.UserData {
			if strings.ContainsAny(d.Key+d.Value, ",=") {
				t.Errorf("%q=%q is more than one word", d.Key, d.Value)
			}
		}
		plain := func(s string) bool {
			return utf8.ValidString(s) && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool {
				return unicode.IsControl(r) || r == '\ufffd' || r == '\ufffe' || r == '\uffff'
			})
		}
		if plain(description) && got.Description != description {
			t.Errorf("%q is written as %q", description, got.Description)
		}
		got.Number = 7
		if err := renumberInfo(dir, 7); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, read()); diff != "" {
			t.Errorf("another number changed more:\n%s", diff)
		}
	})
}

// FuzzRenumber: an info.xml of others is renumbered, with what snapper keeps in it, or refused by name.
func FuzzRenumber(f *testing.F) {
	f.Add([]byte("<?xml version=\"1.0\"?>\n<snapshot><num>1</num></snapshot>"))
	f.Add([]byte("<snapshot><num>-1</num></snapshot>"))
	dir := f.TempDir()
	path := filepath.Join(dir, infoName)
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var before, after snapperInfo
		readable := xml.Unmarshal(text, &before)
		if err := renumberInfo(dir, 12); err != nil {
			if readable == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		written, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(written, &after); err != nil {
			t.Fatalf("%q became\n%s\n%v", text, written, err)
		}
		before.Number = 12
		for _, s := range []*snapperInfo{&before, &after} {
			// What XML cannot say is written as U+FFFD; a carriage return that was
			// given by number stays one.
			for i := range s.UserData {
				s.UserData[i].Key, s.UserData[i].Value = strings.ToValidUTF8(s.UserData[i].Key, "\ufffd"), strings.ToValidUTF8(s.UserData[i].Value, "\ufffd")
			}
		}
		before.XMLName, after.XMLName = xml.Name{}, xml.Name{}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%q became\n%s\n%s", text, written, diff)
		}
	})
}

// FuzzMarker: a marker that is read is written as the same, and one that is not
// is refused by its name.
func FuzzMarker(f *testing.F) {
	f.Add([]byte(`{"version":1,"uuid":"x","number":4294967296,"subvolumes":{"snapshot":{"id":1,"uuid":""}},"record":null}`))
	f.Add([]byte(`{"version":2,"uuid":"x","subvolumes":{"../../x":{}},"record":{"number":1,"later":"<"},"later":[]}`))
	dir := f.TempDir()
	path := filepath.Join(dir, markerName)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := readMarker(dir)
		if err != nil {
			if !strings.Contains(err.Error(), path) || !reflect.DeepEqual(m, Marker{}) {
				t.Errorf("%q: %v, %+v", raw, err, m)
			}
			return
		}
		if m.UUID == "" || m.Version < 1 {
			t.Errorf("%q is %+v", raw, m)
		}
		if err := writeMarker(dir, m); err != nil {
			t.Fatal(err)
		}
		again, err := readMarker(dir)
		if err != nil {
			t.Fatal(err)
		}
		m.Version = markerVersion
		same := cmp.Comparer(func(a, b json.RawMessage) bool {
			var x, y any
			return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y) || len(a)+len(b) == 0
		})
		if diff := cmp.Diff(m, again, same, cmp.Comparer(func(a, b map[Role]Identity) bool { return maps.Equal(a, b) })); diff != "" {
			t.Errorf("%q is written as another:\n%s", raw, diff)
		}
	})
}

// FuzzNames: numbers, places and uuids are read only in the form in which they are written.
func FuzzNames(f *testing.F) {
	f.Add("@/.snapshots/12/snapshot", "@/.snapshots", uint32(12), "8F2C7D1E-1111-4222-8333-444455556666")
	f.Add("00", "", uint32(0), "8f2c7d1e-1111-4222-8333-44445555666")
	f.Add("+1/snapshot", "/", uint32(1), "00000000-0000-0000-0000-000000000000")
	f.Fuzz(func(t *testing.T, name, dir string, n uint32, uuid string) {
		if got, ok := parseNumber(name); ok && (strconv.FormatUint(uint64(got), 10) != name || got == 0) {
			t.Errorf("%q is number %d", name, got)
		}
		if got, ok := parseNumber(strconv.FormatUint(uint64(n), 10)); ok != (n > 0) || ok && got != Number(n) {
			t.Errorf("%d is read as %d", n, got)
		}
		if got, ok := numberIn(name, dir, RoleSnapshot); ok {
			want := fmt.Sprintf("%d/%s", got, RoleSnapshot)
			if dir != "" {
				want = dir + "/" + want
			}
			if name != want {
				t.Errorf("%q is snapshot %d of %q", name, got, dir)
			}
		}
		u, err := ParseUUID(uuid)
		if err == nil && u.String() != strings.ToLower(uuid) && !u.IsZero() || err != nil && !strings.Contains(err.Error(), strconv.Quote(uuid)) {
			t.Errorf("%q is %q (%v)", uuid, u, err)
		}
		if again, err := ParseUUID(u.String()); err != nil || again != u {
			t.Errorf("%q is written as %q", uuid, u)
		}
		if clean, err := transaction(uuid); err == nil && (clean.String() != uuid || strings.ContainsAny(uuid, "/.")) {
			t.Errorf("transaction %q", uuid)
		}
	})
}
