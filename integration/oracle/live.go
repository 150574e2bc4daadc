// What runs: mounts in every mount namespace, and processes in snapshots.

package oracle

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
)

// Mount is one mount that has to do with the file system that is judged: it is
// of it, or below the root.
type Mount struct {
	// Namespace is the mount namespace's inode, 0 for that of the looking
	// process, and PID a process in it.
	Namespace uint64 `json:"namespace,omitempty"`
	PID       int    `json:"pid,omitempty"`
	Point     string `json:"point"`
	// Root is the part of the file system that is mounted, from its top level.
	Root   string `json:"root"`
	Type   string `json:"type"`
	Source string `json:"source"`
	Device string `json:"device"` // major:minor
}

// Process is one whose root or working directory lies in a subvolume.
type Process struct {
	PID       int    `json:"pid"`
	Name      string `json:"name"`
	Uses      string `json:"uses"` // "root" or "cwd"
	Subvolume uint64 `json:"subvolume"`
}

// mountsOf reads /proc/PID/mountinfo (proc_pid_mountinfo(5)).
func mountsOf(pid string) ([]Mount, error) {
	file, err := os.Open(filepath.Join("/proc", pid, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var found []Mount
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 1 {
			return nil, fmt.Errorf("cannot read the line %q of %s", lines.Text(), file.Name())
		}
		m := Mount{Device: left[2], Root: unescapeMount(left[3]), Point: unescapeMount(left[4]), Type: right[0]}
		if len(right) > 1 {
			m.Source = unescapeMount(right[1])
		}
		found = append(found, m)
	}
	return found, lines.Err()
}

// unescapeMount undoes the octal escapes for white space and backslashes.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mounts lists those of the file system in every mount namespace, and in our
// own also whatever is mounted below the root.
func mounts(f *Facts) ([]Mount, error) {
	own, err := mountsOf("self")
	if err != nil {
		return nil, err
	}
	var found []Mount
	device := ""
	for _, m := range own {
		if m.Point == f.Root {
			device = m.Device
		}
	}
	for _, m := range own {
		if m.Device == device || within(m.Point, f.Root) && f.Root != "/" {
			found = append(found, m)
		}
	}
	seen := map[uint64]bool{}
	if self, err := namespaceOf("self"); err == nil {
		seen[self] = true
	}
	pids, err := processIDs()
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		namespace, err := namespaceOf(strconv.Itoa(pid))
		if err != nil || seen[namespace] {
			continue // it has ended, or shares its namespace with another
		}
		inside, err := mountsOf(strconv.Itoa(pid))
		if err != nil {
			continue // it has ended
		}
		seen[namespace] = true
		for _, m := range inside {
			if m.Device == device {
				m.Namespace, m.PID = namespace, pid
				found = append(found, m)
			}
		}
	}
	return found, nil
}

// bootID is the kernel's name for this boot.
func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)), err
}

func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

func namespaceOf(pid string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(filepath.Join("/proc", pid, "ns/mnt"), &st)
	return st.Ino, err
}

func processIDs() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// processes lists those whose root or working directory lies on the file
// system, in another subvolume than those of whoever looks.
func processes(f *Facts) ([]Process, error) {
	pids, err := processIDs()
	if err != nil {
		return nil, err
	}
	known := map[uint64]uint64{} // subvolumes by device number, 0 for other file systems
	var found []Process
	for _, pid := range pids {
		for _, link := range []string{"root", "cwd"} {
			dir := fmt.Sprintf("/proc/%d/%s", pid, link)
			var st unix.Stat_t
			if err := unix.Stat(dir, &st); err != nil {
				continue // it has ended, or is the kernel's own
			}
			id, ok := known[st.Dev]
			if !ok {
				if id, err = subvolumeIn(f, dir); err != nil {
					return nil, err
				}
				known[st.Dev] = id
			}
			if id != 0 && id != f.Booted.ID {
				name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
				found = append(found, Process{PID: pid, Name: strings.TrimSpace(string(name)), Uses: link, Subvolume: id})
			}
		}
	}
	return found, nil
}

// subvolumeIn is the subvolume of our file system that a directory lies in, 0 for another file system.
func subvolumeIn(f *Facts, dir string) (uint64, error) {
	file, err := openDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &st); err != nil {
		return 0, err
	}
	if st.Type != unix.BTRFS_SUPER_MAGIC {
		return 0, nil
	}
	if uuid, err := kernelUUID(file); err != nil || uuid != f.kernelUUID {
		return 0, err
	}
	return subvolumeOf(file)
}
