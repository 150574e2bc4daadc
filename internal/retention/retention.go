// Package retention decides which snapshots stay and which go, and by which rule.
package retention

import (
	"cmp"
	"path"
	"slices"
	"time"
)

// Snapshot is what the rules look at.
type Snapshot struct {
	Number  uint64
	Created time.Time
	Pinned  bool
	Tags    []string
	// Needed is why it stays whatever the rules say, "" where it need not.
	Needed string
}

// Rules are what somebody wants. The zero value keeps everything.
type Rules struct {
	Least int           // so many of the newest stay, however old they are and however little is free
	Most  int           // of what is not needed, pinned or tagged no more than so many stay; 0 for any number
	For   time.Duration // what is older goes; 0 for any age
	Tags  []string      // what has a tag that one of these patterns (path.Match) matches stays
}

// Rule is what decided about a snapshot.
type Rule string

// The rules, in the order in which they are asked.
const (
	Needed Rule = "needed"
	Pinned Rule = "pinned"
	Tagged Rule = "tagged"
	Least  Rule = "least"
	Most   Rule = "most"
	Age    Rule = "age"
	Spare  Rule = "spare" // stays as long as there is room
)

// Decision is what becomes of a snapshot.
type Decision struct {
	Snapshot
	Delete bool
	Rule   Rule
}

// Decide looks at all snapshots of a system, and returns what becomes of each,
// the oldest first. The order is that of numbers: clocks are wrong at times.
func Decide(all []Snapshot, rules Rules, now time.Time) []Decision {
	decided := make([]Decision, len(all))
	for i, s := range all {
		decided[i].Snapshot = s
	}
	slices.SortFunc(decided, func(a, b Decision) int { return cmp.Compare(b.Number, a.Number) })
	others := 0
	for i := range decided {
		d := &decided[i]
		tagged := func(pattern string) bool {
			return slices.ContainsFunc(d.Tags, func(tag string) bool { ok, err := path.Match(pattern, tag); return ok && err == nil })
		}
		switch {
		case d.Needed != "":
			d.Rule = Needed
		case d.Pinned:
			d.Rule = Pinned
		case slices.ContainsFunc(rules.Tags, tagged):
			d.Rule = Tagged
		default:
			others++
			switch {
			case i < rules.Least:
				d.Rule = Least
			case rules.Most > 0 && others > rules.Most:
				d.Rule, d.Delete = Most, true
			case rules.For > 0 && now.Sub(d.Created) > rules.For:
				d.Rule, d.Delete = Age, true
			default:
				d.Rule = Spare
			}
		}
	}
	slices.Reverse(decided)
	return decided
}
