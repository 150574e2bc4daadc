package etcmerge

import "path"

// Contents returns what a regular file holds on the running side and in the
// result, for a diff; nil where there is none. An error is ErrChanged where the
// tree is not what it was. What is kept aside has a result only.
func (p *Plan) Contents(name string) (running, result []byte, err error) {
	e, aside, err := p.find(name)
	if err != nil {
		return nil, nil, err
	}
	if aside {
		result, err = p.read(ours, join(parent(path.Clean(name)), e.name), e.sides[ours])
		return nil, result, err
	}
	if running, err = p.read(theirs, name, e.sides[theirs]); err != nil {
		return nil, nil, err
	}
	switch {
	case e.result.absent:
	case e.result.made:
		result = e.result.text
	case e.result.change && e.result.from == theirs:
		result = running
	default:
		result, err = p.read(ours, name, e.sides[ours])
	}
	return running, result, err
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
