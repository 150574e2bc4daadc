package snapshot

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRemedyMountsTheSnapshotsThatThereAre(t *testing.T) {
	there := []Subvolume{{Path: "@home"}, {Path: "@snapshots"}}
	for _, test := range []struct {
		name, booted, want, lacks string
		top                       []Subvolume
	}{
		{"a snapshot of openSUSE", "@/.snapshots/1/snapshot", "subvol=/@/.snapshots ", "subvolume create", nil},
		{"a snapshot of a flat system", "@snapshots/7/snapshot", "subvol=/@snapshots ", "subvolume create", nil},
		{"a flat root", "@", "subvolume create /mnt/@snapshots", "", nil},
		{"a flat root that has them", "@", "subvol=/@snapshots ", "subvolume create", there},
		{"Fedora's root", "root", "subvolume create /mnt/snapshots", "", there},
		{"the top level", "", "subvolume create /mnt/@snapshots", "", nil},
		{"a root of that name", "a/snapshot", "subvolume create /mnt/@snapshots", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := remedy(Layout{RootDir: "/", SnapshotsDir: "/.snapshots", Booted: Subvolume{Path: test.booted}}, test.top)
			if !strings.Contains(got, test.want) || test.lacks != "" && strings.Contains(got, test.lacks) {
				t.Errorf("the remedy is\n%s", got)
			}
		})
	}
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{
		"/.snapshots": "/.snapshots", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "ü": "'ü'",
	} {
		if got := shellWord(word); got != want {
			t.Errorf("shellWord(%q) is %s, want %s", word, got, want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for name, want := range map[string]Number{
		"1": 1, "42": 42, "4294967295": 4294967295,
		"0": 0, "": 0, "01": 0, "+1": 0, "-1": 0, "1 ": 0, "4294967296": 0, "1e3": 0, "current": 0, "0x1": 0, "1_000": 0,
	} {
		got, ok := parseNumber(name)
		if got != want || ok != (want != 0) {
			t.Errorf("parseNumber(%q) is %d, %v", name, got, ok)
		}
	}
}

func TestNumberIn(t *testing.T) {
	for _, test := range []struct {
		path, snapshots string
		want            Number
	}{
		{"@/.snapshots/3/snapshot", "@/.snapshots", 3},
		{"3/snapshot", "", 3},
		{"@snapshots/3/snapshot/etc", "@snapshots", 0},
		{"@snapshots/3/base", "@snapshots", 0},
		{"@snapshots/.txupd/new-x/snapshot", "@snapshots", 0},
		{"@snapshots2/3/snapshot", "@snapshots", 0},
		{"@", "@snapshots", 0},
		{"", "", 0},
	} {
		if got, ok := numberIn(test.path, test.snapshots, RoleSnapshot); got != test.want || ok != (test.want != 0) {
			t.Errorf("numberIn(%q, %q) is %d, %v, want %d", test.path, test.snapshots, got, ok, test.want)
		}
	}
}

func TestUserDataHoldsNoSeparators(t *testing.T) {
	for word, want := range map[string]string{
		"a=b,c": "a_b_c", "two\nlines\t": "two lines", "\x1b[0m": "[0m", "ok": "ok", "\xff": "", "ü\u0085": "ü",
	} {
		if got := userWord(word); got != want {
			t.Errorf("userWord(%q) is %q, want %q", word, got, want)
		}
	}
}

func TestUUIDInJSON(t *testing.T) {
	const text = `{"id":260,"uuid":"00112233-4455-6677-8899-aabbccddeeff"}`
	var id Identity
	if err := json.Unmarshal([]byte(text), &id); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(id)
	if err != nil || string(back) != text {
		t.Errorf("%s became %s: %v", text, back, err)
	}
	for _, bad := range []string{"0", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeegg", "../../../../../../../../../../../../ab"} {
		if err := id.UUID.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a uuid", bad)
		}
		if _, err := transaction(bad); err == nil {
			t.Errorf("%q was taken for a transaction", bad)
		}
	}
	for _, bad := range []string{"", "AAAAAAAA-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "00000000-0000-0000-0000-000000000000"} {
		if _, err := transaction(bad); err == nil {
			t.Errorf("%q was taken for a transaction", bad)
		}
	}
}
