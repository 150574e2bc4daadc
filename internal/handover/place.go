// Putting files into the live tree: made aside under a name of ours, flushed
// together, then renamed. So a name is always what it was or what it is to be,
// and a second run after a power cut goes on where the first one ended.

package handover

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// batch is how many files are flushed at a time; each keeps a descriptor until then.
const batch = 256

// liveDir is a directory of the live tree. Where it is not there, it is made
// when something is to be put into it.
type liveDir struct {
	*plain
	parent *liveDir
	name   string
	at     string // in the tree
	made   wanted // how to make it
	sealed bool   // it cannot be changed, and is not to be
	// differs: it is not there, was there before, and is to be made otherwise than it was.
	differs bool
	planned bool // it would be made, were this no dry run
}

func (d *liveDir) look(name string) (state, error) {
	if d.plain == nil {
		return state{}, nil
	}
	return d.plain.look(name)
}

func (d *liveDir) close() {
	if d.plain != nil {
		d.plain.close()
	}
}

// ensure makes the directory and those above it.
func (g *giver) ensure(d *liveDir) error {
	if d.plain != nil || d.planned {
		return nil
	}
	if err := g.ensure(d.parent); err != nil {
		return err
	}
	if d.differs {
		g.say(d.at, Replaced, "")
	}
	if d.planned = g.dry; g.dry {
		return nil
	}
	if err := g.makeDirectory(d.parent.fd, d.name, &d.made); err != nil {
		return err
	}
	p, err := d.parent.sub(d.name)
	if err != nil {
		return err
	}
	d.plain = p
	g.last = append(g.last, last{d.at, d.made, true})
	return nil
}

// last is a directory whose times and seal are set when nothing is put into it any more.
type last struct {
	at    string
	want  wanted
	times bool
}

// makeDirectory makes an empty directory with everything but its times.
func (g *giver) makeDirectory(dir int, name string, w *wanted) error {
	tmp := g.temporary(name)
	if err := g.newDirectory(dir, tmp, w); err != nil {
		return err
	}
	return g.hand.rename(dir, tmp, dir, name, unix.RENAME_NOREPLACE)
}

func (g *giver) newDirectory(dir int, tmp string, w *wanted) error {
	if err := g.clear(dir, tmp); err != nil {
		return err
	}
	if err := g.hand.mkdir(dir, tmp); err != nil {
		return err
	}
	if w.isDir() && noCopyOnWrite(w.dir, w.name) {
		// Another file system has no such thing, and needs none.
		if err := g.hand.setFlags(dir, tmp, flagNoCopy, 0); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOTTY) {
			return err
		}
	}
	return g.dress(dir, tmp, w)
}

// noCopyOnWrite reports whether files made in a directory are overwritten in
// place (chattr +C), as databases like it.
func noCopyOnWrite(dir int, name string) bool {
	fd, err := openBeneath(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NOATIME)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	return err == nil && flags&flagNoCopy != 0
}

// dress gives owner, attributes and mode to what was just made.
func (g *giver) dress(dir int, name string, w *wanted) error {
	// The owner first: changing it clears set-id bits and capabilities.
	if err := g.hand.chown(dir, name, w.uid, w.gid); err != nil {
		return err
	}
	present, err := readAttributes(dir, name)
	if err != nil {
		return err
	}
	// What it inherited, an ACL above all.
	for attribute := range present {
		if _, ok := w.extended[attribute]; !ok && counts(attribute) {
			if err := g.hand.removeAttribute(dir, name, attribute); err != nil {
				return err
			}
		}
	}
	for attribute, value := range w.extended {
		if has, ok := present[attribute]; ok && has == value {
			continue
		}
		if err := g.hand.setAttribute(dir, name, attribute, value); err != nil {
			return err
		}
	}
	if w.kind == unix.S_IFLNK {
		return nil
	}
	return g.hand.chmod(dir, name, w.mode)
}

func (g *giver) sealAs(dir int, name string, w *wanted) error {
	if w.seal == (seal{}) {
		return nil
	}
	return g.hand.seal(dir, name, w.seal)
}

// stage makes a file that is no directory under a temporary name.
func (g *giver) stage(dir int, tmp string, w *wanted) error {
	if err := g.clear(dir, tmp); err != nil {
		return err
	}
	if w.links > 1 {
		if linked, err := g.linkTo(dir, tmp, w); linked || err != nil {
			return err
		}
	}
	var err error
	switch w.kind {
	case unix.S_IFREG:
		err = g.fill(dir, tmp, w)
	case unix.S_IFLNK:
		err = g.hand.symlink(w.target, dir, tmp)
	default:
		err = g.hand.mknod(dir, tmp, w.kind, w.device)
	}
	if err != nil {
		return err
	}
	if err := g.dress(dir, tmp, w); err != nil {
		return err
	}
	return g.hand.setTimes(dir, tmp, w.atime, w.mtime)
}

