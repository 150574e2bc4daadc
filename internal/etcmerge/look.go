// Looking at trees and plans without applying anything.

package etcmerge

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// Differences lists how other differs from running: what would be added,
// removed and modified if other took its place, all beneath with it. Nothing is
// merged and no rule is asked; sockets, and what is no part of the tree, are left out.
func Differences(ctx context.Context, running, other *os.File) ([]Change, error) {
	var views [3]*view
	for i, dir := range (Trees{Ancestor: running, Ours: other, Theirs: running}).all() {
		v, err := viewOf(dir)
		if err != nil {
			return nil, err
		}
		defer v.close()
		views[i] = v
	}
	top, err := scan(ctx, views, nil)
	if err != nil {
		return nil, err
	}
	top.settleDifferences()
	return changes(top, ""), nil
}

// Facts are what a directory entry says of one name.
type Facts struct {
	Kind     uint32 // S_IFREG and the others
	Mode     uint32 // permissions, set-id and sticky bits
	UID, GID uint32
	Size     int64  // of a regular file
	Target   string // of a symbolic link
}

// Facts returns what is at a path on the running side and in the result, nil
// for nothing. What is kept aside has a result only.
func (p *Plan) Facts(path string) (running, result *Facts, err error) {
	e, aside, err := p.find(path)
	if err != nil {
		return nil, nil, err
	}
	if aside {
		o := e.sides[ours]
		return nil, o.facts(asAside(o.kind, o.attrs), o.size), nil
	}
	if t := e.sides[theirs]; t != nil {
		running = t.facts(t.attrs, t.size)
	}
	n := e.source()
	if n == nil || e.result.absent {
		return running, nil, nil
	}
	size := n.size
	if e.result.made {
		size = int64(len(e.result.text))
	}
	return running, n.facts(e.wanted(), size), nil
}

func (n *node) facts(a attrs, size int64) *Facts {
	f := &Facts{Kind: n.kind, Mode: a.mode, UID: a.uid, GID: a.gid, Target: n.target}
	if n.isFile() {
		f.Size = size
	}
	return f
}

// find returns the entry at a path; aside tells that the path is where the
// plan keeps the snapshot's of that entry.
func (p *Plan) find(path string) (e *entry, aside bool, err error) {
	e = p.top
	if path == "." {
		return e, false, nil
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		in := e
		if e = in.child(part); e != nil {
			continue
		}
		if i == len(parts)-1 && part != "" {
			for _, c := range in.children {
				if c.result.aside == part {
					return c, true, nil
				}
			}
		}
		return nil, false, fmt.Errorf("the merge does not know %q", path)
	}
	return e, false, nil
}
