package etcmerge

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// suspects are the paths at which the running side can differ from the ancestor,
// part by part. What is not on the way to one is not looked at: where the running
// side did nothing, the snapshot's is the result.
type suspects struct {
	beneath map[string]*suspects
}

// errLinked: a file with several names is among the suspects, and the others may not be.
var errLinked = errors.New("internal error: a suspect has other names")

// suspects are those of the options, with what the rules make of them: account
// files are merged together, and what always is as it runs may differ although
// the running side did nothing. nil is everything.
func (p *planner) suspects() *suspects {
	if p.opts.Suspects == nil {
		return nil
	}
	live, everywhere := p.rules.live()
	if everywhere {
		return nil
	}
	paths := append(live, p.opts.Suspects...)
	for i, path := range paths {
		paths[i] = strings.Trim(path, "/")
	}
	if slices.ContainsFunc(paths, func(path string) bool { return p.rules.of(path).Action == Accounts }) {
		paths = append(paths, "login.defs")
		for _, f := range formats {
			paths = append(paths, f.name)
		}
	}
	return suspectsOf(paths)
}

// suspectsOf builds the tree of some paths.
func suspectsOf(paths []string) *suspects {
	top := &suspects{}
	add := func(path string) {
		at := top
		for part := range strings.SplitSeq(path, "/") {
			if at.beneath == nil {
				at.beneath = map[string]*suspects{}
			}
			if at.beneath[part] == nil {
				at.beneath[part] = &suspects{}
			}
			at = at.beneath[part]
		}
	}
	for _, path := range paths {
		if path != "" && path != "." {
			add(path)
		}
	}
	return top
}

func (s *suspects) names() []string { return slices.Sorted(maps.Keys(s.beneath)) }

// of is what is suspected of an entry beneath; nil is everything. What is not a
// directory on every side is looked at whole, if it is a directory on any.
func (s *suspects) of(e *entry) *suspects {
	if s == nil || slices.ContainsFunc(e.sides[:], func(n *node) bool { return !n.isDir() }) {
		return nil
	}
	return s.beneath[e.name]
}

// linked reports whether a file among the suspects has other names.
func (e *entry) linked() bool {
	several := func(n *node) bool { return n.isFile() && n.links > 1 }
	return slices.ContainsFunc(e.sides[:], several) || slices.ContainsFunc(e.children, (*entry).linked)
}

// exists reports whether any tree has a path.
func (p *planner) exists(path string) bool {
	for _, v := range p.views {
		dir, err := openDirAt(v.fd, parent(path))
		if err != nil {
			continue
		}
		var st unix.Stat_t
		err = unix.Fstatat(dir, path[strings.LastIndexByte(path, '/')+1:], &st, unix.AT_SYMLINK_NOFOLLOW)
		unix.Close(dir)
		if err == nil {
			return true
		}
	}
	return false
}
