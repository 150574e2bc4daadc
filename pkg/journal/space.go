// A journal on a full file system: how a transaction ended, and what was deleted
// to make room, is recorded all the same.

package journal

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// allocate gives the file blocks for what is used and growStep beyond, once half
// of that is used up: more than a change takes that ends a transaction. bbolt by
// itself makes the file longer and no more, and the blocks are missing when
// something is written there. Where there are none to be had now, a change may
// still find what it needs.
func (j *Journal) allocate(used int64) {
	if used+growStep/2 <= j.allocated {
		return
	}
	end := used + growStep
	err := unix.Fallocate(int(j.file.Fd()), 0, 0, end)
	if err == nil || errors.Is(err, unix.EOPNOTSUPP) { // then it is not asked for again and again
		j.allocated = end
		return
	}
	j.log.Warn("no space could be allocated ahead for the journal", "path", j.path, "err", err)
}

// size is how long the file is, 0 where that cannot be told.
func (j *Journal) size() int64 {
	info, err := j.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// holds reports whether the change of attempt id is in the file, although it
// failed: only the flush did. Not known counts as yes.
func (j *Journal) holds(id int) bool {
	b, err := j.begin(false)
	if err != nil {
		return true
	}
	defer j.end(&Tx{j: j, b: b})
	return b.ID() >= id
}

// shrink takes back by how much a change made the file longer that failed: on a
// full file system those may be the last blocks.
func (j *Journal) shrink(size int64) {
	if size == 0 || j.size() <= size {
		return
	}
	if err := j.file.Truncate(size); err != nil {
		j.log.Warn("cannot take back what a failed change made the journal longer", "path", j.path, "err", err)
	}
}

// asNoSpace restores the kind of an error of which bbolt kept the words alone.
func asNoSpace(err error) error {
	if err != nil && !errors.Is(err, syscall.ENOSPC) && strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return fmt.Errorf("%w (%w)", err, syscall.ENOSPC)
	}
	return err
}

// again tries a change once more of which attempt id failed. It may be in the
// file all the same: then only the flush failed, and it must not be made twice.
func (j *Journal) again(id int, fn func(*Tx) error) error {
	if !j.holds(id) {
		_, err := j.update(fn)
		return err
	}
	if err := j.db.Sync(); err != nil {
		return fmt.Errorf("cannot write the journal %s: %w", j.path, err)
	}
	j.commits.Add(1)
	return nil
}
