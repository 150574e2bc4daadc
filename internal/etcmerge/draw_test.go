package etcmerge

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// Trees that are drawn, with names that meet rules, and few lines and ids, so
// that edits meet each other.

var (
	drawnNames   = rapid.SampledFrom([]string{"a", "b", "c", "d", "a.txupd-3", "shells", "fstab", "passwd", "machine-id"})
	drawnLines   = rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2", "3", "4", "x", "y", ""}), 0, 6)
	drawnModes   = rapid.SampledFrom([]uint32{0o644, 0o600, 0o755, 0o4755, 0o2750})
	drawnOwners  = rapid.SampledFrom([]string{"0:0", "5:5", "0:7", "9:0"})
	drawnXattrs  = rapid.SampledFrom([]string{"", "user.a=1", "user.a=2", "user.b=1", "user.a=1 user.b=2"})
	drawnTargets = rapid.SampledFrom([]string{"a", "../b", "/etc/c", "/nowhere"})
	drawnTimes   = rapid.SampledFrom([]int64{0, sameSecond + 1, sameSecond - 1})
	drawnKinds   = rapid.SampledFrom([]string{"file", "file", "file", "file", "dir", "dir", "link", "fifo"})
	drawnUsers   = rapid.SampledFrom([]string{"root:x:0:0::/:/s", "a:x:998:1::/:/s", "b:x:998:1::/:/s", "b:x:997:1::/:/t", "c:x:5:5::/:/s", "# c"})
)

func drawContent(t *rapid.T, name string) string {
	if name == "passwd" {
		return strings.Join(rapid.SliceOfNDistinct(drawnUsers, 0, 4, rapid.ID).Draw(t, "users"), "\n") + "\n"
	}
	content := strings.Join(drawnLines.Draw(t, "lines"), "\n")
	switch rapid.IntRange(0, 9).Draw(t, "ends") {
	case 0:
		return content
	case 1:
		return content + "\x00\n"
	}
	return content + "\n"
}

func drawObject(t *rapid.T, name string) object {
	o := object{kind: drawnKinds.Draw(t, "kind"), owner: drawnOwners.Draw(t, "owner"), mtime: drawnTimes.Draw(t, "time")}
	switch o.kind {
	case "link":
		o.target = drawnTargets.Draw(t, "target")
		return o
	case "file":
		o.content = drawContent(t, name)
	}
	if o.mode = drawnModes.Draw(t, "mode"); o.kind != "fifo" {
		o.xattrs = drawnXattrs.Draw(t, "xattrs")
	}
	return o
}

func drawTree(t *rapid.T) testTree {
	tree := testTree{".": {kind: "dir", mode: 0o755, owner: "0:0"}}
	for range rapid.IntRange(0, 8).Draw(t, "paths") {
		tree.add(t)
	}
	return tree
}

// add puts something new in a directory of the tree.
func (tree testTree) add(t *rapid.T) {
	dir := rapid.SampledFrom(tree.paths(func(o object) bool { return o.kind == "dir" })).Draw(t, "in")
	name := drawnNames.Draw(t, "name")
	path := filepath.Join(dir, name)
	if _, ok := tree[path]; ok || strings.Count(path, "/") > 2 {
		return
	}
	files := tree.paths(func(o object) bool { return o.kind == "file" })
	if len(files) > 0 && rapid.IntRange(0, 5).Draw(t, "link") == 0 {
		first := rapid.SampledFrom(files).Draw(t, "to")
		o := tree[first]
		if o.linked == "" {
			o.linked = first
			tree[first] = o
		}
		tree[path] = o
		return
	}
	tree[path] = drawObject(t, name)
}

func (tree testTree) paths(which func(object) bool) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if which(tree[name]) {
			found = append(found, name)
		}
	}
	return found
}

// set changes an object, under all its names.
func (tree testTree) set(path string, o object) {
	first := tree[path].linked
	if first == "" {
		tree[path] = o
		return
	}
	for name, other := range tree {
		if other.linked == first {
			tree[name] = o
		}
	}
}

// cut removes a path from its links, so that it is a file of its own.
func (tree testTree) cut(path string) {
	o := tree[path]
	first := o.linked
	if first == "" {
		return
	}
	delete(tree, path)
	var rest []string
	for name, other := range tree {
		if other.linked == first {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	for _, name := range rest {
		other := tree[name]
		if other.linked = rest[0]; len(rest) == 1 {
			other.linked = ""
		}
		tree[name] = other
	}
	o.linked = ""
	tree[path] = o
}

func (tree testTree) remove(path string) {
	for name := range maps.Clone(tree) {
		if name == path || strings.HasPrefix(name, path+"/") {
			tree.cut(name)
			delete(tree, name)
		}
	}
}

// edited is a tree after a few edits.
func (tree testTree) edited(t *rapid.T) testTree {
	made := maps.Clone(tree)
	for range rapid.IntRange(0, 5).Draw(t, "edits") {
		paths := made.paths(func(object) bool { return true })
		path := rapid.SampledFrom(paths).Draw(t, "path")
		o := made[path]
		if path == "." {
			made.add(t)
			continue
		}
		switch rapid.SampledFrom([]string{"content", "content", "content", "mode", "owner", "xattrs", "remove", "replace", "add", "touch", "unlink"}).Draw(t, "edit") {
		case "content":
			if o.kind == "file" {
				o.content = drawEdit(t, filepath.Base(path), o.content)
				made.set(path, o)
			}
		case "mode":
			if o.kind != "link" {
				o.mode = drawnModes.Draw(t, "mode")
				made.set(path, o)
			}
		case "owner":
			o.owner = drawnOwners.Draw(t, "owner")
			made.set(path, o)
		case "xattrs":
			if o.kind == "file" || o.kind == "dir" {
				o.xattrs = drawnXattrs.Draw(t, "xattrs")
				made.set(path, o)
			}
		case "remove":
			made.remove(path)
		case "replace":
			made.remove(path)
			made[path] = drawObject(t, filepath.Base(path))
		case "add":
			made.add(t)
		case "touch":
			o.mtime = drawnTimes.Draw(t, "time")
			made.set(path, o)
		case "unlink":
			made.cut(path)
		}
	}
	return made
}

// drawEdit changes a line or so.
func drawEdit(t *rapid.T, name, content string) string {
	if name == "passwd" || rapid.IntRange(0, 4).Draw(t, "anew") == 0 {
		return drawContent(t, name)
	}
	lines := strings.SplitAfter(content, "\n")
	at := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		lines[at] = rapid.StringMatching("[a-z]{1,3}\n").Draw(t, "text")
	case 1:
		lines = slices.Insert(lines, at, rapid.StringMatching("[a-z]{1,3}\n").Draw(t, "text"))
	default:
		lines = slices.Delete(lines, at, at+1)
	}
	return strings.Join(lines, "")
}
