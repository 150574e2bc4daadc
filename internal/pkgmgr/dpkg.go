// dpkg's database, read as dpkg reads it: the status file, and the journal of
// single entries in updates/ which a run that did not end leaves behind.
// Layout: dpkg(1) FILES, deb-control(5).

package pkgmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	dpkgDir        = "var/lib/dpkg"
	extendedStates = "var/lib/apt/extended_states"
)

// Installed counts what has its files in place: also packages that are not
// configured yet, but not the configuration files that removed ones left.
func (m apt) Installed(ctx context.Context, root Root) ([]Package, error) {
	packages, err := m.installed(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("cannot read the package database of %s: %w", root.Dir, err)
	}
	return packages, nil
}

func (m apt) installed(ctx context.Context, root Root) ([]Package, error) {
	t, err := openTree(root.Dir)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	db, err := readStatus(ctx, t)
	if err != nil {
		return nil, err
	}
	automatic, err := readAutomatic(t)
	if err != nil {
		return nil, err
	}
	packages := make([]Package, 0, len(db.entries))
	for _, e := range db.entries {
		if !e.present() {
			continue
		}
		p := Package{Name: e.name, Arch: e.arch, Version: e.version, Reason: Requested}
		if automatic.has(e) {
			p.Reason = Dependency
		}
		packages = append(packages, p)
	}
	sortPackages(m, packages)
	return packages, nil
}

// dpkgEntry is one paragraph of the status file.
type dpkgEntry struct {
	name, arch, version, state string
	kibibytes                  int64 // that it takes when installed, as its maker counted them
	// coinstallable: Multi-Arch: same.
	coinstallable bool
}

func (e dpkgEntry) present() bool {
	switch e.state {
	case "installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending":
		return true
	}
	return false
}

// dpkgStatus is the merged database.
type dpkgStatus struct {
	entries []dpkgEntry
	index   map[string][]int // name → places in entries
}

// add replaces the entry of the same package. It is the same if its
// architecture is, or if the name can be installed only once.
func (s *dpkgStatus) add(e dpkgEntry) {
	places := s.index[e.name]
	for _, i := range places {
		known := s.entries[i]
		if known.arch == e.arch || len(places) == 1 && !(known.coinstallable && e.coinstallable) {
			s.entries[i] = e
			return
		}
	}
	s.index[e.name] = append(places, len(s.entries))
	s.entries = append(s.entries, e)
}

func readStatus(ctx context.Context, t *tree) (*dpkgStatus, error) {
	db := &dpkgStatus{index: map[string][]int{}}
	data, err := t.read(dpkgDir + "/status")
	if err != nil {
		return nil, err
	}
	if err := db.parse(data, "status"); err != nil {
		return nil, err
	}
	names, err := t.names(dpkgDir + "/updates")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return strings.Trim(name, "0123456789") != "" })
	slices.Sort(names) // dpkg gives them the same number of digits
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		file := "updates/" + name
		data, err := t.read(dpkgDir + "/" + file)
		if err != nil {
			return nil, err
		}
		if err := db.parse(data, file); err != nil {
			return nil, err
		}
	}
	return db, nil
}

func (s *dpkgStatus) parse(data []byte, file string) error {
	line, first := 0, 0
	var fields dpkgEntry
	finish := func() error {
		if first == 0 {
			return nil
		}
		if problem := fields.problem(); problem != "" {
			return fmt.Errorf("%s, line %d: %s", file, first, problem)
		}
		s.add(fields)
		fields, first = dpkgEntry{}, 0
		return nil
	}
	for text := range bytes.Lines(data) {
		line++
		if (text[0] == ' ' || text[0] == '\t') && first != 0 {
			continue // goes on with the field before; none of ours does
		}
		text = bytes.TrimRight(text, " \t\r\n")
		if len(text) == 0 {
			if err := finish(); err != nil {
				return err
			}
			continue
		}
		if first == 0 {
			first = line
		}
		key, value, found := bytes.Cut(text, []byte(":"))
		if !found {
			return fmt.Errorf("%s, line %d: neither a field nor the continuation of one", file, line)
		}
		fields.set(key, bytes.TrimLeft(value, " \t"))
	}
	return finish()
}

// set takes over the fields that matter; only their values become strings.
// Field names know no case, and their length tells most of them apart.
func (e *dpkgEntry) set(key, value []byte) {
	is := func(name string) bool { return bytes.EqualFold(key, []byte(name)) }
	switch len(key) {
	case 6:
		if is("Status") { // "want flag state"
			e.state = string(value[bytes.LastIndexByte(value, ' ')+1:])
		}
	case 7:
		if is("Package") {
			e.name = string(value)
		} else if is("Version") {
			e.version = string(value)
		}
	case 10:
		if is("Multi-Arch") {
			e.coinstallable = string(value) == "same"
		}
	case 12:
		if is("Architecture") {
			e.arch = string(value)
		}
	case 14:
		if is("Installed-Size") { // what makes no sense counts nothing
			if n, err := strconv.ParseUint(string(value), 10, 40); err == nil {
				e.kibibytes = int64(n)
			}
		}
	}
}

// problem says why dpkg would not accept the entry either.
func (e dpkgEntry) problem() string {
	if e.name == "" {
		return "a paragraph without a package name"
	}
	if len(e.name) > maxName {
		return fmt.Sprintf("a package name of %d bytes, at most %d are possible", len(e.name), maxName)
	}
	if e.present() && e.version == "" {
		return "package " + e.name + " has no version"
	}
	for _, s := range []string{e.name, e.arch, e.version} {
		if strings.ContainsFunc(s, blankOrControl) {
			return fmt.Sprintf("%q holds a space or control character", s)
		}
	}
	return ""
}

func blankOrControl(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// automatic are apt's marks, "name:arch" and, for packages without an
// architecture, which apt files under the native one, "name".
type automatic map[string]bool

func (a automatic) has(e dpkgEntry) bool {
	if e.arch == "all" {
		return a[e.name]
	}
	return a[e.name+":"+e.arch]
}

// readAutomatic: a package that apt does not name was asked for, as apt-mark(8) has it.
func readAutomatic(t *tree) (automatic, error) {
	data, err := t.readIfThere(extendedStates)
	if err != nil {
		return nil, err
	}
	return parseAutomatic(data), nil
}

// parseAutomatic reads apt's extended_states: paragraphs like those of dpkg.
func parseAutomatic(data []byte) automatic {
	marks := automatic{}
	for paragraph := range bytes.SplitSeq(data, []byte("\n\n")) {
		var name, arch string
		var set bool
		for line := range bytes.Lines(paragraph) {
			key, value, _ := bytes.Cut(line, []byte(":"))
			switch value := string(bytes.TrimSpace(value)); string(key) {
			case "Package":
				name = value
			case "Architecture":
				arch = value
			case "Auto-Installed":
				set = value == "1"
			}
		}
		if set && name != "" {
			marks[name], marks[name+":"+arch] = true, true
		}
	}
	return marks
}
