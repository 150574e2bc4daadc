// What is recorded, against what is there.

package oracle

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// journal: readable, and its chain whole.
func (j *judge) journal() {
	for _, d := range j.f.Journal.Damage {
		j.find(JournalDamaged, "%s", d)
	}
	for _, c := range j.f.Journal.Chain {
		j.find(BrokenChain, "%s", c)
	}
	for _, m := range j.f.Journal.Mismatches {
		j.find(WrongRecord, "%s", m)
	}
	if b := j.before.Journal; b.Found && j.f.Journal.ID == b.ID && j.f.Journal.Head.Seq < b.Head.Seq {
		j.find(BrokenChain, "there were %d events, and are %d", b.Head.Seq, j.f.Journal.Head.Seq)
	}
	if b := j.before.Journal; b.Found && b.ID != "" && j.f.Journal.ID != b.ID {
		j.find(JournalDamaged, "the journal is another one: it was %s and is %s", b.ID, j.f.Journal.ID)
	}
}

// acknowledged: of what somebody was told that it is done, nothing is lost.
func (j *judge) acknowledged() {
	for _, a := range j.e.Acknowledged {
		r, ok := j.f.Journal.Records[a.Number]
		switch {
		case !ok:
			j.find(LostRecord, "transaction %d was acknowledged, and has no record", a.Number)
			continue
		case r.Phase != "committed":
			j.find(LostRecord, "transaction %d was acknowledged, and is recorded as %s (%s)", a.Number, r.Phase, r.Error)
		case a.Message != "" && r.Message != a.Message:
			j.find(LostRecord, "transaction %d was acknowledged as %q, and is recorded as %q", a.Number, a.Message, r.Message)
		case r.Deleted != nil && !a.Deleted && !a.MaybeDeleted:
			j.find(LostRecord, "transaction %d was acknowledged, and is recorded as deleted", a.Number)
		case r.Deleted == nil && a.Deleted && !j.e.Unserved:
			j.find(LostRecord, "the deletion of %d was acknowledged, and is not recorded", a.Number)
		}
	}
}

// records: each that should be there is, as it was recorded.
func (j *judge) records() {
	for _, n := range slices.Sorted(maps.Keys(j.f.Journal.Records)) {
		r := j.f.Journal.Records[n]
		switch {
		case r.Phase == "open" && !slices.Contains(j.e.Open, n) && !j.e.Unserved:
			j.find(OpenLeft, "transaction %d (%s) is open", n, r.Kind)
		case r.Phase == "committed" && r.Deleted == nil:
			j.standing(n, r)
		}
	}
}

// standing: the directory, the marker and the subvolumes of a committed record are there.
func (j *judge) standing(n uint64, r Record) {
	if r.Adopted && n == 0 {
		s, ok := j.f.byID(r.Subvolumes["snapshot"].ID)
		if !ok || s.UUID != r.Subvolumes["snapshot"].UUID {
			j.find(MissingDir, "the adopted root, subvolume %d, is not there", r.Subvolumes["snapshot"].ID)
		}
		return
	}
	unfinished := j.f.Journal.Steps[n] != nil && j.e.Unserved
	d := j.f.directory(n)
	if d == nil {
		if !unfinished { // a removal may be half done
			j.find(MissingDir, "%d is recorded as committed, and has no directory", n)
		}
		return
	}
	roles := maps.Clone(r.Subvolumes)
	if roles["snapshot"] == (Identity{}) {
		j.find(WrongRecord, "%d is committed, and its record names no root", n)
	}
	for role, want := range roles {
		s, ok := j.f.byID(want.ID)
		if !ok && !unfinished {
			j.find(MissingDir, "%d has recorded subvolume %d as its %s, which is not there", n, want.ID, role)
			continue
		}
		dir, at := j.f.place(s.Path)
		if (s.UUID != want.UUID || dir != strconv.FormatUint(n, 10) || at != role) && !unfinished {
			j.find(MissingDir, "%d has recorded subvolume %d (%s) as its %s, and that is %s (%s)", n, want.ID, want.UUID, role, s.Path, s.UUID)
		}
	}
	if r.Adopted {
		return
	}
	switch {
	case d.Unreadable != "":
		j.find(WrongRecord, "the marker of %d: %s", n, d.Unreadable)
	case d.Marker == nil:
		j.find(WrongRecord, "%d has no marker", n)
	case d.Marker.Number != n || d.Marker.UUID != r.UUID:
		j.find(WrongRecord, "the marker of %d is of transaction %s, number %d; recorded is %s", n, d.Marker.UUID, d.Marker.Number, r.UUID)
	case d.Marker.Record == nil || d.Marker.Record.Number != n || d.Marker.Record.UUID != r.UUID:
		j.find(WrongRecord, "the marker of %d carries another record", n)
	}
	if !slices.Contains(d.Names, "info.xml") {
		j.find(MissingDir, "%d has no info.xml", n)
	}
}

