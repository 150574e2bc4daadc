package etcmerge

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var testDefs = idRanges{sysMin: 101, sysMax: 999, min: 1000, max: 60000}

// database is a text of every account file.
type database = map[string][]byte

var (
	drawnAccounts = rapid.SampledFrom([]string{"root", "a", "b", "c", "d", "e"})
	drawnIDs      = rapid.SampledFrom([]int{0, 5, 997, 998, 999, 1000, 1001})
)

func drawDatabase(t *rapid.T) database {
	db := database{}
	for _, f := range formats {
		var lines []string
		for _, name := range rapid.SliceOfNDistinct(drawnAccounts, 0, 4, rapid.ID).Draw(t, f.name) {
			lines = append(lines, drawAccount(t, f, name))
		}
		db[f.name] = []byte(strings.Join(lines, ""))
	}
	return db
}

func drawAccount(t *rapid.T, f format, name string) string {
	id := func() int { return drawnIDs.Draw(t, "id") }
	switch f.name {
	case "passwd":
		return fmt.Sprintf("%s:x:%d:%d::/:%s\n", name, id(), id(), rapid.SampledFrom([]string{"/s", "/t"}).Draw(t, "shell"))
	case "group":
		return fmt.Sprintf("%s:x:%d:%s\n", name, id(), drawMembers(t))
	case "shadow":
		return fmt.Sprintf("%s:%s:%d::::::\n", name, rapid.SampledFrom([]string{"!", "x", "y"}).Draw(t, "password"), id())
	case "gshadow":
		return fmt.Sprintf("%s:!:%s:%s\n", name, drawMembers(t), drawMembers(t))
	}
	return fmt.Sprintf("%s:%d:65536\n", name, 100000+65536*rapid.IntRange(0, 3).Draw(t, "range"))
}

func drawMembers(t *rapid.T) string {
	return strings.Join(rapid.SliceOfNDistinct(drawnAccounts, 0, 3, rapid.ID).Draw(t, "members"), ",")
}

// edit changes some entries.
func editDatabase(t *rapid.T, db database) database {
	edited := database{}
	for _, f := range formats {
		lines := strings.SplitAfter(string(db[f.name]), "\n")
		lines = lines[:len(lines)-1]
		for range rapid.IntRange(0, 2).Draw(t, "edits of "+f.name) {
			name := drawnAccounts.Draw(t, "name")
			at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
			switch {
			case at < 0:
				lines = append(lines, drawAccount(t, f, name))
			case rapid.Bool().Draw(t, "remove"):
				lines = slices.Delete(lines, at, at+1)
			default:
				lines[at] = drawAccount(t, f, name)
			}
		}
		edited[f.name] = []byte(strings.Join(lines, ""))
	}
	return edited
}

func TestAccountsOfBothSides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawDatabase(t)
		checkAccounts(t, a, editDatabase(t, a), editDatabase(t, a))
	})
}

// checkAccounts holds a merge to the laws of ids and names.
func checkAccounts(t failer, a, o, th database) {
	t.Helper()
	out := mergeAccountTexts([3]map[string][]byte{a, o, th}, testDefs)
	merged := database{}
	for _, f := range formats {
		merged[f.name] = o[f.name]
		if text, ok := out.texts[f.name]; ok {
			merged[f.name] = text
		}
	}
	again := mergeAccountTexts([3]map[string][]byte{a, merged, th}, testDefs)
	for name, text := range again.texts {
		if !bytes.Equal(text, merged[name]) {
			t.Fatalf("merging again changes %s from\n%sto\n%s", name, merged[name], text)
		}
	}
	for _, f := range formats {
		parsed := func(db database) *accountFile { return parseAccounts(db[f.name], f) }
		was, here, there, now := parsed(a), parsed(o), parsed(th), parsed(merged)
		conflict := len(out.conflicts[f.name]) > 0
		for _, l := range there.lines { // the running side's are all there, but what the snapshot removed and nobody changed
			if l.fields != nil && now.named(l.name) == nil && (here.named(l.name) != nil || was.named(l.name) == nil) {
				t.Fatalf("%s of the running side is not in %s:\n%s", l.name, f.name, merged[f.name])
			}
		}
		for _, l := range here.lines {
			if l.fields != nil && now.named(l.name) == nil && was.named(l.name) == nil && !conflict {
				t.Fatalf("%s, which the snapshot added, is not in %s:\n%s", l.name, f.name, merged[f.name])
			}
		}
		checkIDs(t, f, was, here, there, now)
	}
}

