// Which files are checks.

package health

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/leftover"
)

// script is a check that is a program.
type script struct {
	name, path string
	broken     string // why it cannot run, "" where it can
}

// find lists the checks of a kind by name, with notes about files that are none.
// What stands there and cannot run is among them: it must not pass unseen.
func find(root string, dirs []string, kind Kind) (scripts []script, notes []string) {
	byName := map[string]script{}
	for _, dir := range dirs {
		dir = filepath.Join(root, dir, string(kind)+".d")
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			byName[dir] = script{name: dir, broken: "cannot list the checks: " + reason(err)}
		}
		for _, entry := range entries {
			name, path := entry.Name(), filepath.Join(dir, entry.Name())
			if why := noCheck(name); why != "" {
				notes = append(notes, path+" is not run: "+why)
				continue
			}
			byName[name] = look(name, path)
			if byName[name].path == os.DevNull {
				notes = append(notes, fmt.Sprintf("%s is masked by %s", name, path))
				delete(byName, name)
			}
		}
	}
	for _, s := range byName {
		scripts = append(scripts, s)
	}
	slices.SortFunc(scripts, func(a, b script) int { return strings.Compare(a.name, b.name) })
	return scripts, notes
}

// noCheck says why a file of that name is none.
func noCheck(name string) string {
	if strings.HasPrefix(name, ".") {
		return "its name is hidden"
	}
	if by := leftover.By(name); by != "" {
		return "it looks like a copy that " + by + " left"
	}
	return ""
}

// look finds out whether a file can run. A mask has the path of the null device.
func look(name, path string) script {
	s := script{name: name, path: path}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		s.broken = "cannot be run: " + reason(err)
	case isNull(info):
		s.path = os.DevNull
	case !info.Mode().IsRegular():
		s.broken = "is not a file that can be run"
	case info.Mode()&0o111 == 0:
		s.broken = fmt.Sprintf("is not executable (chmod +x %[1]s; to mask it: ln -sf /dev/null %[1]s)", path)
	}
	return s
}

func isNull(info fs.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}

// reason leaves out the path, which is said already.
func reason(err error) string {
	var in *fs.PathError
	if errors.As(err, &in) {
		err = in.Err
	}
	return err.Error()
}
