package etcmerge

// verb is what is done to one path of the target.
type verb int

const (
	create verb = iota
	replace
	discard
	adjust // only its attributes
)

// action is one change of the target. Together they are in an order in which
// they can be done: a directory before what is in it.
type action struct {
	verb  verb
	path  string
	entry *entry
	// aside is the path that what was there gets, "" where it is dropped.
	aside string
}

// actionsFor lists what must be done for the results of all entries.
func actionsFor(top *entry) []action {
	var actions []action
	appendActions(top, "", &actions)
	return actions
}

func appendActions(e *entry, path string, actions *[]action) {
	o, r := e.sides[ours], e.result
	do := func(v verb) {
		a := action{verb: v, path: path, entry: e}
		if r.aside != "" {
			a.aside = join(parent(path), r.aside)
		}
		*actions = append(*actions, a)
	}
	switch {
	case o == nil && (!r.change || r.absent):
	case o == nil:
		do(create)
	case r.absent:
		do(discard)
	case !e.inPlace():
		do(replace)
	default:
		want, disk := e.wanted(), o.onDisk()
		if attrFacets(&want, &disk) != 0 {
			do(adjust)
		}
		for _, c := range e.children {
			appendActions(c, join(path, c.name), actions)
		}
	}
}

// inPlace reports whether what ours has under the name can stay, perhaps with other attributes.
func (e *entry) inPlace() bool {
	r := e.result
	switch {
	case !r.change:
		return true
	case r.made, r.fresh, r.link != nil, r.aside != "":
		return false
	case r.from == ours:
		return true
	}
	o, t := e.sides[ours], e.sides[theirs]
	return o.kind == t.kind && !e.contentDiffers(ot, o, t)
}

// wanted are the attributes of the result.
func (e *entry) wanted() attrs {
	if e.result.change {
		return e.result.attrs
	}
	return e.sides[ours].attrs
}

// source is the node whose object the result is.
func (e *entry) source() *node {
	if e.result.change && e.result.from == theirs {
		return e.sides[theirs]
	}
	return e.sides[ours]
}

// Change is one difference between the running tree and the result.
type Change struct {
	Path   string `json:"path"`
	Change string `json:"change"` // added, removed, modified or type
	What   []What `json:"what,omitempty"`
}

// changes lists how the result differs from the running side.
func changes(e *entry, path string) []Change {
	var found []Change
	t, n := e.sides[theirs], e.source()
	if e.result.absent {
		n = nil
	}
	if path == "" {
		path = "."
	}
	switch {
	case t == nil && n == nil, e.skip != "":
	case t == nil:
		found = append(found, Change{Path: path, Change: "added"})
	case n == nil:
		found = append(found, Change{Path: path, Change: "removed"})
	case t.kind != n.kind:
		found = append(found, Change{Path: path, Change: "type"})
	default:
		want := e.wanted()
		f := attrFacets(&want, &t.attrs)
		if e.result.made || n != t && e.contentDiffers(ot, n, t) {
			f |= fContent
		}
		if f != 0 {
			found = append(found, Change{Path: path, Change: "modified", What: f.words()})
		}
	}
	if e.result.aside != "" {
		found = append(found, Change{Path: join(parent(path), e.result.aside), Change: "added"})
	}
	if path == "." {
		path = ""
	}
	for _, c := range e.children {
		// What only the snapshot had beneath a directory that is none any more is gone with it.
		if n.isDir() || t.isDir() {
			found = append(found, changes(c, join(path, c.name))...)
		}
	}
	return found
}