// checkIDs: an id stands for another name than before only if a side says so itself.
func checkIDs(t failer, f format, was, here, there, now *accountFile) {
	t.Helper()
	field := f.uid
	if field < 0 {
		field = f.gid
	}
	if field < 0 {
		return
	}
	together := func(file *accountFile, x, y string) bool {
		a, b := file.named(x), file.named(y)
		return a != nil && b != nil && a.id(field) == b.id(field)
	}
	for i, x := range now.lines {
		for _, y := range now.lines[:i] {
			if x.fields == nil || y.fields == nil || x.name == y.name || x.id(field) != y.id(field) {
				continue
			}
			if !together(here, x.name, y.name) && !together(there, x.name, y.name) && !together(was, x.name, y.name) {
				t.Fatalf("%s and %s share %d in %s, and did on no side", x.name, y.name, x.id(field), f.name)
			}
		}
	}
	for _, l := range there.lines {
		if l.fields == nil {
			continue
		}
		merged, before := now.named(l.name), was.named(l.name)
		if merged != nil && merged.id(field) != l.id(field) && (before == nil || before.id(field) != l.id(field)) {
			t.Fatalf("%s of the running side has %d and not its own %d in %s", l.name, merged.id(field), l.id(field), f.name)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add("root:x:0:0::/:/s\n", "root:x:0:0::/:/s\na:x:998:1::/:/s\n", "root:x:0:0::/:/s\nb:x:998:1::/:/s\n", "users:x:100:\n", "users:x:100:a\n", "users:x:100:b\n")
	f.Add("+::::::\n", "a:x:1:1::/:\n+::::::\n", "# c\n+::::::\n", "", "g:x:1:\n", "h:x:1:\n")
	f.Add("a:x:1:1::/:\na:x:2:1::/:\n", "a:x:1:1::/:\n", "a:x:2:1::/:\n", "", "", "")
	f.Fuzz(func(t *testing.T, a, o, th, ga, go_, gt string) {
		db := func(passwd, group string) database {
			return database{"passwd": []byte(passwd), "group": []byte(group), "subuid": []byte(group), "shadow": []byte{}, "gshadow": []byte{}, "subgid": []byte{}}
		}
		texts := [3]map[string][]byte{db(a, ga), db(o, go_), db(th, gt)}
		out := mergeAccountTexts(texts, testDefs)
		merged := db(o, go_)
		for name, text := range out.texts {
			merged[name] = text
		}
		again := mergeAccountTexts([3]map[string][]byte{texts[0], merged, texts[2]}, testDefs)
		for name, text := range again.texts {
			if !bytes.Equal(text, merged[name]) {
				t.Fatalf("merging %q, %q, %q again changes %s from %q to %q", texts[0][name], texts[1][name], texts[2][name], name, merged[name], text)
			}
		}
		for name, text := range out.texts {
			if len(out.conflicts[name]) == 0 {
				checkNoLineLost(t, name, texts, text)
			}
		}
	})
}

// checkNoLineLost: every name that the running side has and the snapshot did
// not remove, and every line that is no entry and that a side added, is there.
func checkNoLineLost(t *testing.T, name string, texts [3]map[string][]byte, merged []byte) {
	t.Helper()
	f := formats[slices.IndexFunc(formats, func(f format) bool { return f.name == name })]
	was, now := parseAccounts(texts[ancestor][name], f), parseAccounts(merged, f)
	for _, side := range []side{ours, theirs} {
		for _, l := range parseAccounts(texts[side][name], f).lines {
			if was.get(l.key) != nil {
				continue
			}
			if l.fields != nil && now.named(l.name) == nil || l.fields == nil && now.get(l.key) == nil {
				t.Fatalf("%q is lost from %s: %q, %q, %q → %q", l.raw, name, texts[ancestor][name], texts[ours][name], texts[theirs][name], merged)
			}
		}
	}
}
