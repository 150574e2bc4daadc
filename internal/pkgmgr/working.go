// Who is changing the packages of a system right now: the locks that package
// managers take, asked without taking any.

package pkgmgr

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/lockowner"
)

// Working is a package manager at work.
type Working struct {
	Owner lockowner.Owner
	Lock  string // the file that says so, as the system sees it
}

func (w Working) String() string { return fmt.Sprintf("%v holds %s", w.Owner, w.Lock) }

// locks are the files that say that somebody changes packages, relative to the
// root. Whoever only reads, or refreshes lists, is not in the way.
var locks = []struct {
	path string
	held func(*os.File) (lockowner.Owner, bool, error)
}{
	// apt has the first for as long as it works, dpkg the second.
	{"var/lib/dpkg/lock-frontend", lockowner.Writer},
	{"var/lib/dpkg/lock", lockowner.Writer},
	// rpm's, while it changes its database: also under dnf and zypper, which has
	// one of its own besides for as long as it works, in the file of its pid.
	{"usr/lib/sysimage/rpm/.rpm.lock", lockowner.Writer},
	{"var/lib/rpm/.rpm.lock", lockowner.Writer},
	{"run/zypp.pid", writtenPID},
	{"run/dnf/rpmtransaction.lock", lockowner.Writer},
	// pacman's is a file that is there. After a crash it stays: then nobody has it open.
	{"var/lib/pacman/db.lck", opened},
}

// AtWork finds a package manager that is changing the system at root; false
// where none is. A transaction has copies of these files, which nobody holds.
func AtWork(root string) (Working, bool, error) {
	t, err := openTree(root)
	if err != nil {
		return Working{}, false, fmt.Errorf("cannot look for a package manager at work: %w", err)
	}
	defer t.Close()
	for _, l := range locks {
		f, err := t.Open(l.path, unix.O_RDONLY|unix.O_NOATIME|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return Working{}, false, fmt.Errorf("cannot look for a package manager at work: %w", err)
		}
		owner, held, err := l.held(f)
		f.Close()
		if err != nil {
			return Working{}, false, fmt.Errorf("cannot look for a package manager at work: %w", err)
		}
		if held {
			return Working{Owner: owner, Lock: "/" + l.path}, true, nil
		}
	}
	return Working{}, false, nil
}

// writtenPID believes a file that names a process, while there is such a
// process: as libzypp does.
func writtenPID(f *os.File) (lockowner.Owner, bool, error) {
	text := make([]byte, 32)
	n, err := f.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return lockowner.Owner{}, false, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil || pid <= 0 {
		return lockowner.Owner{}, false, nil // it is emptied at the end
	}
	owner, there := lockowner.Process(pid)
	return owner, there, nil
}

func opened(f *os.File) (lockowner.Owner, bool, error) {
	owner, held := lockowner.User(f)
	return owner, held, nil
}
