// Finding and reading the files, below the root as the served system itself
// would find them.

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/inroot"
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
	r, err := inroot.Open(root)
	if err != nil {
		return nil, []error{&Error{File: root, What: "cannot be read: " + reason(err)}}
	}
	defer r.Close()
	add := func(rel string, listed bool) {
		name := filepath.Join(root, rel)
		text, err := r.ReadFile(rel, maxFile)
		switch {
		case err == nil:
			files = append(files, file{name, text})
		case errors.Is(err, fs.ErrNotExist) && !listed && !there(r, rel):
		default:
			problems = append(problems, &Error{File: name, What: "cannot be read: " + reason(err)})
		}
	}
	add(VendorFile, false)
	add(AdminFile, false)
	names, err := list(r, AdminDir)
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
func list(r *inroot.Root, dir string) ([]string, error) {
	names, err := r.Names(dir)
	if errors.Is(err, fs.ErrNotExist) && !there(r, dir) {
		return nil, nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, ".") }), err
}

// there tells a link that leads nowhere from nothing at all.
func there(r *inroot.Root, name string) bool {
	_, err := r.Lstat(name)
	return err == nil
}

// reason leaves out the path, which the Error names already.
func reason(err error) string {
	var in *fs.PathError
	if errors.As(err, &in) {
		err = in.Err
	}
	return err.Error()
}
