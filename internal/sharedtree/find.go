// Package sharedtree finds the trees that a system shares between its
// snapshots, and prepares what captures a transaction's writes to them.
package sharedtree

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Tree is a directory of the system that is not part of the root's subvolume.
type Tree struct {
	// Path is where the system has it, "/var". Dir is where it is mounted now.
	Path, Dir string
	// ReadOnly: it is mounted so, and nothing is captured of it.
	ReadOnly bool
	// Bind, where it is not empty, is the path in the system of which this is a second mount: another shared
	// tree, or a part of one, or of the root. What is written here is written there.
	Bind string
	// Type is that of the file system ("btrfs"), and UUID the file system's, "" where the kernel does not tell.
	Type, UUID string
	// Subvolume: it is the root of a btrfs subvolume on the file system of the snapshots, and can be forked.
	Subvolume bool
}

// Hidden is a mount that a transaction does not see, though it may hold data
// that packages work with.
type Hidden struct {
	Path string
	// Reason completes "it is not shown: ".
	Reason string
}

// Options change what Find takes for part of the root.
type Options struct {
	// Own are paths that belong to the root although they are subvolumes of their own ("/etc").
	Own []string
	// Snapshots is a directory on the file system on which forks are made; .snapshots in the root where empty.
	Snapshots string
}

// builtIn are made anew for every transaction, belong to people, or to the
// boot loader; .snapshots, wherever it is, belongs to nobody.
var builtIn = []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/boot", "/efi", "/root", "/home"}

// Find lists what is shared in the system mounted at root, by path.
func Find(root string, o Options) ([]Tree, []Hidden, error) {
	trees, hidden, err := find(root, o)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot find the shared trees of %s: %w", root, err)
	}
	return trees, hidden, nil
}

func find(root string, o Options) ([]Tree, []Hidden, error) {
	all, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, nil, err
	}
	if o.Snapshots == "" {
		o.Snapshots = filepath.Join(root, ".snapshots")
	}
	f := finder{root: root, own: o.Own}
	if f.top, err = look(root); err != nil {
		return nil, nil, err
	}
	if f.system, err = systemUUID(o.Snapshots); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, nil, err
	}
	for _, m := range visible(all) {
		rel, inside := below(m.Mountpoint, root)
		switch {
		case rel == "/":
			f.mount = m
		case inside:
			if err := f.classify(rel, m); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", rel, err)
			}
		case within(root, m.Mountpoint) && (f.mount == nil || len(m.Mountpoint) > len(f.mount.Mountpoint)):
			f.mount = m // the root is a directory in it
		}
	}
	return f.resolve(), f.hidden, nil
}

// visible leaves out mounts that others cover, and sorts by path. Of two on one
// place the later one is seen; it is the child of the other.
func visible(all []*mountinfo.Info) []*mountinfo.Info {
	children, ids := map[int][]*mountinfo.Info{}, map[int]bool{}
	for _, m := range all {
		ids[m.ID] = true
		children[m.Parent] = append(children[m.Parent], m)
	}
	var seen []*mountinfo.Info
	var visit func(m *mountinfo.Info)
	visit = func(m *mountinfo.Info) {
		for _, c := range children[m.ID] {
			if c != m && c.Mountpoint == m.Mountpoint {
				visit(c)
				return
			}
		}
		seen = append(seen, m)
		for _, c := range children[m.ID] {
			covered := slices.ContainsFunc(children[m.ID], func(other *mountinfo.Info) bool {
				return other.Mountpoint != c.Mountpoint && within(c.Mountpoint, other.Mountpoint)
			})
			if c != m && !covered {
				visit(c)
			}
		}
	}
	for _, m := range all {
		if !ids[m.Parent] || m.Parent == m.ID {
			visit(m)
		}
	}
	slices.SortFunc(seen, func(a, b *mountinfo.Info) int { return strings.Compare(a.Mountpoint, b.Mountpoint) })
	return seen
}

// below is an absolute path as the system mounted at root sees it.
func below(path, root string) (rel string, ok bool) {
	if !within(path, root) {
		return "", false
	}
	return "/" + strings.Trim(strings.TrimPrefix(path, root), "/"), true
}

