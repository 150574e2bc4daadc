// Databases. Their files belong together: a mixture of two states is worse than
// either. So a database is handed over as a whole or not at all.

package handover

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// databases are recognised by files that only they have, at paths in their
// directory. All of a line have to be there, on one side.
var databases = []struct {
	kind  string
	files []string
}{
	{"PostgreSQL", []string{"PG_VERSION", "global"}},
	{"PostgreSQL", []string{"postmaster.pid"}},
	{"MariaDB or MySQL", []string{"ibdata1"}},
	{"MariaDB or MySQL", []string{"aria_log_control"}},
	{"LevelDB or RocksDB", []string{"CURRENT", "LOCK"}},
	{"WiredTiger (MongoDB)", []string{"WiredTiger"}},
	{"Berkeley DB", []string{"__db.001"}},
	{"LMDB", []string{"data.mdb"}},
	{"Lucene", []string{"write.lock"}},
	{"etcd", []string{"member", "member/snap", "member/wal"}},
	{"Redis", []string{"appendonlydir"}},
}

// finder is whoever can tell whether a path in a directory is there.
type finder interface{ has(path string) bool }

// unitAt names the kind of database that a directory is on one of three sides, "" for none.
func unitAt(o, b, l finder) string {
	for _, d := range databases {
		for _, side := range []finder{l, b, o} {
			if side == nil {
				continue
			}
			if !slices.ContainsFunc(d.files, func(file string) bool { return !side.has(file) }) {
				return d.kind
			}
		}
	}
	return ""
}

// companions are what SQLite keeps beside its file (sqlite.org/tempfiles.html).
var companions = []string{"-wal", "-journal", "-shm"}

// baseOf is the database file that a name may belong to.
func baseOf(name string) string {
	for _, suffix := range companions {
		if base, ok := strings.CutSuffix(name, suffix); ok && base != "" {
			return base
		}
	}
	return name
}