// unfinished: no steps are recorded but those of open transactions.
func (j *judge) unfinished() {
	for _, n := range slices.Sorted(maps.Keys(j.f.Journal.Steps)) {
		if !slices.Contains(j.e.Open, n) {
			j.find(StepsLeft, "transaction %d has the steps %s", n, strings.Join(j.f.Journal.Steps[n], ", "))
		}
	}
}

// stands reports whether the record of a directory says that it should be there.
func (j *judge) stands(dir string) bool {
	n, err := strconv.ParseUint(dir, 10, 64)
	if err != nil {
		return false
	}
	r, ok := j.f.Journal.Records[n]
	return ok && r.Stands()
}

// ownState are the names in .snapshots/.txupd that are always there; "reserve"
// holds space back. A journal that was set aside is kept for people.
func ownState(name string) bool {
	return slices.Contains([]string{"journal.db", "log", "reserve"}, name) || strings.HasPrefix(name, "journal.db.damaged-") || strings.HasPrefix(name, "journal.db.schema-")
}

// directories: in .snapshots is what is recorded, and nothing else.
func (j *judge) directories() {
	for _, d := range j.f.Directories {
		if !slices.Contains(j.e.Foreign, d.Name) && !j.stands(d.Name) {
			j.find(OrphanDir, "%s holds %q, and no record speaks of it", d.Name, d.Names)
		}
		for _, name := range d.Names {
			if strings.HasPrefix(name, ".") {
				j.find(OrphanState, "%s/%s was being written", d.Name, name)
			}
		}
	}
	for _, name := range j.f.State {
		if !ownState(name) {
			j.find(OrphanState, ".txupd/%s is left", name)
		}
	}
	for _, name := range j.f.Logs {
		number, _, _ := strings.Cut(name, ".")
		n, err := strconv.ParseUint(number, 10, 64)
		if _, ok := j.f.Journal.Records[n]; err != nil || !ok {
			j.find(OrphanState, ".txupd/log/%s belongs to no record", name)
		}
	}
}

// subvolumes: each belongs to a recorded snapshot or to the layout.
func (j *judge) subvolumes() {
	for _, s := range j.f.Subvolumes {
		dir, role := j.f.place(s.Path)
		if dir == "" {
			known := s.ID == j.f.Booted.ID || s.ID == j.f.Snapshots.ID || slices.Contains(j.e.Layout, s.Path) || j.f.Journal.isRoot(s) ||
				slices.ContainsFunc(j.before.Subvolumes, func(b Subvolume) bool { return b.UUID == s.UUID && b.Path == s.Path })
			if !known {
				j.find(OrphanSubvol, "%s (subvolume %d) is not part of the layout", s.Path, s.ID)
			}
			continue
		}
		if slices.Contains(j.e.Foreign, dir) || s.ID == j.f.Booted.ID || j.roleOf(dir, role, s) {
			continue
		}
		j.find(OrphanSubvol, "%s (subvolume %d) belongs to no recorded snapshot", s.Path, s.ID)
	}
}

