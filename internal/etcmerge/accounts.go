package etcmerge

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The files of users and groups are merged together and by entry. Every field
// of an entry is merged by itself, members of groups as sets. Where both sides
// gave one id to different names, or one name different ids, the running side
// keeps its own: what its users own lies in /home and /var, which are no part
// of a snapshot. The snapshot's gets a new id, which no name has had on any
// side, or that of the running side's; Renumber says so, and the snapshot's
// files are given their new owner.

// accounts is what came of merging them.
type accounts struct {
	texts      map[string][]byte // by file, where the merge makes one
	conflicts  map[string][]string
	renumbered []Renumber
}

func (a *accounts) has(path string) bool { return a != nil && a.texts[path] != nil }

// accountMerge is a merge at work.
type accountMerge struct {
	files  [3]map[string]*accountFile
	merged map[string][]account
	out    *accounts
	ids    idPool
}

// mergeAccounts reads the account files and merges them, where both sides
// changed any. It gives what the snapshot has below the target its new owner.
func (p *planner) mergeAccounts(top *entry) error {
	p.accounts = &accounts{}
	var texts [3]map[string][]byte
	for i, v := range p.views {
		texts[i] = map[string][]byte{}
		for _, f := range formats {
			e := top.child(f.name)
			if e == nil || !e.sides[i].isFile() || p.rules.of(f.name).Action != Accounts {
				continue
			}
			text, err := v.readFile(f.name, e.sides[i])
			if err != nil {
				return err
			}
			texts[i][f.name] = text
		}
	}
	if !accountsDiffer(texts[ancestor], texts[ours]) || !accountsDiffer(texts[ancestor], texts[theirs]) {
		return nil
	}
	*p.accounts = mergeAccountTexts(texts, p.loginDefs(top))
	top.renumber(p.accounts.renumbered)
	return nil
}

// mergeAccountTexts merges the texts of account files by entry. Where merging
// what was merged would give something else (as with two entries of one name),
// all are the running side's.
func mergeAccountTexts(texts [3]map[string][]byte, defs idRanges) accounts {
	out := mergeAccountsOnce(texts, defs)
	merged := maps.Clone(texts[ours])
	maps.Copy(merged, out.texts)
	again := mergeAccountsOnce([3]map[string][]byte{texts[ancestor], merged, texts[theirs]}, defs)
	stable := len(again.renumbered) == 0
	for name, text := range again.texts {
		stable = stable && bytes.Equal(text, merged[name])
	}
	if stable {
		return out
	}
	whole := accounts{texts: map[string][]byte{}, conflicts: map[string][]string{}}
	for name := range out.texts {
		whole.texts[name] = texts[theirs][name]
		whole.conflicts[name] = []string{"it cannot be merged by entry"}
	}
	return whole
}

func mergeAccountsOnce(texts [3]map[string][]byte, defs idRanges) accounts {
	m := &accountMerge{merged: map[string][]account{}, out: &accounts{texts: map[string][]byte{}, conflicts: map[string][]string{}}}
	for i := range m.files {
		m.files[i] = map[string]*accountFile{}
		for _, f := range formats {
			m.files[i][f.name] = parseAccounts(texts[i][f.name], f)
		}
	}
	m.ids = newIDPool(m.files, defs)
	m.renumber()
	m.merge()
	for _, f := range formats {
		o, t := texts[ours][f.name], texts[theirs][f.name]
		// A file that one side lacks is merged like any other.
		if o != nil && t != nil && !bytes.Equal(o, t) {
			m.out.texts[f.name] = m.text(f, texts)
		}
	}
	return *m.out
}

func accountsDiffer(x, y map[string][]byte) bool {
	for _, f := range formats {
		if !bytes.Equal(x[f.name], y[f.name]) {
			return true
		}
	}
	return false
}

// text is the merged file: exactly a side's where it says the same.
func (m *accountMerge) text(f format, texts [3]map[string][]byte) []byte {
	text := render(m.merged[f.name])
	for _, side := range []side{ours, theirs} {
		if bytes.Equal(text, render(m.files[side][f.name].lines)) && len(text) > 0 && bytes.Equal(text, ended(texts[side][f.name])) {
			return texts[side][f.name]
		}
	}
	return text
}

func ended(text []byte) []byte {
	if len(text) > 0 && text[len(text)-1] != '\n' {
		return append(slices.Clip(text), '\n')
	}
	return text
}

// merge merges file by file, after ids have been settled.
func (m *accountMerge) merge() {
	for _, f := range formats {
		m.mergeFile(f, m.keptByOthers(f))
	}
}