// withCompanions adds the names that would belong to the same databases.
func withCompanions(names []string) []string {
	all := slices.Clone(names)
	for _, name := range names {
		base := baseOf(name)
		all = append(all, base)
		for _, suffix := range companions {
			all = append(all, base+suffix)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// survey walks a database on all sides. changes: ours is not what was before.
// reason: why the live side has something that is neither what was before nor
// ours already; that is looked for file by file, so that what was handed over
// in part is taken up again.
func (g *giver) survey(o ours, b before, l *plain) (changes bool, reason string, err error) {
	names, err := g.union(o, b, l)
	if err != nil {
		return false, "", err
	}
	for _, name := range names {
		if err := g.ctx.Err(); err != nil {
			return false, "", err
		}
		c, r, err := g.surveyOne(o, b, l, name)
		if err != nil {
			return false, "", err
		}
		changes = changes || c
		if reason == "" {
			reason = r
		}
	}
	return changes, reason, nil
}

// union lists the names of all sides.
func (g *giver) union(o ours, b before, l *plain) ([]string, error) {
	var all []string
	if o != nil {
		names, err := o.names()
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	names, err := b.names()
	if err != nil {
		return nil, err
	}
	all = append(all, names...)
	if l != nil {
		if names, err = l.names(); err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// becomes is what a name is to be in the end, also where it is not listed.
func becomes(o ours, name string, was *state) (wanted, error) {
	if o == nil {
		return wanted{state: *was}, nil
	}
	w, err := o.look(name)
	if err != nil {
		return w, err
	}
	switch {
	case w.gone || w.emptied:
		w.state = state{}
	case w.passing:
		w.state = *was
	case !w.listed() && !o.opaque():
		w.state = *was
	}
	return w, nil
}

// noMore is a directory of which nothing is left.
type noMore struct{}

var _ ours = noMore{}

func (noMore) look(string) (wanted, error) { return wanted{}, nil }
func (noMore) names() ([]string, error)    { return nil, nil }
func (noMore) enter(string) (ours, error)  { return noMore{}, nil }
func (noMore) opaque() bool                { return true }
func (noMore) has(string) bool             { return false }
func (noMore) close()                      {}

func (g *giver) surveyOne(o ours, b before, l *plain, name string) (changes bool, reason string, err error) {
	was, err := b.look(name)
	if err != nil {
		return false, "", err
	}
	w, err := becomes(o, name, &was)
	if err != nil {
		return false, "", err
	}
	alike, err := same(&w.state, &was)
	if err != nil {
		return false, "", err
	}
	var is state
	if l != nil {
		if is, err = l.look(name); err != nil {
			return false, "", err
		}
	}
	clean, err := either(&is, &was, &w.state)
	if err != nil {
		return false, "", err
	}
	if !clean {
		return !alike, changed, nil
	}
	// A socket that nobody changed keeps no file of the database.
	if is.exists() && is.kind != unix.S_IFSOCK {
		if reason = untouchable(&is, g.usage); reason != "" {
			return !alike, reason, nil
		}
	}
	if !was.isDir() && !w.isDir() && !w.emptied && !is.isDir() {
		return !alike, "", nil
	}
	c, reason, err := g.surveyInside(o, b, l, name, &w, &was, &is)
	return !alike || c, reason, err
}

func (g *giver) surveyInside(o ours, b before, l *plain, name string, w *wanted, was, is *state) (changes bool, reason string, err error) {
	inB, err := inside(b, name, was)
	if err != nil {
		return false, "", err
	}
	defer inB.close()
	var inO ours
	switch {
	case w.listed() && (w.isDir() || w.emptied):
		if inO, err = o.enter(name); err != nil {
			return false, "", err
		}
		defer inO.close()
	case !w.isDir():
		inO = noMore{}
	}
	var inL *plain
	if is.isDir() && !is.mounted {
		if inL, err = l.sub(name); err != nil {
			return false, "", err
		}
		defer inL.close()
	}
	return g.survey(inO, inB, inL)
}

// unit is what a directory is as a database.
type unit struct {
	kind string // "" where it is none
	// settled: nothing in it changed, so nothing is to be given.
	settled bool
	// reason: it cannot be given.
	reason string
}

// database looks whether a directory is a database and may be given. l is nil
// where the live side has none.
func (g *giver) database(o ours, b before, l *plain) (unit, error) {
	var live finder
	if l != nil {
		live = l
	}
	u := unit{kind: unitAt(o, b, live)}
	if u.kind == "" {
		return u, nil
	}
	changes, reason, err := g.survey(o, b, l)
	if err != nil {
		return u, err
	}
	u.settled = !changes
	if reason != "" && l == nil {
		reason = gone
	}
	if reason != "" {
		u.reason = u.kind + " database: " + reason
	}
	return u, nil
}

// hold keeps the live side's of one name.
type hold struct{ reason, suffix string }

// heldDatabases finds the SQLite databases among names that may not be given.
func (g *giver) heldDatabases(names []string, o ours, b before, l *liveDir) (map[string]hold, error) {
	held, seen := map[string]hold{}, map[string]bool{}
	for _, name := range names {
		base := baseOf(name)
		if seen[base] {
			continue
		}
		seen[base] = true
		if some, err := isOne(base, o, b, l); err != nil {
			return nil, err
		} else if !some {
			continue
		}
		reason := ""
		for _, suffix := range append([]string{""}, companions...) {
			_, why, err := g.surveyOne(o, b, l.plain, base+suffix)
			if err != nil {
				return nil, err
			}
			if reason == "" {
				reason = why
			}
		}
		if reason == "" {
			continue
		}
		for _, suffix := range append([]string{""}, companions...) {
			held[base+suffix] = hold{"SQLite database: " + reason, suffix}
		}
	}
	return held, nil
}

// isOne reports whether a name is that of an SQLite database of more than one
// file on any side. Alone it is a file like others.
func isOne(base string, o ours, b before, l *liveDir) (bool, error) {
	for _, suffix := range companions {
		name := base + suffix
		w, err := o.look(name)
		if err != nil || w.exists() {
			return true, err
		}
		if s, err := b.look(name); err != nil || s.exists() {
			return true, err
		}
		if s, err := l.look(name); err != nil || s.exists() {
			return true, err
		}
	}
	return false, nil
}
