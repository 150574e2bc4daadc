package etcmerge

import (
	"bytes"
	"maps"
	"slices"
)

// Hard links are merged like anything else: whether two names are one inode is
// a fact about the two, and what a side changed about it counts. Names that are
// to be one inode must agree in all that an inode has.

// linked is an entry that is one of several names of an inode on some side.
type linked struct {
	entry *entry
	path  string
	group *linked // what it is joined with, itself if nothing
}

func (l *linked) root() *linked {
	for l.group != l {
		l = l.group
	}
	return l
}

// resolveLinks settles which results share an inode. It runs last: what is in
// the files and about them is known by then.
func (p *planner) resolveLinks(top *entry) {
	var all []*linked
	collectLinked(top, "", &all)
	for _, s := range []side{ours, theirs} {
		inodes := map[uint64][]*linked{}
		for _, x := range all {
			n := x.entry.sides[s]
			if !n.isFile() {
				continue
			}
			for _, y := range inodes[n.ino] {
				if x.root() != y.root() && wantLinked(x.entry, y.entry) && sameResult(x.entry, y.entry) {
					x.root().group = y.root()
				}
			}
			inodes[n.ino] = append(inodes[n.ino], x)
		}
	}
	groups := map[*linked][]*linked{}
	for _, l := range all {
		groups[l.root()] = append(groups[l.root()], l)
	}
	taken := map[uint64]bool{} // inodes of ours that a group has
	for _, l := range all {
		if group, ok := groups[l]; ok {
			p.join(group, taken)
		}
	}
}

// collectLinked finds the files with several names, in the order of paths.
func collectLinked(e *entry, path string, all *[]*linked) {
	for _, s := range []side{ours, theirs} {
		if n := e.sides[s]; n.isFile() && n.links > 1 {
			if _, exists := e.outcome(); exists {
				l := &linked{entry: e, path: path}
				l.group = l
				*all = append(*all, l)
			}
			break
		}
	}
	for _, c := range e.children {
		collectLinked(c, join(path, c.name), all)
	}
}

func isLinked(x, y *entry, s side) bool {
	a, b := x.sides[s], y.sides[s]
	return a.isFile() && b.isFile() && sameObject(a, b)
}

// wantLinked merges the fact. Of two values one side's change is the result.
func wantLinked(x, y *entry) bool {
	before, here, there := isLinked(x, y, ancestor), isLinked(x, y, ours), isLinked(x, y, theirs)
	if here == before {
		return there
	}
	return here
}

// outcome is what an entry will be: its attributes, and false if it will not be a file.
func (e *entry) outcome() (attrs, bool) {
	r := e.result
	if r.absent {
		return attrs{}, false
	}
	n := e.sides[ours]
	if r.change && r.from == theirs {
		n = e.sides[theirs]
	}
	if !n.isFile() {
		return attrs{}, false
	}
	if r.change {
		return r.attrs, true
	}
	return n.attrs, true
}

// sameResult reports whether two entries, which are linked on a side, will be the same in all.
func sameResult(x, y *entry) bool {
	a, _ := x.outcome()
	b, _ := y.outcome()
	if a.mode != b.mode || a.uid != b.uid || a.gid != b.gid || a.flags != b.flags || !maps.Equal(a.xattrs, b.xattrs) {
		return false
	}
	if x.result.made || y.result.made {
		return x.result.made && y.result.made && bytes.Equal(x.result.text, y.result.text)
	}
	from := func(e *entry) side {
		if e.result.change {
			return e.result.from
		}
		return ours
	}
	// Linked on a side is equal there; else both must be what that side has.
	for _, s := range []side{ours, theirs} {
		if isLinked(x, y, s) && (from(x) == s || !x.content[ot]) && (from(y) == s || !y.content[ot]) {
			return true
		}
	}
	return false
}

// join makes the members of a group one inode, and one that no other group has.
func (p *planner) join(group []*linked, taken map[uint64]bool) {
	// Best is an inode that is there already and stays.
	head := slices.IndexFunc(group, func(l *linked) bool {
		return l.entry.staysInPlace() && !taken[l.entry.sides[ours].ino]
	})
	if head < 0 {
		head = 0
		if group[0].entry.staysInPlace() {
			group[0].entry.renew()
			p.linkRow(group[0])
		}
	}
	first := group[head]
	if first.entry.staysInPlace() {
		taken[first.entry.sides[ours].ino] = true
	}
	for i, l := range group {
		e := l.entry
		if i == head || e.staysInPlace() && first.entry.staysInPlace() && sameObject(e.sides[ours], first.entry.sides[ours]) {
			continue
		}
		p.linkRow(l)
		e.renew()
		e.result.link = first
	}
}

// linkRow says that a path is another inode now, unless a row says that the running side has a part in it.
func (p *planner) linkRow(l *linked) {
	if slices.ContainsFunc(p.rows, func(d Decision) bool { return d.Path == l.path }) {
		return
	}
	p.row(Decision{Path: l.path, Rule: p.rules.of(l.path).name(), Decision: Theirs, What: []What{Links}})
}

// staysInPlace: the file's inode is the one that ours has there.
func (e *entry) staysInPlace() bool { return e.sides[ours].isFile() && e.inPlace() }

// renew makes the entry a new inode with what it would have had.
func (e *entry) renew() {
	if !e.result.change {
		e.result = result{change: true, from: ours, attrs: e.sides[ours].attrs}
	}
	e.result.fresh = true
}
