package etcmerge

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// suspects are the paths at which trees can differ, part by part. What is not
// on the way to one is the same in all three, and is not looked at.
type suspects struct {
	beneath map[string]*suspects
}

// errLinked: a file with several names is among the suspects, and the others may not be.
var errLinked = errors.New("internal error: a suspect has other names")

// suspectsOf builds the tree of some paths. Account files are merged together,
// so that one of them brings the others with it.
func suspectsOf(paths []string, accounts bool) *suspects {
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
		if path = strings.Trim(path, "/"); path != "" && path != "." {
			add(path)
		}
	}
	if accounts {
		add("login.defs")
		for _, f := range formats {
			add(f.name)
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
