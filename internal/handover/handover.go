// Package handover gives what a transaction wrote to a shared tree to the live
// one. Of every captured path it compares three states: ours (what the sandbox
// left), before (what the sandbox found) and the live one.
//
//	ours is as before                 nothing happens
//	the live one is as ours           nothing is left to do
//	the live one is as before         ours takes its place
//	else                              the live one stays, ours is put beside it as NAME.txupd-N
//
// "Is as" compares type, mode, owner, content, link target, device number and
// extended attributes (ACLs, capabilities), never times. Deletions are handled
// alike: a file goes if it is as before; a directory that was removed goes as a
// whole, if everything in it is as before. Directories that are on both sides
// merge: what only the live side has stays. Of a directory's own mode, owner and
// attributes, one side's change is taken, and where both changed them the live
// side's stays.
//
// Some things stay whatever else is true of them: a file that some process has
// open for writing, locked or mapped so that it can write, an active swap file,
// one that a loop device writes to, sockets, subvolumes inside the tree, and
// places where something is mounted. A file that is only being read is
// replaced: the name gets a new file, who reads keeps the old one. Sockets that
// the sandbox left are not handed over: without their process they only keep a
// new one from starting.
//
// The files of a database belong together, so each database is handed over as
// a whole, or, if the live side changed or uses any file of it, not at all. A
// directory is one if it holds what the table in unit.go names; an SQLite file
// is one together with its -wal, -journal and -shm.
//
// Giving may be interrupted at any point, by a power cut too, and done again:
// the second run goes on, and ends with the same tree and the same rows.
package handover

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/overlay"
)

// Capture is what one transaction captured of one shared tree.
type Capture struct {
	// Number is the transaction's; names of what is put beside carry it.
	Number uint64
	// Tree is where the system has the tree, "/var"; rows name paths below it.
	Tree string
	// Upper is the directory that overlayfs wrote to.
	Upper string
	// Before are the layers that were below it, the one on top first: upper directories of the transactions
	// that this one was stacked on, and last a fork of the live tree as it was.
	Before []string
	// Manifest is what Witness wrote, for a tree of which there is no fork. Before is not used then.
	Manifest string
}

// Decision is what became of a path.
type Decision string

// The decisions.
const (
	Created  Decision = "created"  // it was not there
	Replaced Decision = "replaced" // also where only mode, owner or attributes differ
	Removed  Decision = "removed"
	Kept     Decision = "kept"    // the live side's stays
	Skipped  Decision = "skipped" // it cannot be handed over
)

// Row says what became of one captured path. Where it was ours already the row
// is the same as where it became so just now.
type Row struct {
	Tree     string   `json:"tree"`
	Path     string   `json:"path"` // in the system
	Decision Decision `json:"decision"`
	// Aside is where ours was put, where the live side's stays.
	Aside string `json:"aside,omitempty"`
	// Reason says why it was kept or skipped, or why something was created again.
	Reason string `json:"reason,omitempty"`
}

// Request says what to give to whom.
type Request struct {
	Capture
	// Live is the directory at which the live tree is mounted.
	Live string
	// DryRun only says what would be done.
	DryRun bool
	// Proc and Sys are where procfs and sysfs are mounted; /proc and /sys where empty.
	Proc, Sys string
}

// Give hands a capture over and returns a row for each path, in order. What it
// did is durable when it returns. ErrFormat where the capture holds what is not
// understood: nothing was done then. After any other error it may be called again.
func Give(ctx context.Context, r Request) ([]Row, error) { return give(ctx, r, nil) }

func give(ctx context.Context, r Request, step func() error) ([]Row, error) {
	rows, err := giveAll(ctx, r, step)
	if err != nil {
		return rows, fmt.Errorf("cannot hand over what transaction %d captured of %s: %w", r.Number, r.Tree, err)
	}
	return rows, nil
}

func giveAll(ctx context.Context, r Request, step func() error) ([]Row, error) {
	o, top, err := openUpper(ctx, r.Upper)
	if err != nil {
		return nil, err
	}
	defer o.close()
	if err := check(o, "/"); err != nil {
		return nil, err
	}
	b, err := r.before(ctx)
	if err != nil {
		return nil, err
	}
	defer b.close()
	g, err := newGiver(ctx, r.Number, r.Tree, r.Live, r.Proc, r.Sys)
	if err != nil {
		return nil, err
	}
	defer g.end()
	g.dry, g.hand.step = r.DryRun, step
	return g.all(o, top, b)
}

// before opens what was before.
func (c *Capture) before(ctx context.Context) (before, error) {
	if c.Manifest == "" {
		return openLayers(ctx, c.Before)
	}
	m, err := readManifest(c.Manifest)
	if err != nil {
		return nil, err
	}
	return noted{m, "/"}, nil
}

