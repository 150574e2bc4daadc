package etcmerge

import (
	"slices"

	"golang.org/x/sys/unix"
)

// result is what the merge makes of an entry. The zero value leaves ours as it is.
type result struct {
	change bool
	absent bool
	from   side // whose object it is: ours or theirs
	made   bool // text is its content
	text   []byte
	attrs  attrs
	aside  string  // the name beside it that ours gets
	fresh  bool    // an inode of its own, because a link is no more
	link   *linked // one inode with that one
}

// planner decides. It reads only the texts that both sides changed.
type planner struct {
	rules    rules
	opts     Options
	views    [3]*view
	accounts *accounts
	rows     []Decision
}

func (p *planner) row(d Decision) {
	if d.Path == "" {
		d.Path = "."
	}
	p.rows = append(p.rows, d)
}

// resolve decides about an entry and what is beneath. in is its directory.
func (p *planner) resolve(e, in *entry, path string) error {
	o, t := e.sides[ours], e.sides[theirs]
	r := p.rules.of(path)
	switch {
	case e.skip != "":
		if o == nil || o.kind != t.kind {
			p.skipped(e, path, r)
		}
		return nil
	case o.isDir() && t.isDir():
		return p.directories(e, path, r)
	case r.Action == Accounts && p.accounts.has(path):
		return p.byAccounts(e, in, path, r)
	case p.byRule(e, path, r):
		return nil
	case !e.changed[ot], !e.changed[at]:
		return nil
	case !e.changed[ao]:
		p.takeTheirs(e, path, r)
		return nil
	case t == nil:
		p.deletedThere(e, in, path, r)
		return nil
	case o == nil:
		p.deletedHere(e, path, r)
		return nil
	case o.kind != t.kind:
		p.lost(e, in, path, r, Type)
		p.adopt(e, path)
		return nil
	}
	return p.both(e, in, path, r)
}

func (p *planner) skipped(e *entry, path string, r rule) {
	p.row(Decision{Path: path, Rule: r.name(), Decision: Skipped, What: []What{Type}, Detail: e.skip})
}

// directories: both sides have one.
func (p *planner) directories(e *entry, path string, r rule) error {
	if !e.changed[ot] {
		return nil
	}
	merged := mergeAttrs(e)
	e.result = result{change: true, from: ours, attrs: merged.attrs}
	p.settled(e, path, r, merged)
	for _, c := range e.children {
		if err := p.resolve(c, e, join(path, c.name)); err != nil {
			return err
		}
	}
	return nil
}

// takeTheirs: ours did nothing, so the running side's change is the result.
func (p *planner) takeTheirs(e *entry, path string, r rule) {
	if e.sides[theirs] == nil {
		p.remove(e, path)
		return
	}
	if t := e.sides[theirs]; r.Action == Alternatives && t.is(unix.S_IFLNK) && !p.leads(t.target) {
		p.row(Decision{Path: path, Rule: r.name(), Decision: Ours, What: e.facets[at].words(), Detail: "the snapshot has no " + t.target})
		return
	}
	d := Decision{Path: path, Rule: r.name(), Decision: Theirs, What: e.facets[at].words()}
	if e.sides[ancestor] == nil {
		d.What = []What{Added}
	}
	p.row(d)
	p.adopt(e, path)
}

// adopt makes the running side's the result: the object, and all beneath it
// that can be taken over. It makes no row for e itself.
func (p *planner) adopt(e *entry, path string) {
	e.result.change, e.result.from, e.result.attrs = true, theirs, e.sides[theirs].attrs
	if !e.sides[theirs].isDir() {
		return
	}
	for _, c := range e.children {
		p.adoptChild(c, join(path, c.name), Theirs, "")
	}
}

// adoptChild: an entry beneath a directory of the running side that stands in
// the place of something else, or of nothing.
func (p *planner) adoptChild(c *entry, path string, decision Outcome, detail string) {
	r := p.rules.of(path)
	c.result = result{change: true, absent: true}
	switch {
	case c.skip != "":
		p.skipped(c, path, r)
	case c.sides[theirs] == nil, r.Action == Never:
	default:
		p.row(Decision{Path: path, Rule: r.name(), Decision: decision, What: []What{Added}, Detail: detail})
		c.result.absent = false
		p.adopt(c, path)
	}
}

// remove takes the running side's removal over, with a row for all that goes.
func (p *planner) remove(e *entry, path string) {
	e.result = result{change: true, absent: true}
	if e.sides[ours] == nil {
		return
	}
	p.row(Decision{Path: path, Rule: p.rules.of(path).name(), Decision: Theirs, What: []What{Deleted}})
	for _, c := range e.children {
		p.remove(c, join(path, c.name))
	}
}

