// The merge patches: RFC 7386's own examples, and that what a newer version
// wrote survives.

package journal

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/journal/record"
)

// The examples of RFC 7386, appendix A.
func TestMergePatchExamples(t *testing.T) {
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		got, err := mergeMember(json.RawMessage(c.target), json.RawMessage(c.patch))
		if err != nil || string(got) != c.want {
			t.Errorf("%s + %s: %s %v, want %s", c.target, c.patch, got, err, c.want)
		}
		var patch object
		if json.Unmarshal([]byte(c.patch), &patch) != nil || patch == nil || c.target[0] != '{' {
			continue
		}
		if got, err := applyPatch([]byte(c.target), patch); err != nil || string(got) != c.want {
			t.Errorf("apply %s + %s: %s %v, want %s", c.target, c.patch, got, err, c.want)
		}
	}
}

// plant adds members to a stored record as a newer version would.
func plant(t *testing.T, j *Journal, n uint64, patch string) {
	t.Helper()
	update(t, j, func(tx *Tx) error {
		tx.dirty = true
		old, err := tx.storedRecord(n)
		if err != nil {
			return err
		}
		var o object
		if err := json.Unmarshal([]byte(patch), &o); err != nil {
			return err
		}
		return tx.patch("of the future", nil, n, old, o)
	})
}

func storedTree(t *testing.T, j *Journal, n uint64) map[string]any {
	t.Helper()
	var tree any
	view(t, j, func(tx *Tx) error {
		raw, err := tx.storedRecord(n)
		if err != nil {
			return err
		}
		tree, err = parseTree(raw)
		return err
	})
	return tree.(map[string]any)
}

func TestWhatANewerVersionWroteSurvivesAChange(t *testing.T) {
	j := newJournal(t)
	rec := sample(1)
	rec.Commands = append(rec.Commands, record.Command{Argv: []string{"true"}}, record.Command{Argv: []string{"sync"}})
	update(t, j, func(tx *Tx) error { return tx.Put("begin", nil, rec) })
	plant(t, j, 1, `{
		"risk": {"level": 12345678901234567890, "why": "<kernel>"},
		"actor": {"tty": "pts/3"},
		"subvolumes": {"base": {"generation": 77}},
		"commands": [
			{"argv":["apt-get","install","htop"],"exit":0,"started":"2026-03-04T06:06:07.00000089Z","duration":1.5,"cgroup":"a"},
			{"argv":["true"],"exit":0,"started":"0001-01-01T00:00:00Z","duration":0,"cgroup":"b"},
			{"argv":["sync"],"exit":0,"started":"0001-01-01T00:00:00Z","duration":0,"cgroup":"c"}]}`)

	// This version reads it, changes something of everything, and writes it back.
	view(t, j, func(tx *Tx) (err error) { rec, err = tx.Record(1); return err })
	now := time.Date(2026, 5, 5, 5, 5, 5, 0, time.UTC)
	rec.Phase, rec.Verdict, rec.Finished, rec.Message = record.Committed, record.Good, &now, ""
	rec.Actor.Name = "bea"
	rec.Commands[1].Exit = 3
	rec.Boots = append(rec.Boots, record.Boot{BootID: "x", Verdict: record.Good})
	rec.Parent = nil
	base := rec.Subvolumes["base"]
	base.UUID = "other"
	rec.Subvolumes["base"] = base
	delete(rec.Subvolumes, "snapshot")
	update(t, j, func(tx *Tx) error {
		if err := tx.Put("commit", nil, rec); err != nil {
			return err
		}
		return tx.PutFiles(1, someFiles())
	})

	view(t, j, func(tx *Tx) error {
		got, err := tx.Record(1)
		if diff := cmp.Diff(rec, got); err != nil || diff != "" {
			t.Errorf("what this version wrote: %v %s", err, diff)
		}
		return nil
	})
	tree := storedTree(t, j, 1)
	raw, _ := json.Marshal(tree["risk"])
	if string(raw) != `{"level":12345678901234567890,"why":"\u003ckernel\u003e"}` {
		t.Errorf("an unknown member became %s", raw)
	}
	if tree["actor"].(map[string]any)["tty"] != "pts/3" {
		t.Errorf("actor became %v", tree["actor"])
	}
	if g := tree["subvolumes"].(map[string]any)["base"].(map[string]any)["generation"]; g != json.Number("77") {
		t.Errorf("subvolumes became %v", tree["subvolumes"])
	}
	for i, want := range []string{"a", "b", "c"} {
		if got := tree["commands"].([]any)[i].(map[string]any)["cgroup"]; got != want {
			t.Errorf("command %d became %v", i, tree["commands"].([]any)[i])
		}
	}
	if _, there := tree["parent"]; there || tree["schema"] != json.Number("1") {
		t.Errorf("stored %v", tree)
	}
	checkSound(t, j)
}

