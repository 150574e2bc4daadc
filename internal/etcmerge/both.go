package etcmerge

import "bytes"

// maxText is up to where a text is merged by lines (bytes).
const maxText = 1 << 20

// byRule decides where a rule says what the result is, whoever changed it, and
// reports whether it did.
func (p *planner) byRule(e *entry, path string, r rule) bool {
	o, t := e.sides[ours], e.sides[theirs]
	if o.isDir() || t.isDir() {
		return false
	}
	switch {
	case r.Action == Live:
		p.asRunning(e, path, r)
	case r.Action == Never, r.Action == Derived && o != nil:
		if e.changed[at] && e.changed[ot] {
			d := Decision{Path: path, Rule: r.name(), Decision: Ours, What: e.facets[at].words()}
			switch {
			case e.sides[ancestor] == nil:
				d.What = []What{Added}
			case t == nil:
				d.What = []What{Deleted}
			}
			p.row(d)
		}
	default:
		return false
	}
	return true
}

// asRunning makes the running side's the result whatever the snapshot did.
func (p *planner) asRunning(e *entry, path string, r rule) {
	o, t := e.sides[ours], e.sides[theirs]
	if !e.changed[ot] {
		return
	}
	d := Decision{Path: path, Rule: r.name(), Decision: Theirs, What: e.facets[ot].words()}
	switch {
	case t == nil:
		d.What = []What{Deleted}
		e.result = result{change: true, absent: true}
	case o == nil:
		d.What = []What{Added}
		p.adopt(e, path)
	default:
		p.adopt(e, path)
	}
	p.row(d)
}

// both merges two objects of one kind, none a directory, that both sides changed.
func (p *planner) both(e, in *entry, path string, r rule) error {
	m := mergeAttrs(e)
	e.result = result{change: true, from: ours, attrs: m.attrs}
	changedHere, changedThere := facets(fContent), facets(fContent)
	if a := e.sides[ancestor]; a.is(e.sides[ours].kind) {
		changedHere, changedThere = e.facets[ao]&fContent, e.facets[at]&fContent
	}
	switch {
	case e.facets[ot]&fContent == 0 || changedThere == 0:
		m.keeps |= changedHere
	case changedHere == 0:
		m.takes |= fContent
		e.result.from = theirs
	default:
		ok, err := p.mergeText(e, path, r)
		if err != nil {
			return err
		}
		if ok {
			m.keeps |= fContent
			if e.result.made || e.result.from == theirs { // else ours had it all
				m.takes |= fContent
			}
			break
		}
		e.result.from = theirs
		if r.Action == Alternatives && !p.leads(e.sides[theirs].target) {
			e.result.from = ours
			p.row(Decision{Path: path, Rule: r.name(), Decision: Ours, What: []What{Content}, Detail: "the snapshot has no " + e.sides[theirs].target})
			break
		}
		p.lost(e, in, path, r, Content)
	}
	p.settled(e, path, r, m)
	return nil
}

// mergeText merges two texts by lines, if they are some and can be.
func (p *planner) mergeText(e *entry, path string, r rule) (ok bool, err error) {
	if r.Action != Lines && r.Action != Set || !e.sides[ours].isFile() {
		return false, nil
	}
	var texts [3][]byte
	for i, n := range e.sides {
		if !n.isFile() {
			continue
		}
		if n.size > maxText {
			return false, nil
		}
		if texts[i], err = p.views[i].readFile(path, n); err != nil {
			return false, err
		}
		if bytes.IndexByte(texts[i], 0) >= 0 {
			return false, nil
		}
	}
	var text []byte
	switch {
	case r.Action == Set:
		text = mergeSets(texts[ancestor], texts[ours], texts[theirs])
	case !e.sides[ancestor].isFile():
		return false, nil
	default:
		if text, ok = mergeLines(texts[ancestor], texts[ours], texts[theirs]); !ok {
			return false, nil
		}
	}
	e.result.use(text, texts[ours], texts[theirs])
	return true, nil
}

// use makes text the content, which may be what a side already has.
func (r *result) use(text, ofOurs, ofTheirs []byte) {
	switch {
	case bytes.Equal(text, ofOurs):
		r.from = ours
	case bytes.Equal(text, ofTheirs):
		r.from = theirs
	default:
		r.made, r.text = true, text
	}
}

// settled makes the rows for an object that both sides have.
func (p *planner) settled(e *entry, path string, r rule, m merge) {
	if m.takes != 0 {
		d := Decision{Path: path, Rule: r.name(), Decision: Theirs, What: m.takes.words()}
		if m.keeps != 0 {
			d.Decision = Merged
		}
		p.row(d)
	}
	if m.conflict != 0 {
		d := Decision{Path: path, Rule: r.name(), Decision: Conflict, What: m.conflict.words(), Detail: describe(m.conflict, e.sides[ours], e.sides[theirs])}
		if r.quiet() {
			d.Decision, d.Detail = Theirs, ""
		}
		p.row(d)
	}
}