// deletedThere: the running side removed what the snapshot changed. The removal
// stands, and what the snapshot made of it is kept.
func (p *planner) deletedThere(e, in *entry, path string, r rule) {
	o, a := e.sides[ours], e.sides[ancestor]
	switch {
	case o.isDir() && a.isDir():
		p.directoryDeletedThere(e, path, r)
		return
	case e.facets[ao]&(fType|fContent) == 0: // only its attributes had changed
		p.remove(e, path)
		return
	}
	p.lost(e, in, path, r, Deleted)
	e.result.change, e.result.absent = true, true
}

// directoryDeletedThere removes what the snapshot left alone in a directory
// that the running side removed; what is new there stays, in its place.
func (p *planner) directoryDeletedThere(e *entry, path string, r rule) {
	stays := false
	for _, c := range e.children {
		name := join(path, c.name)
		cr := p.rules.of(name)
		switch {
		case c.sides[ours] == nil:
			continue
		case !c.sides[ours].isDir() && p.byRule(c, name, cr):
		case c.sides[ancestor] == nil: // added, and stays
		case !c.changed[ao]:
			p.remove(c, name)
		default:
			p.deletedThere(c, e, name, cr)
		}
		stays = stays || !c.result.absent || c.result.aside != ""
	}
	if !stays {
		e.result = result{change: true, absent: true}
		p.row(Decision{Path: path, Rule: r.name(), Decision: Theirs, What: []What{Deleted}})
		return
	}
	p.row(Decision{
		Path: path, Rule: r.name(), Decision: Ours, What: []What{Deleted},
		Detail: "removed on the running side; the snapshot has something new in it",
	})
}

// deletedHere: the snapshot removed what the running side changed. The change
// survives, with the directories that it needs.
func (p *planner) deletedHere(e *entry, path string, r rule) {
	t, a := e.sides[theirs], e.sides[ancestor]
	d := Decision{
		Path: path, Rule: r.name(), Decision: Conflict, What: []What{Deleted},
		Detail: "removed in the snapshot, changed on the running side",
	}
	switch {
	case r.Action == Alternatives && t.is(unix.S_IFLNK) && !p.leads(t.target):
		d.Decision, d.Detail = Ours, "the snapshot has no "+t.target
		p.row(d)
		return
	case r.quiet():
		d.Decision, d.Detail = Theirs, ""
	}
	if !t.isDir() || !a.isDir() {
		p.row(d)
		p.adopt(e, path)
		return
	}
	survives := e.facets[at] != 0
	if survives {
		p.row(d)
	}
	for _, c := range e.children {
		name := join(path, c.name)
		cr := p.rules.of(name)
		c.result = result{change: true, absent: true}
		switch {
		case c.sides[theirs] == nil, !c.changed[at], cr.Action == Never:
		case c.skip != "":
			p.skipped(c, name, cr)
		case c.sides[ancestor] == nil:
			p.adoptChild(c, name, Conflict, "its directory was removed in the snapshot")
		default:
			c.result = result{}
			p.deletedHere(c, name, cr)
		}
		survives = survives || c.result.change && !c.result.absent
	}
	e.result = result{change: true, from: theirs, attrs: t.attrs, absent: !survives}
}

// lost: ours cannot be where it was. What it holds gets a name beside it.
func (p *planner) lost(e, in *entry, path string, r rule, what ...What) {
	d := Decision{Path: path, Rule: r.name(), Decision: Conflict, What: what}
	switch {
	case r.quiet() && !e.sides[ours].isDir(): // rules are about files
		d.Decision = Theirs
	case e.sides[ours].holds():
		e.result.aside = p.nameAside(e, in, parent(path))
		d.Aside = join(parent(path), e.result.aside)
	}
	p.row(d)
}

// nameAside finds a name that nobody has in the directory.
func (p *planner) nameAside(e, in *entry, dir string) string {
	return asideName(e.name, p.opts.Number, func(name string) bool {
		return p.exists(join(dir, name)) || slices.ContainsFunc(in.children, func(c *entry) bool { return c.result.aside == name })
	})
}

// leads reports whether what a link of the alternatives says is in the snapshot.
func (p *planner) leads(target string) bool {
	return p.opts.InSnapshot == nil || target == "" || target[0] != '/' || p.opts.InSnapshot(target)
}
