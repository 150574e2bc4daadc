package etcmerge

import (
	"fmt"
	"strings"
)

// Contents returns what a regular file holds on the running side and in the
// result, for a diff; nil where there is none. An error is ErrChanged where the
// tree is not what it was. What is kept aside has a result only.
func (p *Plan) Contents(path string) (running, result []byte, err error) {
	e := p.top
	parts := strings.Split(path, "/")
	for i, part := range parts {
		in := e
		if e = in.child(part); e != nil {
			continue
		}
		if i == len(parts)-1 {
			return p.asideContents(in, path)
		}
		return nil, nil, fmt.Errorf("the merge does not know %q", path)
	}
	if running, err = p.read(theirs, path, e.sides[theirs]); err != nil {
		return nil, nil, err
	}
	switch {
	case e.result.absent:
	case e.result.made:
		result = e.result.text
	case e.result.change && e.result.from == theirs:
		result = running
	default:
		result, err = p.read(ours, path, e.sides[ours])
	}
	return running, result, err
}

func (p *Plan) asideContents(in *entry, path string) (running, result []byte, err error) {
	for _, c := range in.children {
		if original := join(parent(path), c.name); c.result.aside != "" && join(parent(path), c.result.aside) == path {
			result, err = p.read(ours, original, c.sides[ours])
			return nil, result, err
		}
	}
	return nil, nil, fmt.Errorf("the merge does not know %q", path)
}

// read returns the content of a regular file of a tree, nil for anything else.
func (p *Plan) read(s side, path string, n *node) ([]byte, error) {
	if !n.isFile() {
		return nil, nil
	}
	v, err := viewOf(p.trees.all()[s])
	if err != nil {
		return nil, err
	}
	defer v.close()
	return v.readFile(path, n)
}
