// The journal's file as a whole: created, locked, set aside, compacted. A file
// appears under its name complete or not at all.

package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/lockowner"
)

const lockRetry = 20 * time.Millisecond

// lockOrCreate opens the file at path and locks it, after creating it if there is none.
func lockOrCreate(path string, timeout time.Duration) (*os.File, error) {
	f, err := lock(path, timeout)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := create(path, timeout); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot create %s: %w", path, err)
	}
	return lock(path, timeout)
}

// lock opens the file at path and takes the lock that bbolt uses. It waits up to timeout.
func lock(path string, timeout time.Duration) (*os.File, error) {
	deadline := time.Now().Add(timeout)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		if err := flock(f, deadline, timeout); err != nil {
			f.Close()
			return nil, err
		}
		// Whoever had the lock may have put another file in its place.
		if isAt(f, path) {
			return f, nil
		}
		f.Close()
	}
}

func flock(f *os.File, deadline time.Time, timeout time.Duration) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("cannot lock %s: %w", f.Name(), err)
		case !time.Now().Before(deadline):
			if owner, ok := lockowner.Flock(f); ok {
				return fmt.Errorf("%w: waited %v for %s, which %v has", ErrLocked, timeout, f.Name(), owner)
			}
			return fmt.Errorf("%w: waited %v for %s", ErrLocked, timeout, f.Name())
		}
		time.Sleep(lockRetry)
	}
}

func isAt(f *os.File, path string) bool {
	mine, err1 := f.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}

// create makes an empty journal at path; fs.ErrExist if there is something.
func create(path string, timeout time.Duration) error {
	return replace(path, timeout, false, func(db *bbolt.DB) error {
		return populate(db, path, func(tx *Tx) error {
			id := rand.Text()
			if err := tx.putMetaJSON(metaSchema, schema{Major: schemaMajor, Minor: schemaMinor}); err != nil {
				return err
			}
			if err := tx.putMetaJSON(metaID, id); err != nil {
				return err
			}
			return tx.putMetaJSON(metaHead, Head{Journal: id, Hash: genesis(id)})
		})
	})
}

// populate makes the buckets of the journal that will be at path and puts its first content into them, in one commit.
func populate(db *bbolt.DB, path string, fill func(*Tx) error) error {
	pack, err := newPacker()
	if err != nil {
		return err
	}
	defer pack.close()
	return db.Update(func(b *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := b.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		tx := &Tx{j: &Journal{path: path, pack: pack}, b: b}
		if err := tx.open(); err != nil {
			return err
		}
		return fill(tx)
	})
}

// noCopyOnWrite is FS_NOCOW_FL of linux/fs.h.
const noCopyOnWrite = 0x00800000

// overwritten makes the empty file one that is overwritten in place where the
// file system would write each change elsewhere (btrfs): bbolt writes aside and
// checks its pages by itself, and a commit costs about half. Only an empty file
// can become such a one; where that is not known the file stays as it is.
func overwritten(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		// Elsewhere the flag is refused or has no meaning, and nothing is lost by that.
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|noCopyOnWrite)
	}
	return nil
}

// genesis stands for the hash of the event before the first one.
func genesis(id string) string { return sum([]byte(id)) }

// replace fills a new file beside path and renames it there, over what is there or only if there is nothing:
// power loss while bbolt makes a file can leave one that it cannot open. One at a time does so in a directory.
func replace(path string, timeout time.Duration, over bool, fill func(*bbolt.DB) error) (err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := flock(dir, time.Now().Add(timeout), timeout); err != nil {
		return err
	}
	if err := removeLeftovers(path); err != nil {
		return err
	}
	temporary := path + temporaryMark + rand.Text()
	if err := overwritten(temporary); err != nil {
		return err
	}
	db, err := bbolt.Open(temporary, 0o600, &bbolt.Options{
		Timeout: time.Second, FreelistType: bbolt.FreelistMapType, PageSize: pageSize,
	})
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, db.Close()); err != nil {
			os.Remove(temporary) // gone already if it was renamed
		}
	}()
	if err := fill(db); err != nil {
		return err
	}
	if err := db.Sync(); err != nil {
		return err
	}
	rename := renameNew
	if over {
		rename = os.Rename
	}
	if err := failpoint.Around("journal/file", func() error { return rename(temporary, path) }); err != nil {
		return err
	}
	return dir.Sync()
}

// pageSize is what new files get. bbolt fills pages of appended values that are a quarter of a page only by half,
// which a larger page mends: records, events and filters are about a kilobyte each.
const pageSize = 8 << 10

const temporaryMark = ".new-"

// removeLeftovers removes temporary files whose maker is gone.
func removeLeftovers(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), filepath.Base(path)+temporaryMark) {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// renameNew renames without replacing; fs.ErrExist.
func renameNew(from, to string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// SetAside renames a damaged journal to path.damaged-TIME and returns that
// name; then Open makes a new one. ErrLocked if somebody uses it.
func SetAside(path string) (aside string, err error) {
	f, err := lock(path, defaultTimeout)
	if err != nil {
		return "", fmt.Errorf("cannot set the journal aside: %w", err)
	}
	defer f.Close()
	aside, err = keep(path, "damaged-"+time.Now().UTC().Format("20060102T150405Z"), renameNew)
	if err != nil {
		return "", fmt.Errorf("cannot set the journal aside: %w", err)
	}
	return aside, nil
}

// keep moves the file at path to path.SUFFIX, or path.SUFFIX-2 and so on where that is taken.
func keep(path, suffix string, move func(from, to string) error) (string, error) {
	for i := 1; ; i++ {
		to := path + "." + suffix
		if i > 1 {
			to += fmt.Sprintf("-%d", i)
		}
		err := move(path, to)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		return to, syncDir(filepath.Dir(path))
	}
}

// compactStep bounds the memory of one step of Compact.
const compactStep = 8 << 20

// Compact rewrites a journal that nobody has open without its free space:
// bbolt's files never shrink. A cut in the middle leaves the old file.
func Compact(path string, o Options) error {
	o = o.withDefaults()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	f, err := lock(path, o.Timeout)
	if err != nil {
		return fmt.Errorf("cannot compact the journal: %w", err)
	}
	j, err := openLocked(path, f, o)
	if err != nil {
		f.Close()
		return fmt.Errorf("cannot compact the journal: %w", err)
	}
	err = replace(path, o.Timeout, true, func(db *bbolt.DB) error { return compactInto(db, j) })
	if err := errors.Join(err, j.Close()); err != nil {
		return fmt.Errorf("cannot compact the journal %s: %w", path, err)
	}
	return nil
}

func compactInto(db *bbolt.DB, j *Journal) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &DamagedError{Path: j.path, Reason: fmt.Sprint(p)}
		}
	}()
	return bbolt.Compact(db, j.db, compactStep)
}