// fill makes a regular file with the content of another.
func (g *giver) fill(dir int, tmp string, w *wanted) error {
	from, err := openFile(w.dir, w.name)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := g.hand.create(dir, tmp)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return g.hand.change("write", tmp, func() error { return copyContent(g.ctx, from, to, int64(w.size)) })
}

// How a staged file gets its name.
type manner int

const (
	fresh  manner = iota // nothing is there
	over                 // what is there goes
	swap                 // a whole directory goes
	beside               // ours goes beside what is there
)

// placement is a staged file that waits for its name.
type placement struct {
	manner    manner
	dir       int // a descriptor of its own
	at        string
	tmp, name string
	suffix    string // for the name beside
	was       state  // what was there
	want      wanted
	row       int
}

// place queues a staged file.
func (g *giver) place(p placement, d *liveDir) error {
	dir, err := unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot keep a directory open: %w", err)
	}
	p.dir, p.at = dir, d.at
	g.pending = append(g.pending, &p)
	if p.want.links > 1 && p.manner != beside {
		g.linked[p.want.id] = &link{pending: &p, at: path.Join(d.at, p.name)}
	}
	if len(g.pending) < batch {
		return nil
	}
	return g.flush()
}

// flush makes what is staged durable and gives it its names.
func (g *giver) flush() error {
	if len(g.pending) == 0 {
		return nil
	}
	if err := g.hand.sync(g.live.fd); err != nil {
		return err
	}
	for len(g.pending) > 0 {
		p := g.pending[0]
		if err := g.settle(p); err != nil {
			return g.failed(path.Join(p.at, p.name), err)
		}
		unix.Close(p.dir)
		g.pending = g.pending[1:]
		if l := g.linked[p.want.id]; l != nil && l.pending == p {
			l.pending = nil
		}
	}
	return nil
}

// settle gives one staged file its name.
func (g *giver) settle(p *placement) error {
	var err error
	switch p.manner {
	case fresh:
		err = g.hand.rename(p.dir, p.tmp, p.dir, p.name, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			return g.settleBeside(p, appeared)
		}
	case over, swap:
		now, _, _, lookErr := examine(p.dir, p.name)
		if lookErr != nil {
			return lookErr
		}
		if now.id != p.was.id || now.modified != p.was.modified || now.size != p.was.size || now.mode != p.was.mode {
			return g.settleBeside(p, changed)
		}
		if p.was.seal != (seal{}) {
			if err := g.hand.seal(p.dir, p.name, seal{}); err != nil {
				return err
			}
		}
		if p.manner == over {
			err = g.hand.rename(p.dir, p.tmp, p.dir, p.name, 0)
		} else if err = g.hand.rename(p.dir, p.tmp, p.dir, p.name, unix.RENAME_EXCHANGE); err == nil {
			err = g.clear(p.dir, p.tmp)
		}
	case beside:
		return g.settleBeside(p, "")
	}
	if err != nil {
		return err
	}
	return g.sealAs(p.dir, p.name, &p.want)
}

// settleBeside puts ours beside the live side's. reason is set where the live
// side moved between the look at it and now.
func (g *giver) settleBeside(p *placement, reason string) error {
	if reason != "" {
		g.rows[p.row].Decision, g.rows[p.row].Reason = Kept, reason
		delete(g.linked, p.want.id)
	}
	if g.undoing {
		g.rows[p.row].Aside = ""
		return g.clear(p.dir, p.tmp)
	}
	for try := 1; ; try++ {
		name := besideName(strings.TrimSuffix(p.name, p.suffix), g.number, try, p.suffix)
		err := g.hand.rename(p.dir, p.tmp, p.dir, name, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) && try < manyBeside {
			continue
		}
		if err != nil {
			return err
		}
		g.rows[p.row].Aside = g.seen(path.Join(p.at, name))
		return nil
	}
}

// manyBeside is where looking for a free name ends.
const manyBeside = 100

// link is where a file of several names is already.
type link struct {
	pending *placement // it waits for its name
	at      string     // its name in the tree
}

// linkTo gives a file that has another name already one more.
func (g *giver) linkTo(dir int, tmp string, w *wanted) (bool, error) {
	l := g.linked[w.id]
	if l == nil {
		return false, nil
	}
	var err error
	if l.pending != nil {
		err = g.hand.link(l.pending.dir, l.pending.tmp, dir, tmp)
	} else {
		var parent int
		if parent, err = openBeneath(g.live.fd, "."+path.Dir(l.at), unix.O_PATH|unix.O_DIRECTORY); err == nil {
			err = g.hand.link(parent, path.Base(l.at), dir, tmp)
			unix.Close(parent)
		}
	}
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EMLINK), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPERM):
		return false, nil // then it becomes a file of its own
	}
	return false, err
}
