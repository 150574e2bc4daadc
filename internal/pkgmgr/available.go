// Which packages could be added: the names in the lists that were read last.

package pkgmgr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// CheckPrefix refuses what no accepted name begins with, with an *InvalidNameError.
func CheckPrefix(prefix string) error {
	if reason := invalid(prefix + "x"); prefix != "" && reason != "" {
		return &InvalidNameError{Name: prefix, Reason: reason}
	}
	return nil
}

// Available asks apt-cache, which makes its index in memory where there is none.
func (apt) Available(ctx context.Context, root Root, prefix string) ([]string, error) {
	argv := []string{"apt-cache", "-q", "pkgnames", "--", prefix}
	out, status, err := root.Run(ctx, argv)
	if err == nil && status != 0 {
		err = fmt.Errorf("apt-cache ended with status %d", status)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the package lists: %w", err)
	}
	return beginning(strings.Split(string(out), "\n"), prefix), nil
}

// solvIndexes is where zypper keeps a list of the packages of each repository
// for the shells: a line each, with name, version and architecture between tabs.
// Source: the bash completion that comes with it.
const solvIndexes = "var/cache/zypp/solv"

// Available reads zypper's lists for the shells, which it writes at each refresh.
func (zypper) Available(_ context.Context, root Root, prefix string) ([]string, error) {
	t, err := openTree(root.Dir)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	repositories, err := t.names(solvIndexes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the package lists: %w", err)
	}
	var names []string
	for _, r := range repositories {
		if r == "@System" { // what is installed
			continue
		}
		list, err := t.readIfThere(path.Join(solvIndexes, r, "solv.idx"))
		if err != nil {
			return nil, fmt.Errorf("cannot read the package lists: %w", err)
		}
		for line := range strings.Lines(string(list)) {
			name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			names = append(names, name)
		}
	}
	return beginning(names, prefix), nil
}

// beginning sorts the names that begin so, each once, and leaves out what CheckNames
// would refuse: sources and patches of zypper, and whatever a damaged list holds.
func beginning(names []string, prefix string) []string {
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) || invalid(name) != "" })
	slices.Sort(names)
	return slices.Compact(names)
}
