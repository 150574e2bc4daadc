// Which conflicts of /etc wait for a decision, as far as records and a few looks
// tell: for what is asked often.

package update

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/etcmerge"
)

// unresolved lists the conflicts of a snapshot that are recorded, with it or
// with what it was made from, and still there. A tree that cannot be read has none.
func (u *Updater) unresolved(v view) []bus.EtcConflict {
	names := slices.Clone(v.rec.EtcKept)
	for _, d := range v.rec.EtcDecisions {
		if d.Kept != "" && d.Rule != ruleResolved {
			names = append(names, d.Kept)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	dir, err := u.Store.Locate(v.subvolume.Identity())
	if err != nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	var found []bus.EtcConflict
	for _, kept := range slices.Compact(names) {
		original, version, ok := etcmerge.Original(kept)
		if !ok {
			continue
		}
		if f, err := describeFile(root, strings.TrimPrefix(kept, "/")); err == nil && f != nil {
			found = append(found, bus.EtcConflict{Path: original, Kept: kept, Version: version, Snapshot: uint64(v.number)})
		}
	}
	return found
}

// keptIn are the names of what waits, for the record of what is made from a snapshot.
func (u *Updater) keptIn(v view) []string {
	var names []string
	for _, c := range u.unresolved(v) {
		names = append(names, c.Kept)
	}
	return names
}

// etcConflicts are those of what boots next, and those of what runs that are not in it too.
func (u *Updater) etcConflicts(r *roles) []bus.EtcConflict {
	found := append([]bus.EtcConflict{}, u.unresolved(r.standby)...)
	if r.standby.same(r.booted) {
		return found
	}
	for _, c := range u.unresolved(r.booted) {
		if !slices.ContainsFunc(found, func(o bus.EtcConflict) bool { return o.Kept == c.Kept }) {
			found = append(found, c)
		}
	}
	return found
}

// mostNamed conflicts are named in a sentence.
const mostNamed = 5

// conflictWarnings are a sentence for each snapshot that has conflicts.
func conflictWarnings(all []bus.EtcConflict) []string {
	var words []string
	for len(all) > 0 {
		in := all[0].Snapshot
		var paths []string
		for len(all) > 0 && all[0].Snapshot == in {
			paths = append(paths, all[0].Path)
			all = all[1:]
		}
		one := "conflict"
		if len(paths) > 1 {
			one = "conflicts"
		}
		named := strings.Join(paths[:min(len(paths), mostNamed)], ", ")
		if len(paths) > mostNamed {
			named += ", …"
		}
		words = append(words, fmt.Sprintf("the /etc of snapshot %d has %d %s that nobody has decided: %s; \"txctl etc\" tells more", in, len(paths), one, named))
	}
	return words
}
