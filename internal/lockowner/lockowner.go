// Package lockowner finds out who holds a lock on a file: for words that name a
// process instead of "in use".
package lockowner

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Owner is a process. The zero value is one that cannot be seen from here, such
// as one outside of our container.
type Owner struct {
	PID  int
	Name string // as ps shows it, of 15 characters at most
}

func (o Owner) String() string {
	switch {
	case o.PID == 0:
		return "a process that cannot be seen from here"
	case o.Name == "":
		return fmt.Sprintf("process %d", o.PID)
	}
	return fmt.Sprintf("%s (process %d)", o.Name, o.PID)
}

// Process describes a process; false where there is none with that id.
func Process(pid int) (Owner, bool) {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return Owner{}, false
	}
	return Owner{PID: pid, Name: string(bytes.TrimSpace(name))}, true
}

// Writer finds who holds a POSIX record lock for writing on any part of the file
// (fcntl(2), F_SETLK and F_OFD_SETLK). Asking takes no lock. Locks of our own
// process are not seen.
func Writer(f *os.File) (Owner, bool, error) {
	lock := unix.Flock_t{Type: unix.F_RDLCK} // all of it, and what is beyond
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return Owner{}, false, fmt.Errorf("cannot ask for locks on %s: %w", f.Name(), err)
	}
	switch {
	case lock.Type == unix.F_UNLCK:
		return Owner{}, false, nil
	case lock.Pid > 0:
		owner, _ := Process(int(lock.Pid))
		owner.PID = int(lock.Pid)
		return owner, true, nil
	}
	// One of an open file, which several processes may share: any of them will do.
	owner, _ := User(f)
	return owner, true, nil
}

// Flock finds who holds a lock of flock(2) on the file; false where nobody does
// or it cannot be told.
func Flock(f *os.File) (Owner, bool) {
	st, err := f.Stat()
	if err != nil {
		return Owner{}, false
	}
	var sys unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &sys); err != nil {
		return Owner{}, false
	}
	suffix := fmt.Sprintf(":%d", sys.Ino)
	table, err := os.ReadFile("/proc/locks")
	if err != nil {
		return Owner{}, false
	}
	for line := range strings.Lines(string(table)) {
		// "1: FLOCK ADVISORY WRITE 4711 00:2a:257 0 EOF". On btrfs the device is not that of stat.
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || !strings.HasSuffix(fields[5], suffix) {
			continue
		}
		if pid, err := strconv.Atoi(fields[4]); err == nil && uses(pid, st) {
			return Process(pid)
		}
	}
	return Owner{}, false
}

// User finds a process that has the file open, another than ours.
func User(f *os.File) (Owner, bool) {
	st, err := f.Stat()
	if err != nil {
		return Owner{}, false
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return Owner{}, false
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && pid != os.Getpid() && uses(pid, st) {
			return Process(pid)
		}
	}
	return Owner{}, false
}

// uses reports whether a process has the file open.
func uses(pid int, st fs.FileInfo) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		return false // it has ended
	}
	for _, n := range names {
		if found, err := os.Stat(filepath.Join(dir, n.Name())); err == nil && os.SameFile(found, st) {
			return true
		}
	}
	return false
}
