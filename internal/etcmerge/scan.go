package etcmerge

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// side is one of the three trees.
type side int

const (
	ancestor side = iota
	ours
	theirs
)

// pair is two sides that are compared.
type pair int

const (
	ao pair = iota // what ours changed
	at             // what theirs changed
	ot             // in what the two differ now
)

var pairs = [...][2]side{ao: {ancestor, ours}, at: {ancestor, theirs}, ot: {ours, theirs}}

// entry is one name in the three trees.
type entry struct {
	name     string
	sides    [3]*node
	children []*entry // sorted by name
	// content says which pairs of regular files hold different bytes.
	content [3]bool
	// facets are in what the nodes differ, changed whether anything beneath does too.
	facets  [3]facets
	changed [3]bool
	// skip says why the running side's cannot be taken over, "" where it can.
	skip   string
	result result
}

func (e *entry) child(name string) *entry {
	at, ok := slices.BinarySearchFunc(e.children, name, func(c *entry, name string) int { return compareNames(c.name, name) })
	if !ok {
		return nil
	}
	return e.children[at]
}

func compareNames(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// scanner walks the trees side by side.
type scanner struct {
	ctx     context.Context
	views   [3]*view
	workers chan struct{}
	buffers *sync.Pool
	running sync.WaitGroup
	mutex   sync.Mutex
	err     error // the first
}

// scan reads the three trees: what is there, and which content differs.
// suspected are the only paths that need to be looked at, nil for all.
func scan(ctx context.Context, views [3]*view, suspected *suspects) (*entry, error) {
	s := &scanner{ctx: ctx, views: views, workers: make(chan struct{}, 2*runtime.GOMAXPROCS(0)), buffers: newBufferPool()}
	top := &entry{}
	for i, v := range views {
		var err error
		if top.sides[i], err = v.examine(v.fd, ""); err != nil {
			return nil, v.failed("examine", "", err)
		}
	}
	s.directory(top, "", suspected)
	s.running.Wait()
	if suspected != nil && s.err == nil && top.linked() {
		return nil, errLinked
	}
	return top, s.err
}

func (s *scanner) fail(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *scanner) stopped() bool {
	if err := s.ctx.Err(); err != nil {
		s.fail(err)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.err != nil
}

// spawn does work in another goroutine if one is free, else here.
func (s *scanner) spawn(group *sync.WaitGroup, work func()) {
	select {
	case s.workers <- struct{}{}:
		group.Go(func() {
			defer func() { <-s.workers }()
			work()
		})
	default:
		work()
	}
}

// directory reads a directory of the three trees, and those in it. No
// descriptor is held while it goes down, so that no depth uses them up.
func (s *scanner) directory(e *entry, path string, suspected *suspects) {
	if s.stopped() {
		return
	}
	fds := [3]int{-1, -1, -1}
	closeAll := func() {
		for _, fd := range fds {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	}
	var listed [3][]string
	for i, v := range s.views {
		if !e.sides[i].isDir() {
			continue
		}
		var err error
		if fds[i], err = v.openDir(path); err == nil {
			if listed[i], err = s.readDirectory(e.sides[i], fds[i], path == "", suspected); err != nil {
				err = v.failed("read", path, err)
			}
		}
		if err != nil {
			s.fail(err)
			closeAll()
			return
		}
	}
	e.children = union(listed)
	s.examineAll(e.children, fds, path)
	closeAll()
	for _, c := range e.children {
		if c.skip == "" && slices.ContainsFunc(c.sides[:], (*node).isDir) {
			s.spawn(&s.running, func() { s.directory(c, join(path, c.name), suspected.of(c)) })
		}
	}
}

// readDirectory completes the node of a directory that is open and lists what
// is in it, or may be.
func (s *scanner) readDirectory(n *node, fd int, top bool, suspected *suspects) ([]string, error) {
	var err error
	if n.xattrs, err = xattrsOf(fd).read(make([]byte, 512)); err != nil {
		return nil, err
	}
	if suspected != nil {
		return suspected.names(), nil
	}
	names, err := list(fd)
	if top {
		names = slices.DeleteFunc(names, isStage)
	}
	slices.Sort(names)
	return names, err
}

// union makes entries for the names of sorted lists.
func union(listed [3][]string) []*entry {
	var all []string
	for _, names := range listed {
		all = append(all, names...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	entries := make([]*entry, len(all))
	for i, name := range all {
		entries[i] = &entry{name: name}
	}
	for i, names := range listed {
		at := 0
		for _, name := range names {
			for entries[at].name != name {
				at++
			}
			entries[at].sides[i] = &node{}
		}
	}
	return entries
}

// together is how many entries of one directory one worker looks at.
const together = 64

func (s *scanner) examineAll(entries []*entry, fds [3]int, path string) {
	var group sync.WaitGroup
	for batch := range slices.Chunk(entries, together) {
		s.spawn(&group, func() {
			buffers := s.buffers.Get().(*buffers)
			defer s.buffers.Put(buffers)
			for _, e := range batch {
				if s.stopped() {
					return
				}
				if err := s.examine(e, fds, path, buffers); err != nil {
					s.fail(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// examine completes an entry whose sides say where it is listed.
func (s *scanner) examine(e *entry, fds [3]int, path string, buffers *buffers) error {
	for i, v := range s.views {
		if e.sides[i] == nil {
			continue
		}
		n, err := v.examine(fds[i], e.name)
		if err != nil {
			return v.failed("examine", join(path, e.name), err)
		}
		e.sides[i] = n
		switch {
		case n == nil: // removed since it was listed
		case n.is(unix.S_IFSOCK) && side(i) == theirs:
			e.skip = "a socket is only its server's"
		case n.isDir() && isApart(n, v):
			if side(i) == ours {
				return v.failed("merge into", join(path, e.name), errors.New("it is a subvolume or file system of its own"))
			}
			e.skip = "it is a subvolume or file system of its own"
		case !n.isFile() && !n.isDir():
			if n.xattrs, err = xattrsAt(fds[i], e.name).read(buffers.xattrs); err != nil {
				return v.failed("read attributes of", join(path, e.name), err)
			}
		}
	}
	return s.compare(e, fds, path, buffers)
}

// isApart reports whether a directory does not belong to the tree. On btrfs an
// inode number of 2 is the stub of a subvolume that a fork does not contain
// (BTRFS_EMPTY_SUBVOL_DIR_OBJECTID in linux/btrfs_tree.h).
func isApart(n *node, v *view) bool { return n.dev != v.dev || n.ino == 2 && v.btrfs }
