// What changed between two readings of a package database.

package pkgmgr

import (
	"cmp"
	"slices"
	"strings"

	"github.com/txupd/txupd/pkg/journal/record"
)

// Diff lists what differs between before and after, which manager m read,
// sorted by name and architecture. A package of which only one version is
// there on both sides is upgraded or downgraded, by the manager's own order;
// where several versions are installed at once (kernels), they come and go.
// A package that moved between an architecture and none ("all", "noarch") is
// the same package. Only version and architecture count: a changed reason is no change.
func Diff(m Manager, before, after []Package) []record.PackageChange {
	old, now := byName(before), byName(after)
	changes := []record.PackageChange{}
	for name, packages := range old {
		changes = append(changes, diffName(m, packages, now[name])...)
	}
	for name, packages := range now {
		if _, known := old[name]; !known {
			changes = append(changes, diffName(m, nil, packages)...)
		}
	}
	slices.SortFunc(changes, func(a, b record.PackageChange) int {
		return cmp.Or(
			strings.Compare(a.Name, b.Name), strings.Compare(a.Arch, b.Arch), strings.Compare(a.Change, b.Change),
			m.Compare(a.Old, b.Old), m.Compare(a.New, b.New))
	})
	return changes
}

func byName(packages []Package) map[string][]Package {
	groups := make(map[string][]Package, len(packages))
	for _, p := range packages {
		groups[p.Name] = append(groups[p.Name], p)
	}
	return groups
}

// diffName compares the packages of one name.
func diffName(m Manager, before, after []Package) []record.PackageChange {
	if len(before) == 1 && len(after) == 1 && samePackage(before[0], after[0]) {
		return replaced(m, before[0], after[0])
	}
	var changes []record.PackageChange
	for _, arch := range arches(before, after) {
		old, now := ofArch(before, arch), ofArch(after, arch)
		if len(old) == 1 && len(now) == 1 {
			changes = append(changes, replaced(m, old[0], now[0])...)
			continue
		}
		for _, p := range without(old, now) {
			changes = append(changes, record.PackageChange{Name: p.Name, Arch: p.Arch, Change: record.Removed, Old: p.Version, Reason: p.Reason})
		}
		for _, p := range without(now, old) {
			changes = append(changes, record.PackageChange{Name: p.Name, Arch: p.Arch, Change: record.Added, New: p.Version, Reason: p.Reason})
		}
	}
	return changes
}

// replaced is the change from old to now, if it is one. Versions that differ
// in writing only ("1.0", "1.0-0") were built anew: an upgrade.
func replaced(m Manager, old, now Package) []record.PackageChange {
	if old.Version == now.Version && old.Arch == now.Arch {
		return nil
	}
	change := record.Upgraded
	if m.Compare(old.Version, now.Version) > 0 {
		change = record.Downgraded
	}
	return []record.PackageChange{{Name: now.Name, Arch: now.Arch, Change: change, Old: old.Version, New: now.Version, Reason: now.Reason}}
}

func samePackage(a, b Package) bool {
	return a.Arch == b.Arch || (independent(a.Arch) || independent(b.Arch)) && a.Version != b.Version
}

// independent reports whether arch means "any".
func independent(arch string) bool { return arch == "all" || arch == "noarch" }

func arches(lists ...[]Package) []string {
	var found []string
	for _, p := range slices.Concat(lists...) {
		if !slices.Contains(found, p.Arch) {
			found = append(found, p.Arch)
		}
	}
	return found
}

func ofArch(packages []Package, arch string) []Package {
	var found []Package
	for _, p := range packages {
		if p.Arch == arch {
			found = append(found, p)
		}
	}
	return found
}

// without are the packages whose version is not among others.
func without(packages, others []Package) []Package {
	var found []Package
	for _, p := range packages {
		if !slices.ContainsFunc(others, func(o Package) bool { return o.Version == p.Version }) {
			found = append(found, p)
		}
	}
	return found
}

// sortPackages is the order in which Installed returns them.
func sortPackages(m Manager, packages []Package) {
	slices.SortFunc(packages, func(a, b Package) int {
		if c := cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Arch, b.Arch)); c != 0 {
			return c
		}
		return m.Compare(a.Version, b.Version)
	})
}
