// Files below a root that is not trusted.

package boot

import (
	"io/fs"
	"os"

	"github.com/txupd/txupd/internal/inroot"
)

// maxText is far above what a loader's text files grow to (bytes).
const maxText = 16 << 20

type tree struct{ *inroot.Root }

func openTree(root string) (*tree, error) {
	r, err := inroot.Open(root)
	if err != nil {
		return nil, err
	}
	return &tree{r}, nil
}

func (t *tree) open(name string, flags int) (*os.File, error)   { return t.Open(name, flags, 0) }
func (t *tree) resolve(name string) (string, error)             { return t.Resolve(name) }
func (t *tree) place(f *os.File) (string, error)                { return t.Place(f) }
func (t *tree) file(name string) (*os.File, fs.FileInfo, error) { return t.File(name) }
func (t *tree) read(name string) ([]byte, error)                { return t.ReadFile(name, maxText) }
func (t *tree) mode(name string) fs.FileMode                    { return t.Mode(name) }
func (t *tree) isFile(name string) bool                         { return t.mode(name).IsRegular() }
func (t *tree) isDir(name string) bool                          { return t.mode(name).IsDir() }

// names lists a directory, sorted; one that is not there has none.
func (t *tree) names(dir string) ([]string, error) {
	names, err := t.Names(dir)
	if absent(err) {
		return nil, nil
	}
	return names, err
}
