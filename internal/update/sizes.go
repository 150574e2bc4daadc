// How much a transaction wrote, and how much it replaced.

package update

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/journal/record"
)

// measure sums up the sizes of changed files on both sides. What cannot be
// looked at counts nothing: it spoils no commit.
func (t *Transaction) measure(before, after string, files []record.FileChange) {
	sizes := record.Sizes{
		Written:  sizeOf(after, files, record.Removed),
		Replaced: sizeOf(before, files, record.Added),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec.Sizes = &sizes
}

// sizeOf sums up the files below dir that are listed with another change than the given one.
func sizeOf(dir string, files []record.FileChange, except string) (sum int64) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{} // with more than one name
	for _, f := range files {
		var st unix.Stat_t
		if f.Change == except || unix.Fstatat(fd, strings.TrimPrefix(f.Path, "/"), &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if st.Nlink > 1 {
			id := inode{uint64(st.Dev), st.Ino}
			if seen[id] {
				continue
			}
			seen[id] = true
		}
		sum += st.Size
	}
	return sum
}
