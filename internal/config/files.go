// Finding and reading the files. Paths are resolved below the root as the
// served system itself would, absolute links included.

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/leftover"
)

// maxFile is far above what anybody writes by hand (bytes).
const maxFile = 1 << 20

// file is one that was read.
type file struct {
	name string // as people see it, with the root
	text []byte
}

// readAll reads every file there is, earlier ones first, and says which could
// not be read or would be overlooked.
func readAll(root string) (files []file, problems []error) {
	add := func(rel string, listed bool) {
		name := filepath.Join(root, rel)
		text, err := read(root, rel)
		switch {
		case err == nil:
			files = append(files, file{name, text})
		case errors.Is(err, fs.ErrNotExist) && !listed && !there(name):
		default:
			problems = append(problems, &Error{File: name, What: "cannot be read: " + reason(err)})
		}
	}
	add(VendorFile, false)
	add(AdminFile, false)
	names, err := list(root, AdminDir)
	if err != nil {
		problems = append(problems, &Error{File: filepath.Join(root, AdminDir), What: "cannot be listed: " + reason(err)})
	}
	for _, name := range names {
		rel := path.Join(AdminDir, name)
		if why := overlooked(name); why != "" {
			problems = append(problems, &Error{File: filepath.Join(root, rel), What: "is not read: " + why})
			continue
		}
		add(rel, true)
	}
	return files, problems
}

// overlooked says why a file in a conf.d is not one of ours, "" for one that is.
func overlooked(name string) string {
	if path.Ext(name) == ".toml" {
		return ""
	}
	if by := leftover.By(name); by != "" {
		return fmt.Sprintf("it looks like a copy that %s left: compare it with the original and remove it", by)
	}
	return "only names that end in .toml are: rename it or move it away"
}

// list returns the names in a directory, sorted; none where it is not there.
// Hidden ones are left out: editors keep their locks under such names, and
// nobody expects one to be read.
func list(root, dir string) ([]string, error) {
	f, err := open(root, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) && !there(filepath.Join(root, dir)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, ".") })
	slices.Sort(names)
	return names, err
}

// there tells a link that leads nowhere from nothing at all.
func there(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func read(root, rel string) ([]byte, error) {
	// O_NONBLOCK: a pipe in that place must not hang us.
	f, err := open(root, rel, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return text, err
}

func open(root, rel string, flags uint64) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the root %s: %w", root, err)
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(dir, rel, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), rel), nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN): // EAGAIN: something was renamed while the kernel looked
		default:
			return nil, err
		}
	}
}

// reason leaves out the path, which the Error names already.
func reason(err error) string {
	var in *fs.PathError
	if errors.As(err, &in) {
		err = in.Err
	}
	return err.Error()
}
