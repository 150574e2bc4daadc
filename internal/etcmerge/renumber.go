package etcmerge

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// file is the account file that an id stands in.
func (r Renumber) file() string {
	switch r.Kind {
	case "uid":
		return "passwd"
	case "gid":
		return "group"
	}
	return r.Kind
}

// idPool gives out ids that nobody has, neither as a user nor as a group, on
// any side: an id that was removed on one side may still own something.
type idPool struct {
	used    map[uint32]bool
	defs    idRanges
	renamed map[uint32]uint32 // by the old id: a user and its group stay equal
}

// idRanges are as in login.defs(5).
type idRanges struct{ sysMin, sysMax, min, max uint32 }

func newIDPool(files [3]map[string]*accountFile, defs idRanges) idPool {
	pool := idPool{used: map[uint32]bool{}, defs: defs, renamed: map[uint32]uint32{}}
	for _, side := range files {
		for _, f := range formats {
			for _, a := range side[f.name].lines {
				for _, field := range []int{f.uid, f.gid} {
					if field >= 0 && a.fields != nil {
						pool.used[a.id(field)] = true
					}
				}
			}
		}
	}
	return pool
}

// fresh returns a new id for an old one, of the same range.
func (p *idPool) fresh(old uint32) (uint32, bool) {
	if id, ok := p.renamed[old]; ok {
		return id, true
	}
	take := func(id uint32) (uint32, bool) {
		p.used[id] = true
		p.renamed[old] = id
		return id, true
	}
	if old < p.defs.min {
		for id := p.defs.sysMax; id >= p.defs.sysMin && id > 0; id-- {
			if !p.used[id] {
				return take(id)
			}
		}
		return 0, false
	}
	for id := p.defs.min; id <= p.defs.max; id++ {
		if !p.used[id] {
			return take(id)
		}
	}
	return 0, false
}

// loginDefs reads which ids are whose from the snapshot.
func (p *planner) loginDefs(top *entry) idRanges {
	defs := idRanges{sysMin: 101, sysMax: 999, min: 1000, max: 60000}
	e := top.child("login.defs")
	if e == nil || !e.sides[ours].isFile() || e.sides[ours].size > maxText {
		return defs
	}
	text, err := p.views[ours].readFile("login.defs", e.sides[ours])
	if err != nil {
		return defs // what it says is a wish, and the scan has complained of what cannot be read
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		n, err := strconv.ParseUint(words[1], 0, 31)
		if err != nil {
			continue
		}
		switch words[0] {
		case "SYS_UID_MIN":
			defs.sysMin = uint32(n)
		case "SYS_UID_MAX":
			defs.sysMax = uint32(n)
		case "UID_MIN":
			defs.min = uint32(n)
		case "UID_MAX":
			defs.max = uint32(n)
		}
	}
	return defs
}

// renumber changes the ids in the snapshot's files that the running side has
// given to other names, or the same names otherwise.
func (m *accountMerge) renumber() {
	for _, f := range formats {
		switch {
		case f.ranged:
			m.renumberRanges(f)
		case f.uid >= 0:
			m.renumberField(f, f.uid, "uid")
		case f.gid >= 0:
			m.renumberField(f, f.gid, "gid")
		}
	}
	m.followGroups()
}

func (m *accountMerge) renumberField(f format, field int, kind string) {
	a, o, t := m.files[ancestor][f.name], m.files[ours][f.name], m.files[theirs][f.name]
	keep, before := m.keptByOthers(f), o.clone()
	for i := range o.lines {
		line := &o.lines[i]
		if line.fields == nil {
			continue
		}
		old := line.id(field)
		was, now := a.get(line.key), t.get(line.key)
		if was != nil && was.id(field) == old {
			continue // not the snapshot's doing
		}
		id := old
		switch {
		case now != nil && (was == nil || now.id(field) != was.id(field)):
			id = now.id(field) // the running side gave this name an id too
		case m.collides(f, field, line, before, keep):
			fresh, ok := m.ids.fresh(old)
			if !ok {
				m.conflict(f, "%s has the %s %d of another name, and no other is free", line.name, kind, old)
				continue
			}
			id = fresh
		}
		if id != old {
			*line = line.with(field, id)
			m.out.renumbered = append(m.out.renumbered, Renumber{kind, line.name, old, id, 1})
		}
	}
}

// collides reports whether another name, which will be in the result, has the
// id on the running side. Two names for one id in the snapshot, which o is as it
// was, are meant so.
func (m *accountMerge) collides(f format, field int, line *account, o *accountFile, keep map[string]bool) bool {
	a, t := m.files[ancestor][f.name], m.files[theirs][f.name]
	id := line.id(field)
	for i := range t.lines {
		other := &t.lines[i]
		if other.fields == nil || other.name == line.name || other.id(field) != id {
			continue
		}
		here := o.get(other.key)
		removed := here == nil && equal(a.get(other.key), other) && !keep[other.name]
		if !removed && (here == nil || here.id(field) != id) {
			return true
		}
	}
	return false
}

