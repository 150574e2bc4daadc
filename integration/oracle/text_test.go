package oracle

import (
	"reflect"
	"slices"
	"testing"
)

func TestWordsOfAScript(t *testing.T) {
	for line, want := range map[string][]string{
		`linux '/@/boot/vmlinuz' ${txupd_note} 'root=UUID=x' 'a b'`: {"linux", "/@/boot/vmlinuz", "${txupd_note}", "root=UUID=x", "a b"},
		`'it'\''s' ''`:    {"it's", ""},
		`	initrd 'a'	'b'`: {"initrd", "a", "b"},
		``:                nil,
	} {
		if got := words(line); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestMergePatch(t *testing.T) {
	parse := func(text string) any {
		v, err := tree([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	got := merge(parse(`{"a":1,"b":{"c":2,"d":3},"e":[1]}`), parse(`{"a":null,"b":{"c":null,"f":4},"e":[2,3]}`))
	if want := parse(`{"b":{"d":3,"f":4},"e":[2,3]}`); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestEscapesOfMountinfo(t *testing.T) {
	if got := unescapeMount(`/a\040b\134c\0`); got != `/a b\c\0` {
		t.Errorf("%q", got)
	}
}

func TestJudgeWithoutAnythingKnown(t *testing.T) {
	found := Judge(Facts{}, Facts{}, Expect{Next: []uint64{1}})
	if len(found) == 0 || slices.ContainsFunc(found, func(f Finding) bool { return f.Check != BootNext }) {
		t.Errorf("of an empty system: %q", found)
	}
}