// keptByOthers are the names that must stay in f although the snapshot removed
// them, because the running side changed them in a file that belongs to it.
func (m *accountMerge) keptByOthers(f format) map[string]bool {
	kept := map[string]bool{}
	for _, g := range formats {
		if g.name == f.name || g.family() != f.family() {
			continue
		}
		for _, t := range m.files[theirs][g.name].lines {
			if a := m.files[ancestor][g.name].get(t.key); t.fields != nil && m.files[ours][g.name].get(t.key) == nil && !equal(a, &t) {
				kept[t.name] = true
			}
		}
	}
	return kept
}

// family is the file that this one completes, or itself.
func (f format) family() string {
	if f.like != "" {
		return f.like
	}
	return f.name
}

// mergeFile merges one file: the running side's lines in their order, and after
// the line that they followed, those that the snapshot added.
func (m *accountMerge) mergeFile(f format, keep map[string]bool) {
	a, o, t := m.files[ancestor][f.name], m.files[ours][f.name], m.files[theirs][f.name]
	var lines []account
	for i := range t.lines {
		line := &t.lines[i]
		if merged, ok := m.mergeLine(f, a.get(line.key), o.get(line.key), line, keep); ok {
			lines = append(lines, merged)
		}
	}
	after := "" // the key of the line before
	for i := range o.lines {
		line := &o.lines[i]
		if t.get(line.key) == nil {
			merged, ok := m.mergeLine(f, a.get(line.key), line, nil, keep)
			if !ok {
				continue
			}
			lines = slices.Insert(lines, placeAfter(lines, after), merged)
		}
		after = line.key
	}
	m.merged[f.name] = lines
}

// placeAfter is where a line goes that followed the one with the key: behind it, and at the end if that is not there.
func placeAfter(lines []account, key string) int {
	if key == "" {
		return 0
	}
	at := slices.IndexFunc(lines, func(l account) bool { return l.key == key })
	if at < 0 {
		return len(lines)
	}
	return at + 1
}

// mergeLine merges one entry, any of which may be nil; ok is false for none.
func (m *accountMerge) mergeLine(f format, a, o, t *account, keep map[string]bool) (account, bool) {
	switch {
	case equal(o, t), equal(a, t):
		if o == nil && t != nil && keep[t.name] {
			return *t, true
		}
		return deref(o)
	case equal(a, o):
		return deref(t)
	case o == nil: // removed in the snapshot, changed here
		m.conflict(f, "%s was removed in the snapshot and changed on the running side", t.name)
		return *t, true
	case t == nil: // removed here, changed in the snapshot
		m.conflict(f, "%s was removed on the running side and changed in the snapshot", o.name)
		return account{}, false
	}
	return m.mergeFields(f, a, o, t), true
}

func deref(a *account) (account, bool) {
	if a == nil {
		return account{}, false
	}
	return *a, true
}

// mergeFields merges an entry that both sides changed.
func (m *accountMerge) mergeFields(f format, a, o, t *account) account {
	merged := *t
	merged.fields = slices.Clone(t.fields)
	for i := range merged.fields {
		before := ""
		if a != nil {
			before = a.fields[i]
		}
		switch {
		case slices.Contains(f.sets, i):
			merged.fields[i] = mergeMembers(before, o.fields[i], t.fields[i])
		case o.fields[i] == t.fields[i]:
		case a != nil && before == t.fields[i]:
			merged.fields[i] = o.fields[i]
		case a != nil && before == o.fields[i], slices.Contains(f.drift, i):
		default:
			m.conflict(f, "%s differs in field %d", t.name, i+1)
		}
	}
	return merged
}

func (m *accountMerge) conflict(f format, format string, args ...any) {
	m.out.conflicts[f.name] = append(m.out.conflicts[f.name], fmt.Sprintf(format, args...))
}

// byAccounts makes the merged text the result.
func (p *planner) byAccounts(e, in *entry, path string, r rule) error {
	merged := mergeAttrs(e)
	e.result = result{change: true, from: ours, attrs: merged.attrs}
	text := p.accounts.texts[path]
	texts := [3][]byte{}
	for _, s := range []side{ours, theirs} {
		var err error
		if texts[s], err = p.views[s].readFile(path, e.sides[s]); err != nil {
			return err
		}
	}
	e.result.use(text, texts[ours], texts[theirs])
	said := p.accounts.conflicts[path]
	switch {
	case e.result.made:
		merged.takes |= fContent
		merged.keeps |= fContent
	case e.result.from == theirs && len(said) == 0:
		merged.takes |= fContent
	}
	if len(said) > 0 {
		p.lost(e, in, path, r, Content)
		p.rows[len(p.rows)-1].Detail = strings.Join(said, "; ")
	}
	for _, n := range p.accounts.renumbered {
		if n.file() == path {
			p.row(Decision{Path: path, Rule: r.name(), Decision: Renumbered, What: []What{Content}, Detail: n.String()})
		}
	}
	p.settled(e, path, r, merged)
	return nil
}
