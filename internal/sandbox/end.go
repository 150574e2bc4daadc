// Ending what a daemon that was killed left running. The kernel ends it too,
// but not at once, and until then it could write.

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// endTimeout is how long killed processes have to be gone.
const endTimeout = 20 * time.Second

// End kills every process that has dir as its root directory, and returns when
// none is left. A directory that is missing has none.
func End(dir string) error {
	var st, own unix.Stat_t
	if err := unix.Lstat(dir, &st); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("cannot examine %s: %w", dir, err)
	}
	if err := unix.Stat("/", &own); err != nil {
		return fmt.Errorf("cannot examine our own root: %w", err)
	}
	if st.Dev == own.Dev && st.Ino == own.Ino {
		return fmt.Errorf("internal error: the processes of the running system at %s were to be killed", dir)
	}
	deadline := time.Now().Add(endTimeout)
	for {
		found, err := rootedIn(st.Dev, st.Ino)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, pid := range found {
			if err := endProcess(pid, deadline); err != nil {
				return fmt.Errorf("cannot end process %d, which is left in %s: %w", pid, dir, err)
			}
		}
	}
}

// rootedIn lists the processes with that root directory.
func rootedIn(device, inode uint64) ([]int, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, name := range names {
		var st unix.Stat_t
		if unix.Stat(name+"/root", &st) != nil || st.Dev != device || st.Ino != inode {
			continue // another one, or it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil || pid == os.Getpid() {
			continue
		}
		found = append(found, pid)
	}
	return found, nil
}

// endProcess kills a process and waits until it has ended.
func endProcess(pid int, deadline time.Time) error {
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(handle)
	if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for {
		left := time.Until(deadline)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}, max(int(left.Milliseconds()), 0))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("it did not end within %v", endTimeout)
		}
		return nil
	}
}
