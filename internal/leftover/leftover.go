// Package leftover knows the names under which editors and package managers
// leave copies of files in directories whose every file counts.
package leftover

import (
	"path"
	"slices"
	"strings"
)

// By says who leaves files of that name behind, "" where it is a name like others.
func By(name string) string {
	switch ext := path.Ext(name); {
	case strings.HasPrefix(ext, ".dpkg-"), strings.HasPrefix(ext, ".ucf-"), strings.HasPrefix(ext, ".rpm"), strings.HasPrefix(ext, ".pac"):
		return "the package manager"
	case strings.HasSuffix(name, "~"), slices.Contains([]string{".bak", ".old", ".orig", ".save", ".swp"}, ext):
		return "an editor or a person"
	}
	return ""
}