// within reports whether an absolute path is dir or lies in it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// file is what tells subvolumes apart.
type file struct {
	device uint64 // of the subvolume, where it is one
	inode  uint64
	isDir  bool
}

// look asks for a path without mounting anything there.
func look(path string) (file, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return file{}, fmt.Errorf("cannot open %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return file{}, fmt.Errorf("cannot examine %s: %w", path, err)
	}
	return file{device: st.Dev, inode: st.Ino, isDir: st.Mode&unix.S_IFMT == unix.S_IFDIR}, nil
}

// finder collects.
type finder struct {
	root   string
	own    []string
	top    file
	system string          // the uuid of the file system of the snapshots
	mount  *mountinfo.Info // of the root
	found  []candidate
	hidden []Hidden
}

// candidate is a mount that may be shown, and where it is in its file system.
type candidate struct {
	Tree
	file
	inside string
}

// classify decides about one mount.
func (f *finder) classify(rel string, m *mountinfo.Info) error {
	switch {
	case slices.ContainsFunc(builtIn, func(dir string) bool { return within(rel, dir) }),
		slices.Contains(strings.Split(rel, "/"), ".snapshots"),
		slices.Contains(f.own, rel):
		return nil
	}
	if reason, shown := kindOf(rel, m.FSType); !shown {
		if reason != "" {
			f.hidden = append(f.hidden, Hidden{rel, reason})
		}
		return nil
	}
	at, err := look(m.Mountpoint)
	if err != nil {
		return err
	}
	if !at.isDir {
		return nil // one file of the running system
	}
	c := candidate{Tree: Tree{Path: rel, Dir: m.Mountpoint, ReadOnly: readOnly(m), Type: m.FSType}, file: at, inside: m.Root}
	if c.UUID, err = systemUUID(m.Mountpoint); err != nil {
		return err
	}
	// The root of a subvolume: BTRFS_FIRST_FREE_OBJECTID of linux/btrfs_tree.h.
	const subvolumeRoot = 256
	c.Subvolume = m.FSType == "btrfs" && at.inode == subvolumeRoot && f.system != "" && c.UUID == f.system
	f.found = append(f.found, c)
	return nil
}

func readOnly(m *mountinfo.Info) bool {
	return slices.Contains(strings.Split(m.Options, ","), "ro") || slices.Contains(strings.Split(m.VFSOptions, ","), "ro")
}

// resolve finds which trees are second mounts of others.
func (f *finder) resolve() []Tree {
	// Of two mounts of the same directory the one further up is the tree, so that the order of mounting does not matter.
	slices.SortStableFunc(f.found, func(a, b candidate) int {
		return cmp.Compare(strings.Count(a.Path, "/"), strings.Count(b.Path, "/"))
	})
	var trees []Tree
	for i, c := range f.found {
		c.Bind = f.bound(i)
		if c.Bind != "" && within(c.Path, c.Bind) {
			continue // what shows itself, like the root mounted in the root
		}
		c.Subvolume = c.Subvolume && c.Bind == ""
		trees = append(trees, c.Tree)
	}
	slices.SortFunc(trees, func(a, b Tree) int { return strings.Compare(a.Path, b.Path) })
	return trees
}

// bound is the path that candidate i is a second mount of, "" if it is the first.
func (f *finder) bound(i int) string {
	c := f.found[i]
	if c.device == f.top.device && f.mount != nil {
		// A part of the root itself, at another place.
		if rel, ok := below(c.inside, path.Join(f.mount.Root, strings.TrimPrefix(f.root, f.mount.Mountpoint))); ok && !f.covered(rel, "/") {
			return rel
		}
	}
	for j, other := range f.found {
		if other.device != c.device || j == i {
			continue
		}
		rel, ok := below(c.inside, other.inside)
		if !ok || rel == "/" && j > i {
			continue
		}
		if at := path.Join(other.Path, rel); !f.covered(at, other.Path) && !within(at, c.Path) {
			return at
		}
	}
	return ""
}

// covered reports whether at is not seen in the tree at dir, because another mount is over it.
func (f *finder) covered(at, dir string) bool {
	return slices.ContainsFunc(f.found, func(c candidate) bool {
		return c.Path != dir && within(c.Path, dir) && within(at, c.Path)
	})
}