// openLayers opens what an overlay of the directories shows.
func openLayers(ctx context.Context, dirs []string) (*plain, error) {
	if len(dirs) == 0 {
		return nil, errors.New("nothing tells what was there before")
	}
	var lower []int
	defer func() {
		for _, fd := range lower {
			unix.Close(fd)
		}
	}()
	for _, dir := range dirs {
		p, err := openPlain(ctx, dir)
		if err != nil {
			return nil, err
		}
		lower = append(lower, p.fd)
	}
	mount, err := overlay.Mount(lower, nil, unix.MOUNT_ATTR_NOATIME|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("cannot look at what was there before: %w", err)
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot look at what was there before: %w", err)
	}
	return newPlain(ctx, fd)
}

// giver does the work of one hand-over or one undo.
type giver struct {
	ctx    context.Context
	number uint64
	tree   string
	dry    bool
	// undoing: nothing is put beside.
	undoing bool
	live    *liveDir
	usage   usage
	hand    hand
	rows    []Row
	pending []*placement
	linked  map[fileID]*link
	last    []last
}

func newGiver(ctx context.Context, number uint64, tree, live, proc, sys string) (*giver, error) {
	if proc == "" {
		proc = "/proc"
	}
	if sys == "" {
		sys = "/sys"
	}
	g := &giver{ctx: ctx, number: number, tree: tree, linked: map[fileID]*link{}}
	var err error
	if g.usage, err = usageNow(proc, sys); err != nil {
		return nil, err
	}
	top, err := openPlain(ctx, live)
	if err != nil {
		return nil, err
	}
	g.live = &liveDir{plain: top, at: "/"}
	return g, nil
}

func (g *giver) end() {
	for _, p := range g.pending {
		unix.Close(p.dir)
	}
	g.live.close()
}

// all gives the whole tree.
func (g *giver) all(o ours, top wanted, b before) ([]Row, error) {
	if err := g.top(o, top, b); err != nil {
		return g.sorted(), err
	}
	if g.dry {
		return g.sorted(), nil
	}
	if err := g.flush(); err != nil {
		return g.sorted(), err
	}
	for _, d := range slices.Backward(g.last) {
		if err := g.finish(d); err != nil {
			return g.sorted(), g.failed(d.at, err)
		}
	}
	return g.sorted(), g.hand.sync(g.live.fd)
}

// top gives the tree's own directory and what is in it.
func (g *giver) top(o ours, w wanted, b before) error {
	was, err := b.look(".")
	if err != nil {
		return err
	}
	is, err := g.live.look(".")
	if err != nil {
		return err
	}
	unit, err := g.database(o, b, g.live.plain)
	if err != nil {
		return err
	}
	if unit.reason != "" && !unit.settled {
		// There is no place beside a tree but in it.
		return g.keepAll(g.live, path.Base(g.tree), "/", inner{o, w, b, was}, unit.reason)
	}
	if err := g.attributes(g.live, ".", "/", &w, &was, &is); err != nil {
		return err
	}
	if unit.settled {
		return nil
	}
	return g.directory(o, b, g.live, unit.kind != "")
}

// finish sets what only a directory that is not changed any more can have.
func (g *giver) finish(d last) error {
	parent, name := g.live.fd, "."
	if d.at != "/" {
		dir, err := openBeneath(g.live.fd, "."+path.Dir(d.at), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		parent, name = dir, path.Base(d.at)
	}
	if d.times {
		if err := g.hand.setTimes(parent, name, d.want.atime, d.want.mtime); err != nil {
			return err
		}
	}
	return g.sealAs(parent, name, &d.want)
}

// failure is an error about one path.
type failure struct {
	path string
	err  error
}

func (f *failure) Error() string { return f.path + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed names the path where the error does not name one yet.
func (g *giver) failed(at string, err error) error {
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	return &failure{g.seen(at), err}
}

// seen is a path in the tree as the system has it.
func (g *giver) seen(at string) string { return path.Join(g.tree, at) }

func (g *giver) row(at string, d Decision, reason string) Row {
	return Row{Tree: g.tree, Path: g.seen(at), Decision: d, Reason: reason}
}

// say adds a row and returns its index.
func (g *giver) say(at string, d Decision, reason string) int {
	g.rows = append(g.rows, g.row(at, d, reason))
	return len(g.rows) - 1
}

func (g *giver) sorted() []Row {
	slices.SortStableFunc(g.rows, func(a, b Row) int { return strings.Compare(a.Path, b.Path) })
	return g.rows
}
