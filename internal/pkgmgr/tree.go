// Reading files below a root that is not trusted.

package pkgmgr

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/txupd/txupd/internal/inroot"
)

// maxFile is far above what a package database's files grow to (bytes). It is
// read whole, and anybody may ask for that.
const maxFile = 128 << 20

type tree struct{ *inroot.Root }

func openTree(path string) (*tree, error) {
	r, err := inroot.Open(path)
	if err != nil {
		return nil, err
	}
	return &tree{r}, nil
}

// read returns a regular file's content.
func (t *tree) read(name string) ([]byte, error) { return t.ReadFile(name, maxFile) }

// readIfThere is read, with nothing for a file that does not exist.
func (t *tree) readIfThere(name string) ([]byte, error) {
	data, err := t.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// names lists a directory, sorted.
func (t *tree) names(dir string) ([]string, error) { return t.Names(dir) }

// isFile reports whether name leads to something that is not a directory.
func (t *tree) isFile(name string) bool {
	info, err := t.Stat(name)
	return err == nil && !info.IsDir()
}

// isRealDir reports whether name is a directory and no link to one.
func (t *tree) isRealDir(name string) bool {
	info, err := t.Lstat(name)
	return err == nil && info.IsDir()
}

// aliases are the directories of the root that merged-/usr made links of:
// packages may say /bin/sh for what lies at /usr/bin/sh.
func (t *tree) aliases() aliases {
	merged := aliases{}
	for _, dir := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"} {
		target, err := t.Readlink(dir)
		if err != nil {
			continue
		}
		if to := strings.Trim(target, "/"); strings.HasPrefix(to, "usr/") {
			merged["/"+dir] = "/" + to
		}
	}
	return merged
}

type aliases map[string]string

// real returns where path lies. It allocates only for an alias.
func (a aliases) real(path string) string {
	if len(path) < 2 || path[0] != '/' {
		return path
	}
	end := strings.IndexByte(path[1:], '/') + 1
	if end == 0 {
		end = len(path)
	}
	if to, ok := a[path[:end]]; ok {
		return to + path[end:]
	}
	return path
}
