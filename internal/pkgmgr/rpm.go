// rpm's database, asked through rpm itself: its formats (sqlite, ndb, bdb) are
// rpm's own business. zypper's list of what it installed by itself is a file.

package pkgmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	rpmInstalled = `%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n`
	// rpmOwnerMark tells our lines from rpm's "file … is not owned by any package".
	rpmOwnerMark = "owner\t"
	rpmOwner     = rpmOwnerMark + `%{NAME}\n`
	rpmFiles     = `[%{=NAME}\t%{FILENAMES}\n]`

	zyppState     = "var/lib/zypp"
	autoInstalled = zyppState + "/AutoInstalled"
)

// Asking for single paths costs a lookup each; beyond this much one listing of
// all files is cheaper, and an argv has a limit too.
const (
	maxAskedPaths = 500
	maxAskedBytes = 64 << 10
)

// rpmDatabase is where the root has rpm's database: the place that is not a
// link to the other.
func rpmDatabase(t *tree) string {
	places := []string{"usr/lib/sysimage/rpm", "var/lib/rpm"}
	for _, dir := range places {
		for _, file := range []string{"rpmdb.sqlite", "Packages.db", "Packages"} {
			if t.isRealDir(dir) && t.isFile(dir+"/"+file) {
				return dir
			}
		}
	}
	return places[0]
}

// Installed asks rpm in root, and leaves out imported keys, which rpm lists as packages.
func (m zypper) Installed(ctx context.Context, root Root) ([]Package, error) {
	packages, err := m.installed(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("cannot read the package database of %s: %w", root.Dir, err)
	}
	return packages, nil
}

func (m zypper) installed(ctx context.Context, root Root) ([]Package, error) {
	out, err := runRPM(ctx, root, "-qa", "--qf", rpmInstalled)
	if err != nil {
		return nil, err
	}
	packages, err := parseRPM(out)
	if err != nil {
		return nil, err
	}
	if err := addReasons(root, packages); err != nil {
		return nil, err
	}
	sortPackages(m, packages)
	return packages, nil
}

// runRPM is rpm where every status but 0 is an error.
func runRPM(ctx context.Context, root Root, args ...string) ([]byte, error) {
	out, status, err := askRPM(ctx, root, args...)
	if err != nil {
		return nil, err
	}
	if status != 0 {
		return nil, fmt.Errorf("rpm %s ended with status %d", args[0], status)
	}
	return out, nil
}

func askRPM(ctx context.Context, root Root, args ...string) (out []byte, status int, err error) {
	if root.Run == nil {
		return nil, 0, errors.New("internal error: rpm's database cannot be read without a way to run rpm")
	}
	return root.Run(ctx, append([]string{"rpm"}, args...))
}

func parseRPM(out []byte) ([]Package, error) {
	packages := make([]Package, 0, bytes.Count(out, []byte("\n")))
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || fields[0] == "" || len(fields[0]) > maxName || fields[1] == "" || strings.ContainsFunc(fields[0]+fields[1]+fields[2], blankOrControl) {
			return nil, fmt.Errorf("cannot read rpm's answer %.300q", line)
		}
		if fields[0] == "gpg-pubkey" {
			continue
		}
		packages = append(packages, Package{Name: fields[0], Arch: fields[2], Version: strings.TrimPrefix(fields[1], "0:")})
	}
	return packages, nil
}

// addReasons fills in why packages are installed. zypper writes its list with
// the first automatic package; without its state (where /var is elsewhere)
// nobody knows.
func addReasons(root Root, packages []Package) error {
	t, err := openTree(root.Dir)
	if err != nil {
		return err
	}
	defer t.Close()
	if !t.isRealDir(zyppState) {
		return nil
	}
	data, err := t.readIfThere(autoInstalled)
	if err != nil {
		return err
	}
	automatic := automaticNames(data)
	for i := range packages {
		packages[i].Reason = Requested
		if automatic[packages[i].Name] {
			packages[i].Reason = Dependency
		}
	}
	return nil
}

// automaticNames reads zypper's list of what was installed for others' sake: a name a line.
func automaticNames(data []byte) map[string]bool {
	automatic := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		automatic[strings.TrimSpace(line)] = true
	}
	return automatic
}

func (m zypper) Owners(ctx context.Context, root Root, paths []string) (map[string]string, error) {
	if len(paths) == 0 {
		return map[string]string{}, nil
	}
	owners, err := m.owners(ctx, root, paths)
	if err != nil {
		return nil, fmt.Errorf("cannot find the owners of files in %s: %w", root.Dir, err)
	}
	return owners, nil
}

// owners asks in two steps, because rpm's answers about single paths do not say
// which path they are about: which packages, then which files those have.
func (zypper) owners(ctx context.Context, root Root, paths []string) (map[string]string, error) {
	t, err := openTree(root.Dir)
	if err != nil {
		return nil, err
	}
	merged := t.aliases()
	t.Close()
	query := []string{"-qa"}
	if few(paths) {
		names, err := rpmOwners(ctx, root, paths)
		if err != nil || len(names) == 0 {
			return map[string]string{}, err
		}
		query = append([]string{"-q"}, names...)
	}
	out, err := runRPM(ctx, root, append(query, "--qf", rpmFiles)...)
	if err != nil {
		return nil, err
	}
	found := newOwnership(merged, paths)
	for line := range strings.Lines(string(out)) {
		if name, path, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			found.owns(name, merged.real(path))
		}
	}
	return found.result(), nil
}

func few(paths []string) bool {
	size := 0
	for _, path := range paths {
		size += len(path) + 1
	}
	return len(paths) <= maxAskedPaths && size <= maxAskedBytes
}

// rpmOwners are the packages that own any of paths. The status counts the paths
// without an owner.
func rpmOwners(ctx context.Context, root Root, paths []string) ([]string, error) {
	args := []string{"-qf", "--qf", rpmOwner}
	for _, path := range paths {
		if strings.HasPrefix(path, "/") {
			args = append(args, path)
		}
	}
	out, _, err := askRPM(ctx, root, args...)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), rpmOwnerMark); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}
