package etcmerge

import (
	"fmt"
	"maps"
	"strings"
)

// merge is how one object came out of the two.
type merge struct {
	attrs    attrs
	known    bool   // there was one of that kind before
	takes    facets // from the running side
	keeps    facets // what the snapshot changed, and is in the result
	conflict facets // changed on both sides; the running side's is in the result
}

// mergeAttrs merges the attributes of ours and theirs, which are of one kind.
// What cannot be merged is as it runs.
func mergeAttrs(e *entry) merge {
	o, t := e.sides[ours], e.sides[theirs]
	m := merge{attrs: o.attrs, known: e.sides[ancestor].is(o.kind)}
	a := attrs{}
	if m.known {
		a = e.sides[ancestor].attrs
	}
	// The mask of the access control list is in the mode: the two are one.
	mode := choose(&m, fMode, a.modes(), o.modes(), t.modes())
	m.attrs.mode = mode.mode
	m.attrs.uid = choose(&m, fOwner, a.uid, o.uid, t.uid)
	m.attrs.gid = choose(&m, fOwner, a.gid, o.gid, t.gid)
	m.attrs.flags = choose(&m, fFlags, a.flags, o.flags, t.flags)
	m.attrs.xattrs = nil
	m.attrs.set(aclAccess, mode.acl)
	for _, name := range names(a.xattrs, o.xattrs, t.xattrs) {
		if name != aclAccess {
			m.attrs.set(name, choose(&m, fXattrs, a.value(name), o.value(name), t.value(name)))
		}
	}
	return m
}

// choose picks one value of three and notes whose it is.
func choose[T comparable](m *merge, f facets, a, o, t T) T {
	switch {
	case o == t:
		return o
	case m.known && a == t:
		m.keeps |= f
		return o
	case m.known && a == o:
		m.takes |= f
	default:
		m.conflict |= f
	}
	return t
}

// value is that of an extended attribute, which can be empty and yet there.
type value struct {
	text string
	is   bool
}

func (a *attrs) value(name string) value {
	text, is := a.xattrs[name]
	return value{text, is}
}

// set sets or, with no value, leaves out an extended attribute.
func (a *attrs) set(name string, v value) {
	if !v.is {
		return
	}
	if a.xattrs == nil {
		a.xattrs = map[string]string{}
	}
	a.xattrs[name] = v.text
}

type modes struct {
	mode uint32
	acl  value
}

func (a *attrs) modes() modes { return modes{a.mode, a.value(aclAccess)} }

// names lists the names in some maps, each once.
func names(all ...map[string]string) []string {
	union := map[string]string{}
	for _, m := range all {
		maps.Copy(union, m)
	}
	found := make([]string, 0, len(union))
	for name := range union {
		found = append(found, name)
	}
	return found
}

// describe says what an attribute was on both sides: nothing keeps it.
func describe(f facets, o, t *node) string {
	var said []string
	if f&fMode != 0 {
		said = append(said, fmt.Sprintf("mode %04o in the snapshot, %04o running", o.mode, t.mode))
	}
	if f&fOwner != 0 {
		said = append(said, fmt.Sprintf("owner %d:%d in the snapshot, %d:%d running", o.uid, o.gid, t.uid, t.gid))
	}
	if f&fXattrs != 0 {
		said = append(said, "extended attributes changed on both sides")
	}
	if f&fFlags != 0 {
		said = append(said, "flags changed on both sides")
	}
	return strings.Join(said, "; ")
}