// followGroups gives the snapshot's users the new ids of their groups.
func (m *accountMerge) followGroups() {
	changed := map[uint32]uint32{}
	for _, r := range m.out.renumbered {
		if r.Kind == "gid" {
			changed[r.Old] = r.New
		}
	}
	users := formats[0]
	for i := range m.files[ours][users.name].lines {
		line := &m.files[ours][users.name].lines[i]
		if line.fields == nil {
			continue
		}
		was := m.files[ancestor][users.name].get(line.key)
		old := line.id(users.gid)
		if id, ok := changed[old]; ok && (was == nil || was.id(users.gid) != old) {
			*line = line.with(users.gid, id)
		}
	}
}

// renumberRanges moves the snapshot's ranges of subordinate ids out of the way of the running side's.
func (m *accountMerge) renumberRanges(f format) {
	const start, count = 1, 2
	a, o, t := m.files[ancestor][f.name], m.files[ours][f.name], m.files[theirs][f.name]
	var end uint64 = 100000 // SUB_UID_MIN of login.defs(5)
	for _, side := range m.files {
		for i := range side[f.name].lines {
			if l := &side[f.name].lines[i]; l.fields != nil {
				end = max(end, uint64(l.id(start))+uint64(l.id(count)))
			}
		}
	}
	before := o.clone()
	for i := range o.lines {
		line := o.lines[i]
		if line.fields == nil || a.get(line.key) != nil || t.get(line.key) != nil {
			continue
		}
		old, length := line.id(start), line.id(count)
		if now := t.named(line.name); now != nil && a.named(line.name) == nil {
			// Both sides gave this name its first range.
			m.out.renumbered = append(m.out.renumbered, Renumber{f.name, line.name, old, now.id(start), length})
			o.put(i, *now)
			continue
		}
		if !m.overlaps(f, line, before) {
			continue
		}
		if end+uint64(length) > 1<<32-2 {
			m.conflict(f, "the range of %s is that of another name, and no other is free", line.name)
			continue
		}
		moved := line.with(start, uint32(end))
		moved.key = f.key(moved.fields)
		o.put(i, moved)
		m.out.renumbered = append(m.out.renumbered, Renumber{f.name, line.name, old, uint32(end), length})
		end += uint64(length)
	}
}

// overlaps reports whether the running side gave some of a range to another name.
func (m *accountMerge) overlaps(f format, line account, o *accountFile) bool {
	const start, count = 1, 2
	from, to := uint64(line.id(start)), uint64(line.id(start))+uint64(line.id(count))
	t := m.files[theirs][f.name]
	return slices.ContainsFunc(t.lines, func(l account) bool {
		return l.fields != nil && l.name != line.name && o.get(l.key) == nil &&
			from < uint64(l.id(start))+uint64(l.id(count)) && uint64(l.id(start)) < to
	})
}

// named is the first line of a name, nil for none.
func (f *accountFile) named(name string) *account {
	at := slices.IndexFunc(f.lines, func(a account) bool { return a.fields != nil && a.name == name })
	if at < 0 {
		return nil
	}
	return &f.lines[at]
}

// ids are new ids by old ones.
type ids struct{ users, groups map[uint32]uint32 }

func idsOf(list []Renumber) ids {
	m := ids{map[uint32]uint32{}, map[uint32]uint32{}}
	for _, r := range list {
		into := m.users
		switch r.Kind {
		case "uid":
		case "gid":
			into = m.groups
		default:
			continue
		}
		if _, ok := into[r.Old]; !ok {
			into[r.Old] = r.New
		}
	}
	return m
}

// renumber gives what the snapshot has a new owner where its owner has a new id.
func (e *entry) renumber(list []Renumber) {
	if len(list) > 0 {
		e.reown(idsOf(list))
	}
}

func (e *entry) reown(m ids) {
	for _, c := range e.children {
		c.reown(m)
	}
	o := e.sides[ours]
	if o == nil {
		return
	}
	was := attrs{uid: unixNobody, gid: unixNobody}
	if a := e.sides[ancestor]; a != nil {
		was = a.attrs
	}
	owned := m.apply(o.attrs, &was)
	if attrFacets(&owned, &o.attrs) != 0 {
		disk := o.attrs
		o.disk, o.attrs = &disk, owned
	}
}

// unixNobody is (uid_t)-1, which is nobody's.
const unixNobody = 1<<32 - 1

// apply maps the owners in attributes, but not those of before: an id that
// stood there already did not stand for the new name.
func (m ids) apply(a attrs, was *attrs) attrs {
	if id, ok := m.users[a.uid]; ok && a.uid != was.uid {
		a.uid = id
	}
	if id, ok := m.groups[a.gid]; ok && a.gid != was.gid {
		a.gid = id
	}
	for _, name := range []string{aclAccess, aclDefault} {
		list, ok := a.xattrs[name]
		if !ok || list == was.xattrs[name] {
			continue
		}
		a.xattrs = maps.Clone(a.xattrs)
		a.xattrs[name] = remapACL(list, m.inACL)
	}
	return a
}

func (m ids) inACL(tag uint16, id uint32) uint32 {
	by := m.users
	switch tag {
	case aclUser:
	case aclGroup:
		by = m.groups
	default:
		return id
	}
	if to, ok := by[id]; ok {
		return to
	}
	return id
}