// roleOf reports whether a subvolume in a directory of .snapshots is one that its record has.
func (j *judge) roleOf(dir, role string, s Subvolume) bool {
	if !j.stands(dir) {
		return false
	}
	n, _ := strconv.ParseUint(dir, 10, 64)
	r := j.f.Journal.Records[n]
	if want, ok := r.Subvolumes[role]; ok {
		return want == Identity{s.ID, s.UUID}
	}
	first, nested, _ := strings.Cut(role, "/")
	switch first {
	case "capture":
		return r.Phase == "open"
	case "shared":
		// Forks around a hand-over are kept with the account of it.
		around := strings.HasSuffix(nested, "%before") || strings.HasSuffix(nested, "%after")
		return r.Phase == "open" || around && slices.Contains(j.f.directory(n).Names, "handed-over.json")
	case "live":
		return nested == "" || j.nestedOfTheRoot(nested)
	}
	// What is nested in a root that txupd did not make is the layout's; what an
	// open transaction has is recorded when it ends.
	return r.Adopted && j.before.Root != "" && slices.ContainsFunc(j.before.Subvolumes, func(b Subvolume) bool { return b.UUID == s.UUID }) ||
		r.Phase == "open"
}

// nestedOfTheRoot: the running root has a subvolume at that path, too.
func (j *judge) nestedOfTheRoot(p string) bool {
	return slices.ContainsFunc(j.f.Subvolumes, func(s Subvolume) bool { return s.Path == j.f.Booted.Path+"/"+p })
}

// bootFiles: entries, kernels and counters are those of snapshots that are there.
func (j *judge) bootFiles() {
	b := &j.f.Boot
	for _, name := range b.Leftovers {
		j.find(LeftBootFile, "%s is left", name)
	}
	var needed []string
	for _, e := range b.Entries {
		needed = append(needed, e.Kernel)
		needed = append(needed, e.Initrd...)
	}
	for _, r := range j.f.Journal.Records {
		// An open one has its kernel there before it has an entry.
		if r.BootEntry != nil && r.Stands() {
			needed = append(needed, r.BootEntry.Kernel)
			needed = append(needed, r.BootEntry.Initrd...)
		}
	}
	for _, name := range b.Staged {
		if !slices.ContainsFunc(needed, func(n string) bool { return strings.HasSuffix(n, "/"+name) }) {
			j.find(StagedLeft, "%s is on the boot partition, and no entry needs it", name)
		}
	}
	for name, value := range b.Variables {
		number, counts := strings.CutPrefix(name, "txupd_tries_")
		if name == "txupd_once" {
			number, counts = value, value != ""
		}
		n, err := strconv.ParseUint(number, 10, 64)
		if counts && (err != nil || n != 0 && !j.stands(number)) {
			j.find(StaleCounter, "%s=%s speaks of a snapshot that is not there", name, value)
		}
	}
}

// live: no mount of a snapshot in any namespace, no process in one.
func (j *judge) live() {
	for _, m := range j.f.Mounts {
		dir, role := j.f.place(strings.TrimPrefix(m.Root, "/"))
		ours := m.Type == "btrfs" && (role != "" || dir == ".txupd") && !j.isBooted(m) && !j.mayBeOpen(dir)
		added := m.Namespace == 0 && j.before.BootID == j.f.BootID && !slices.ContainsFunc(j.before.Mounts, func(b Mount) bool {
			return b.Namespace == 0 && b.Point == m.Point && b.Root == m.Root && b.Type == m.Type
		})
		if ours || added {
			j.find(LeftMount, "%s is mounted at %s (%s), seen from process %d", m.Root, m.Point, m.Type, m.PID)
		}
	}
	for _, p := range j.f.Processes {
		s, ok := j.f.byID(p.Subvolume)
		if dir, _ := j.f.place(s.Path); dir != "" && !j.mayBeOpen(dir) || !ok && p.Subvolume != topLevelID {
			j.find(LeftProcess, "process %d (%s) has its %s in subvolume %d (%s)", p.PID, p.Name, p.Uses, p.Subvolume, s.Path)
		}
	}
}

// mayBeOpen: an open transaction lives in its snapshot.
func (j *judge) mayBeOpen(dir string) bool {
	n, err := strconv.ParseUint(dir, 10, 64)
	return err == nil && slices.Contains(j.e.Open, n)
}

// isBooted: a mount is of the running root, or of a part of it.
func (j *judge) isBooted(m Mount) bool {
	return within(strings.TrimPrefix(m.Root, "/"), j.f.Booted.Path)
}
