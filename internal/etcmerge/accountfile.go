package etcmerge

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// format is how one of the account files is laid out: passwd(5), group(5),
// shadow(5), gshadow(5), subuid(5), subgid(5).
type format struct {
	name   string
	fields int
	sets   []int // fields that are lists of names with commas between
	uid    int   // the field with the user's id, -1 for none
	gid    int
	// ranged files have a line a range, and more than one a name.
	ranged bool
	// like is the file whose entries this one completes: an entry that is kept there is kept here.
	like string
	// drift are fields that change by themselves: that is no conflict.
	drift []int
}

// formats are in the order in which they are merged.
var formats = []format{
	{name: "passwd", fields: 7, uid: 2, gid: 3},
	{name: "group", fields: 4, sets: []int{3}, uid: -1, gid: 2},
	{name: "shadow", fields: 9, uid: -1, gid: -1, like: "passwd", drift: []int{2}},
	{name: "gshadow", fields: 4, sets: []int{2, 3}, uid: -1, gid: -1, like: "group"},
	{name: "subuid", fields: 3, uid: -1, gid: -1, ranged: true},
	{name: "subgid", fields: 3, uid: -1, gid: -1, ranged: true},
}

// account is one line of such a file. A line that is none (a comment, one for
// NIS, a damaged one) has no fields and stands for itself.
type account struct {
	key    string
	name   string
	fields []string
	raw    string
}

func (a account) line() string {
	if a.fields == nil {
		return a.raw
	}
	return strings.Join(a.fields, ":")
}

// accountFile is a parsed file.
type accountFile struct {
	lines []account
	byKey map[string]int
}

func parseAccounts(text []byte, f format) *accountFile {
	file := &accountFile{byKey: map[string]int{}}
	if len(text) == 0 {
		return file
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		a := account{raw: line}
		fields := strings.Split(line, ":")
		if f.isEntry(fields) {
			a.name, a.fields, a.key = fields[0], fields, f.key(fields)
		} else {
			a.key = "\x00" + line
		}
		// A second line of the same name is another one.
		for n, key := 1, a.key; ; n++ {
			if _, ok := file.byKey[a.key]; !ok {
				break
			}
			a.key = fmt.Sprintf("%s\x00%d", key, n)
		}
		file.byKey[a.key] = len(file.lines)
		file.lines = append(file.lines, a)
	}
	return file
}

func (f format) isEntry(fields []string) bool {
	if len(fields) != f.fields || fields[0] == "" || strings.ContainsAny(fields[0][:1], "#+-") {
		return false
	}
	ids := []int{f.uid, f.gid}
	if f.ranged {
		ids = []int{1, 2}
	}
	for _, i := range ids {
		if i < 0 {
			continue
		}
		if _, err := strconv.ParseUint(fields[i], 10, 32); err != nil {
			return false
		}
	}
	return true
}

// key is what makes an entry the same one on another side: its name, or all of
// it where a name may have several.
func (f format) key(fields []string) string {
	if f.ranged {
		return strings.Join(fields, ":")
	}
	return fields[0]
}

func (f *accountFile) get(key string) *account {
	if at, ok := f.byKey[key]; ok {
		return &f.lines[at]
	}
	return nil
}

// id is a field that isEntry has seen to be a number.
func (a *account) id(field int) uint32 {
	n, _ := strconv.ParseUint(a.fields[field], 10, 32)
	return uint32(n)
}

// with returns the account with another id in a field.
func (a account) with(field int, id uint32) account {
	a.fields = slices.Clone(a.fields)
	a.fields[field] = strconv.FormatUint(uint64(id), 10)
	return a
}

// clone is the file as it is now.
func (f *accountFile) clone() *accountFile {
	return &accountFile{lines: slices.Clone(f.lines), byKey: maps.Clone(f.byKey)}
}

// put replaces a line, whose key may be another one then.
func (f *accountFile) put(at int, a account) {
	delete(f.byKey, f.lines[at].key)
	f.lines[at] = a
	f.byKey[a.key] = at
}

// equal compares what two accounts say; nil is none.
func equal(x, y *account) bool {
	if x == nil || y == nil {
		return x == y
	}
	return x.line() == y.line()
}

// render writes accounts back, every line with an end.
func render(lines []account) []byte {
	var b strings.Builder
	for _, a := range lines {
		b.WriteString(a.line())
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// members splits a list of names.
func members(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// mergeMembers merges lists as sets: who was removed on a side is out, who was added is in.
func mergeMembers(ancestor, ours, theirs string) string {
	a, o, t := members(ancestor), members(ours), members(theirs)
	var merged []string
	add := func(name string) {
		if name != "" && !slices.Contains(merged, name) {
			merged = append(merged, name)
		}
	}
	for _, name := range t {
		if !slices.Contains(a, name) || slices.Contains(o, name) {
			add(name)
		}
	}
	for _, name := range o {
		if !slices.Contains(a, name) {
			add(name)
		}
	}
	return strings.Join(merged, ",")
}
