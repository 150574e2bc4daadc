// Which files are in use: what some process writes must not be taken from
// under it.

package handover

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/swapfile"
)

// usage are the files that a process has open for writing, locked or mapped
// so that it can write, active swap files, and files that a loop device writes
// to. Who only reads keeps what was read when the name gets another file.
type usage map[fileID]bool

func (u usage) of(id fileID) bool { return u[id] }

// look adds the file at a path, where it is one of those that can be in use.
func (u usage) look(path string) {
	var st unix.Statx_t
	// What is on a server is not asked of it: a dead one would keep us.
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_INO, &st); err != nil {
		return // it has ended
	}
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFIFO:
		u[fileID{st.Dev_major, st.Dev_minor, st.Ino}] = true
	}
}

// usageNow asks every process but this one; it needs CAP_SYS_PTRACE. proc is
// where procfs is mounted, sys sysfs.
func usageNow(proc, sys string) (usage, error) {
	u := usage{}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("cannot find out which files are in use: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if err := u.process(filepath.Join(proc, e.Name())); err != nil && !passed(err) {
			return nil, fmt.Errorf("cannot find out which files process %d uses: %w", pid, err)
		}
	}
	u.swapFiles(filepath.Join(proc, "swaps"))
	u.loopDevices(sys)
	return u, nil
}

// passed reports an error that means that the process is gone, or a part of it,
// or that a security module hides it even from root.
func passed(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrPermission)
}

func (u usage) process(dir string) error {
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return err
	}
	for _, fd := range fds {
		info, err := os.ReadFile(filepath.Join(dir, "fdinfo", fd.Name()))
		if err != nil {
			if passed(err) {
				continue
			}
			return err
		}
		if writes(string(info)) {
			u.look(filepath.Join(dir, "fd", fd.Name()))
		}
	}
	return u.mappings(dir)
}

// writes reads what fdinfo says of a descriptor: proc(5).
func writes(info string) bool {
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "flags":
			flags, err := strconv.ParseUint(strings.TrimSpace(value), 8, 64)
			if err != nil || flags&unix.O_PATH == 0 && flags&unix.O_ACCMODE != unix.O_RDONLY {
				return true
			}
		case "lock":
			return true
		}
	}
	return false
}

// mappings adds what is mapped shared and writable: its descriptor may be closed.
func (u usage) mappings(dir string) error {
	file, err := os.Open(filepath.Join(dir, "maps"))
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && strings.HasPrefix(fields[1], "rw") && strings.HasSuffix(fields[1], "s") && fields[4] != "0" {
			// The device in this table is not that of a btrfs subvolume; the link's target has it right.
			u.look(filepath.Join(dir, "map_files", fields[0]))
		}
	}
	return lines.Err()
}

// swapFiles adds what the kernel writes by itself.
func (u usage) swapFiles(table string) {
	files, _ := swapfile.Active(table) // a kernel without swap has no table
	for _, file := range files {
		u.look(file)
	}
}

func (u usage) loopDevices(sys string) {
	backing, _ := filepath.Glob(filepath.Join(sys, "block/loop*/loop/backing_file")) // the pattern is a good one
	for _, file := range backing {
		name, err := os.ReadFile(file)
		if err != nil {
			continue // detached just now
		}
		if ro, err := os.ReadFile(filepath.Join(filepath.Dir(file), "../ro")); err == nil && strings.TrimSpace(string(ro)) == "1" {
			continue
		}
		u.look(strings.TrimSuffix(string(name), "\n"))
	}
}