func TestUnknownMembersOfListElementsStayWithTheirs(t *testing.T) {
	stored := []any{obj("a", 1), obj("b", 2), obj("c", 3)}
	known := []any{obj("a", 0), obj("b", 0), obj("c", 0)}
	for _, c := range []struct {
		name       string
		next, want []any
	}{
		{"removed in the middle", []any{obj("a", 0), obj("c", 0)}, []any{obj("a", 1), obj("c", 3)}},
		{"added in front", []any{obj("x", 0), obj("a", 0), obj("b", 0), obj("c", 0)}, []any{obj("x", 0), obj("a", 1), obj("b", 2), obj("c", 3)}},
		{"added behind", []any{obj("a", 0), obj("b", 0), obj("c", 0), obj("x", 0)}, []any{obj("a", 1), obj("b", 2), obj("c", 3), obj("x", 0)}},
		{"changed in place", []any{obj("a", 0), obj("y", 0), obj("c", 0)}, []any{obj("a", 1), obj("y", 2), obj("c", 3)}},
		{"all gone", []any{}, []any{}},
	} {
		if diff := cmp.Diff(c.want, mergeList(known, stored, c.next)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// obj is a list element; a newer version's member is there if future is not 0.
func obj(name string, future int) map[string]any {
	m := map[string]any{"name": name}
	if future != 0 {
		m["future"] = future
	}
	return m
}

// Whatever a record becomes, the patch leads there from what is stored, and an equal record needs none.
func TestPatchLeadsFromOneRecordToTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := drawRecord(t, 1), drawRecord(t, 1)
		first, err := diffRecord(nil, from)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := applyPatch(nil, first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := diffRecord(stored, to)
		if err != nil {
			t.Fatal(err)
		}
		if stored, err = applyPatch(stored, second); err != nil {
			t.Fatal(err)
		}
		var got record.Record
		if err := json.Unmarshal(stored, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(to, got); diff != "" {
			t.Fatal(diff)
		}
		again, err := diffRecord(stored, to)
		if err != nil || len(again) != 0 {
			t.Fatalf("a patch for no change: %s %v", again, err)
		}
	})
}

// drawRecord makes up a record; lists are nil, empty or filled.
func drawRecord(t *rapid.T, n uint64) record.Record {
	text := rapid.StringMatching(`[a-z<>&" /é]{0,12}`)
	when := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-1e10, 1e10).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()
	})
	maybe := rapid.Ptr(when, true)
	pkg := rapid.Custom(func(t *rapid.T) record.PackageChange {
		return record.PackageChange{
			Name:   rapid.SampledFrom([]string{"htop", "vim", "libc6", "l", ""}).Draw(t, "name"),
			Arch:   text.Draw(t, "arch"),
			Change: rapid.SampledFrom([]string{record.Added, record.Removed}).Draw(t, "change"), New: text.Draw(t, "new"),
		}
	})
	boot := rapid.Custom(func(t *rapid.T) record.Boot {
		return record.Boot{BootID: text.Draw(t, "id"), First: when.Draw(t, "first"), Count: rapid.IntRange(0, 3).Draw(t, "count"),
			Failed: drawList(t, "failed", text)}
	})
	return record.Record{
		Number: n, UUID: text.Draw(t, "uuid"), Phase: record.Phase(text.Draw(t, "phase")),
		Parent:  rapid.Ptr(rapid.Uint64(), true).Draw(t, "parent"),
		Created: when.Draw(t, "created"), Finished: maybe.Draw(t, "finished"), Deleted: maybe.Draw(t, "deleted"),
		Pinned: rapid.Bool().Draw(t, "pinned"), Message: text.Draw(t, "message"), Tags: drawList(t, "tags", text),
		Actor:          record.Actor{UID: rapid.Uint32().Draw(t, "uid"), Name: text.Draw(t, "actor")},
		PackageChanges: drawList(t, "packages", pkg), Boots: drawList(t, "boots", boot),
		Warnings: drawFilled(t, "warnings", text),
	}
}

func drawList[T any](t *rapid.T, label string, of *rapid.Generator[T]) []T {
	if rapid.Bool().Draw(t, label+" nil") {
		return nil
	}
	return rapid.SliceOfN(of, 0, 4).Draw(t, label)
}

// drawFilled is for lists that are left out when empty.
func drawFilled[T any](t *rapid.T, label string, of *rapid.Generator[T]) []T {
	if l := drawList(t, label, of); len(l) > 0 {
		return l
	}
	return nil
}
