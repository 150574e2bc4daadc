// What changed, in few signs or in words, and what lies between two snapshots.

package present

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// sign stands for a kind of change.
func sign(change string) string {
	switch change {
	case record.Added:
		return green("+")
	case record.Removed:
		return red("-")
	case record.Upgraded:
		return cyan("^")
	case record.Downgraded:
		return amber("v")
	}
	return amber("~")
}

// signs sums up in few characters: "+1 ^3"; where no package changed, "12 files".
func signs(p record.PackageCounts, f record.FileCounts) string {
	var all []string
	for _, c := range []struct {
		n      int
		change string
	}{{p.Added, record.Added}, {p.Upgraded, record.Upgraded}, {p.Downgraded, record.Downgraded}, {p.Removed, record.Removed}} {
		if c.n > 0 {
			all = append(all, fmt.Sprintf("%s%d", sign(c.change), c.n))
		}
	}
	if len(all) == 0 {
		if n := f.Added + f.Removed + f.Modified; n > 0 {
			return count(n, "file")
		}
		return faint("-")
	}
	return strings.Join(all, " ")
}

// packagesInWords sums up packages, "" for none.
func packagesInWords(p record.PackageCounts) string {
	return inWords("package", []int{p.Added, p.Upgraded, p.Downgraded, p.Removed}, []string{"added", "upgraded", "downgraded", "removed"})
}

// filesInWords sums up files, "" for none.
func filesInWords(f record.FileCounts) string {
	return inWords("file", []int{f.Added, f.Modified, f.Removed}, []string{"added", "modified", "removed"})
}

// inWords: "1 package added, 3 upgraded".
func inWords(noun string, counts []int, verbs []string) string {
	var all []string
	for i, n := range counts {
		switch {
		case n == 0:
		case len(all) == 0:
			all = append(all, count(n, noun)+" "+verbs[i])
		default:
			all = append(all, fmt.Sprintf("%d %s", n, verbs[i]))
		}
	}
	return strings.Join(all, ", ")
}

// inAll: packages and files in words.
func inAll(p record.PackageCounts, f record.FileCounts) string {
	all := slices.DeleteFunc([]string{packagesInWords(p), filesInWords(f)}, func(s string) bool { return s == "" })
	if len(all) == 0 {
		return "nothing changed"
	}
	return strings.Join(all, "; ")
}

// packageRows is a table of changed packages.
func (s Screen) packageRows(changes []record.PackageChange, indent int) string {
	rows := make([][]string, len(changes))
	for i, c := range changes {
		rows[i] = []string{sign(c.Change), plain(c.Name), version(c), faint(plain(c.Arch))}
	}
	return s.table([]column{{}, {least: 16}, {least: 16}, {}}, rows, indent)
}

// Step is one transaction on the way between two snapshots.
type Step struct {
	Number        uint64
	Parent        *uint64
	Created       time.Time
	Kind, Message string
	Packages      record.PackageCounts
	Files         record.FileCounts
	// Changes are the packages one by one, where the caller has them.
	Changes []record.PackageChange
}

// StepOf makes a step of a row of a list.
func StepOf(s bus.Snapshot) Step {
	return Step{Number: s.Number, Parent: s.Parent, Created: s.Created, Kind: s.Kind, Message: s.Message, Packages: s.Packages, Files: s.Files}
}

// StepOfRecord makes a step of a record.
func StepOfRecord(r record.Record) Step {
	return Step{Number: r.Number, Parent: r.Parent, Created: r.Created, Kind: r.Kind, Message: r.Message,
		Packages: r.Packages, Files: r.Files, Changes: r.PackageChanges}
}

// Difference is what lies between two snapshots, transaction by transaction, newest first.
type Difference struct {
	Brought []Step // only the second has it
	LeftOut []Step // only the first has it
	// Known: they have a common ancestor, and every step to it could be found.
	Known bool
}

// Between walks from both snapshots to where they meet. A parent has a lower
// number than its child, so the higher one is never an ancestor of the other.
func Between(from, to uint64, step func(uint64) (Step, bool)) Difference {
	var d Difference
	for from != to {
		side, at := &d.LeftOut, &from
		if to > from {
			side, at = &d.Brought, &to
		}
		s, ok := step(*at)
		if !ok || s.Parent == nil || *s.Parent >= *at {
			return d
		}
		*side = append(*side, s)
		*at = *s.Parent
	}
	d.Known = true
	return d
}

// Files sums up the changes of files: those of what is left out count the other
// way round. A file that several transactions changed counts for each.
func (d Difference) Files() record.FileCounts {
	var sum record.FileCounts
	for _, s := range d.Brought {
		sum.Added += s.Files.Added
		sum.Removed += s.Files.Removed
		sum.Modified += s.Files.Modified
	}
	for _, s := range d.LeftOut {
		sum.Added += s.Files.Removed
		sum.Removed += s.Files.Added
		sum.Modified += s.Files.Modified
	}
	return sum
}

// Packages are the net changes of packages from the first to the second
// snapshot: a version that came and went again is none.
func (d Difference) Packages() []record.PackageChange {
	type key struct{ name, arch string }
	versions := map[key]map[string]int{} // how often each came, less how often it went
	direction := map[key]string{}
	var order []key
	add := func(k key, version string, n int) {
		if version == "" {
			return
		}
		if versions[k] == nil {
			versions[k] = map[string]int{}
			order = append(order, k)
		}
		versions[k][version] += n
	}
	for _, s := range d.LeftOut {
		for _, c := range s.Changes {
			k := key{c.Name, c.Arch}
			add(k, c.New, -1)
			add(k, c.Old, +1)
			direction[k] = record.Opposite(c.Change)
		}
	}
	for _, s := range slices.Backward(d.Brought) {
		for _, c := range s.Changes {
			k := key{c.Name, c.Arch}
			add(k, c.Old, -1)
			add(k, c.New, +1)
			direction[k] = c.Change
		}
	}
	slices.SortFunc(order, func(a, b key) int { return strings.Compare(a.name+"\x00"+a.arch, b.name+"\x00"+b.arch) })
	net := []record.PackageChange{}
	for _, k := range order {
		var came, went []string
		for version, n := range versions[k] {
			switch {
			case n > 0:
				came = append(came, version)
			case n < 0:
				went = append(went, version)
			}
		}
		slices.Sort(came)
		slices.Sort(went)
		if len(came) == 1 && len(went) == 1 && (direction[k] == record.Upgraded || direction[k] == record.Downgraded) {
			net = append(net, record.PackageChange{Name: k.name, Arch: k.arch, Change: direction[k], Old: went[0], New: came[0]})
			continue
		}
		for _, version := range went {
			net = append(net, record.PackageChange{Name: k.name, Arch: k.arch, Change: record.Removed, Old: version})
		}
		for _, version := range came {
			net = append(net, record.PackageChange{Name: k.name, Arch: k.arch, Change: record.Added, New: version})
		}
	}
	return net
}

// stepRows is a table of transactions.
func (s Screen) stepRows(steps []Step, indent int) string {
	rows := make([][]string, len(steps))
	for i, st := range steps {
		rows[i] = []string{fmt.Sprint(st.Number), s.ago(st.Created), signs(st.Packages, st.Files), why(st.Message, st.Kind)}
	}
	return s.table([]column{{right: true}, {}, {}, {least: 16}}, rows, indent)
}

// why is the message, or where there is none what was done.
func why(message, kind string) string {
	if words := firstLine(message); words != "" {
		return words
	}
	return faint("(" + plain(kind) + ")")
}
