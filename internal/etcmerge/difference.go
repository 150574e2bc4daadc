package etcmerge

import "golang.org/x/sys/unix"

// settleDifferences computes, from the leaves up, in what the sides differ.
func (e *entry) settleDifferences() {
	for p, sides := range pairs {
		e.facets[p] = e.difference(pair(p), e.sides[sides[0]], e.sides[sides[1]])
		e.changed[p] = e.facets[p] != 0
	}
	for _, c := range e.children {
		c.settleDifferences()
		for p := range pairs {
			e.changed[p] = e.changed[p] || c.changed[p]
		}
	}
}

// difference of two nodes; one that is not there differs in its type.
func (e *entry) difference(p pair, x, y *node) facets {
	switch {
	case x == nil && y == nil:
		return 0
	case x == nil || y == nil || x.kind != y.kind:
		return fType
	}
	f := attrFacets(&x.attrs, &y.attrs)
	if e.contentDiffers(p, x, y) {
		f |= fContent
	}
	return f
}

func (e *entry) contentDiffers(p pair, x, y *node) bool {
	switch x.kind {
	case unix.S_IFREG:
		return e.content[p]
	case unix.S_IFLNK:
		return x.target != y.target
	case unix.S_IFCHR, unix.S_IFBLK:
		return x.rdev != y.rdev
	}
	return false
}

// holds reports whether a node has bytes that would be lost with it.
func (n *node) holds() bool { return n != nil && !n.is(unix.S_IFSOCK) }
