// A directory as it stands, without layers: what was before, what is live, and
// what an undo gives back.

package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// before is a directory as the transaction found it.
type before interface {
	// look says what is under a name.
	look(name string) (state, error)
	// names lists what is in it, sorted, without files that a hand-over left half done.
	names() ([]string, error)
	// enter opens a directory in it.
	enter(name string) (before, error)
	// has reports whether there is something at a relative path.
	has(path string) bool
	close()
}

// plain is an open directory.
type plain struct {
	ctx context.Context
	fd  int
	// major and minor are its device: a subvolume inside of it has another one.
	major, minor uint32
}

var _ before = (*plain)(nil)

// openPlain opens the top of a tree.
func openPlain(ctx context.Context, dir string) (*plain, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOATIME | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS,
	}
	fd := -1
	err := again(func() (err error) {
		fd, err = unix.Openat2(unix.AT_FDCWD, dir, &how)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	return newPlain(ctx, fd)
}

// newPlain takes over an open directory.
func newPlain(ctx context.Context, fd int) (*plain, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot examine a directory: %w", err)
	}
	return &plain{ctx: ctx, fd: fd, major: st.Dev_major, minor: st.Dev_minor}, nil
}

func (p *plain) close() { unix.Close(p.fd) }

func (p *plain) look(name string) (state, error) {
	s, _, _, err := p.lookAll(name)
	return s, err
}

// lookAll returns everything that is known of a name.
func (p *plain) lookAll(name string) (state, unix.Statx_t, map[string]string, error) {
	s, st, extended, err := examine(p.fd, name)
	if err != nil {
		return s, st, nil, err
	}
	if s.kind == unix.S_IFREG {
		s.content = contentOf(p.ctx, p.fd, name, s.size)
	}
	// The root of a subvolume: BTRFS_FIRST_FREE_OBJECTID of linux/btrfs_tree.h.
	const subvolumeRoot = 256
	if s.isDir() && !s.mounted && st.Ino == subvolumeRoot && (st.Dev_major != p.major || st.Dev_minor != p.minor) {
		s.nested = true
	}
	return s, st, extended, nil
}

func (p *plain) names() ([]string, error) {
	names, err := list(p.fd)
	return slices.DeleteFunc(names, isTemporary), err
}

func (p *plain) enter(name string) (before, error) { return p.sub(name) }

// sub is enter for those who need the descriptor.
func (p *plain) sub(name string) (*plain, error) {
	fd, err := openBeneath(p.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NOATIME)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", name, err)
	}
	return newPlain(p.ctx, fd)
}

func (p *plain) has(path string) bool {
	fd, err := openBeneath(p.fd, path, unix.O_PATH)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// list reads the names in an open directory.
func list(fd int) ([]string, error) {
	// A directory is read from where its descriptor stands.
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, fmt.Errorf("cannot list a directory: %w", err)
	}
	var names []string
	buffer := make([]byte, 64<<10)
	for {
		n, err := unix.ReadDirent(fd, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot list a directory: %w", err)
		}
		if n <= 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buffer[:n], -1, names)
	}
}

// nothing is a directory that was not there.
type nothing struct{}

var _ before = nothing{}

func (nothing) look(string) (state, error)   { return state{}, nil }
func (nothing) names() ([]string, error)     { return nil, nil }
func (nothing) enter(string) (before, error) { return nothing{}, nil }
func (nothing) has(string) bool              { return false }
func (nothing) close()                       {}

// inside opens a directory of the before side, which is nothing where it was none.
func inside(b before, name string, s *state) (before, error) {
	if !s.isDir() || s.mounted {
		return nothing{}, nil
	}
	return b.enter(name)
}

// sameTree reports whether everything below two directories is the same, and
// busy to nobody. reason says why not.
func sameTree(was before, is *plain, use usage) (reason string, err error) {
	left, err := was.names()
	if err != nil {
		return "", err
	}
	right, err := is.names()
	if err != nil {
		return "", err
	}
	if !slices.Equal(left, right) {
		return changed, nil
	}
	for _, name := range left {
		if err := is.ctx.Err(); err != nil {
			return "", context.Cause(is.ctx)
		}
		if reason, err = sameEntry(was, is, name, use); reason != "" || err != nil {
			return reason, err
		}
	}
	return "", nil
}

func sameEntry(was before, is *plain, name string, use usage) (reason string, err error) {
	b, err := was.look(name)
	if err != nil {
		return "", err
	}
	l, err := is.look(name)
	if err != nil {
		return "", err
	}
	if reason = untouchable(&l, use); reason != "" {
		return reason, nil
	}
	if ok, err := same(&l, &b); !ok || err != nil {
		return changed, err
	}
	if !l.isDir() {
		return "", nil
	}
	inB, err := was.enter(name)
	if err != nil {
		return "", err
	}
	defer inB.close()
	inL, err := is.sub(name)
	if err != nil {
		return "", err
	}
	defer inL.close()
	return sameTree(inB, inL, use)
}

// Reasons that rows give.
const (
	changed = "the live side changed it"
	gone    = "the live side removed it"
	// of a directory
	changedAttributes = "the live side changed its mode, owner or attributes"
	appeared          = "the live side made its own"
	inUse             = "it is in use"
	isSocket          = "it is a socket"
	isSubvolume       = "it is a subvolume of its own"
	isMountPoint      = "something is mounted there"
	isSealed          = "its directory cannot be changed (chattr +i or +a)"
)

// untouchable says why the live side's file must stay, whatever else is true of it.
func untouchable(l *state, use usage) string {
	switch {
	case l.mounted:
		return isMountPoint
	case l.nested:
		return isSubvolume
	case l.kind == unix.S_IFSOCK:
		return isSocket
	case use.of(l.id):
		return inUse
	}
	return ""
}
