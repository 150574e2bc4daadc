package etcmerge

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Action is how a rule merges what both sides have.
type Action string

const (
	Lines        Action = "lines"        // texts by lines, all else whole: what happens without a rule
	Whole        Action = "whole"        // never by lines
	Set          Action = "set"          // every line stands for itself, and their order says nothing
	Accounts     Action = "accounts"     // users and groups, by entry (see accounts.go)
	Alternatives Action = "alternatives" // links that follow the snapshot's packages unless the running side chose
	State        Action = "state"        // what programs keep for themselves: as whole, but the loser is not kept, and it is no conflict
	Live         Action = "live"         // always the running side's
	Derived      Action = "derived"      // made from other files: the snapshot's, if it has one
	Never        Action = "never"        // never taken over: locks
)

var actions = []Action{Lines, Whole, Set, Alternatives, State, Live, Derived, Never}

// Rule applies an action to the files whose path matches a pattern: relative to
// the tree or below /etc, in the syntax of path.Match by parts, with ** for any
// number of parts.
type Rule struct {
	Pattern string
	Action  Action
}

// DefaultRules are where a merge by lines is wrong. The first that matches counts.
var DefaultRules = []Rule{
	// Identity and state of the machine that runs, as it is now.
	{"machine-id", Live},
	{"mtab", Live},
	{"resolv.conf", Live},
	{"adjtime", Live},

	// Users and groups, and the copies that their tools leave.
	{"passwd", Accounts},
	{"group", Accounts},
	{"shadow", Accounts},
	{"gshadow", Accounts},
	{"subuid", Accounts},
	{"subgid", Accounts},
	{"passwd-", State},
	{"group-", State},
	{"shadow-", State},
	{"gshadow-", State},
	{"subuid-", State},
	{"subgid-", State},

	// A table of mounts that nobody has written may not boot; so with keys.
	{"fstab", Whole},
	{"crypttab", Whole},
	{"ssh/ssh_host_*", Whole},
	{"ssl/private/**", Whole},
	{"**/*.pem", Whole},
	{"**/*.key", Whole},
	{"**/*.crt", Whole},

	{"alternatives/*", Alternatives},

	// Lists to which both sides add at the end.
	{"shells", Set},
	{"ftpusers", Set},
	{"cron.allow", Set},
	{"cron.deny", Set},
	{"at.allow", Set},
	{"at.deny", Set},

	// Made from what is in the snapshot.
	{"ld.so.cache", Derived},
	{"udev/hwdb.bin", Derived},
	{".updated", Derived},

	{"lvm/archive/**", State},
	{"lvm/backup/**", State},
	{"lvm/cache/**", State},
	{"multipath/bindings", State},
	{"multipath/wwids", State},
	{"blkid.tab", State},

	// A lock that is carried over is one that nobody holds and nobody frees.
	{".pwd.lock", Never},
	{"passwd.lock", Never},
	{"group.lock", Never},
	{"shadow.lock", Never},
	{"gshadow.lock", Never},
	{"subuid.lock", Never},
	{"subgid.lock", Never},
	{"mtab~", Never},
}

// rule is one that was found for a path.
type rule struct{ Rule }

// name is what the record says of it.
func (r rule) name() string { return string(r.Action) }

// quiet: what loses is not worth a name beside the winner, nor a person's time.
func (r rule) quiet() bool {
	switch r.Action {
	case State, Alternatives, Live, Derived, Never:
		return true
	}
	return false
}

type rules struct {
	exact    map[string]compiled // the default rules without a wildcard
	patterns []compiled
}

type compiled struct {
	Rule
	parts []string
	order int
}

// compile checks rules and puts those of the configuration before the default ones.
func compile(configured []Rule) (rules, error) {
	all := rules{exact: map[string]compiled{}}
	for i, r := range append(configured[:len(configured):len(configured)], DefaultRules...) {
		pattern := strings.TrimPrefix(r.Pattern, "/etc/")
		if i < len(configured) {
			if err := check(r, pattern); err != nil {
				return rules{}, err
			}
		}
		c := compiled{r, strings.Split(pattern, "/"), i}
		if strings.ContainsAny(pattern, `*?[\`) {
			all.patterns = append(all.patterns, c)
		} else if _, ok := all.exact[pattern]; !ok {
			all.exact[pattern] = c
		}
	}
	return all, nil
}

func check(r Rule, pattern string) error {
	known := false
	for _, a := range actions {
		known = known || r.Action == a
	}
	if !known {
		return fmt.Errorf("merge rule for %q: unknown action %q; there are %s", r.Pattern, r.Action, ActionNames())
	}
	if pattern == "" || path.Clean("/"+pattern) != "/"+pattern {
		return fmt.Errorf("merge rule %q is not a path below /etc", r.Pattern)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("merge rule %q: %w", r.Pattern, err)
	}
	return nil
}

// ActionNames lists the actions that a configured rule can have.
func ActionNames() string {
	names := make([]string, len(actions))
	for i, a := range actions {
		names[i] = string(a)
	}
	return strings.Join(names, ", ")
}

// live are the paths of rules that say so; with everywhere there are patterns too.
func (rs rules) live() (paths []string, everywhere bool) {
	for path, c := range rs.exact {
		if c.Action == Live {
			paths = append(paths, path)
		}
	}
	return paths, slices.ContainsFunc(rs.patterns, func(c compiled) bool { return c.Action == Live })
}

// Reverts reports whether a merge undoes what only the snapshot did to one of
// the paths, because such a file is always the running side's.
func Reverts(configured []Rule, paths []string) (bool, error) {
	rules, err := compile(configured)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(paths, func(path string) bool { return rules.of(path).Action == Live }), nil
}

// of finds the rule for a path. What an earlier merge kept aside is one of
// nobody's files: it is not merged by lines, whatever it is a copy of.
func (rs rules) of(name string) rule {
	if _, _, ok := asideOf(path.Base(name)); ok {
		return rule{Rule{Action: Whole}}
	}
	found, ok := rs.exact[name]
	var parts []string
	for _, c := range rs.patterns {
		if ok && found.order < c.order {
			break
		}
		if parts == nil {
			parts = strings.Split(name, "/")
		}
		if matches(c.parts, parts) {
			found, ok = c, true
			break
		}
	}
	if !ok {
		return rule{Rule{Action: Lines}}
	}
	return rule{found.Rule}
}

// matches compares a path with a pattern part by part.
func matches(pattern, parts []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(parts) + 1 {
				if matches(pattern[1:], parts[i:]) {
					return true
				}
			}
			return false
		}
		if len(parts) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], parts[0]); err != nil || !ok {
			return false
		}
		pattern, parts = pattern[1:], parts[1:]
	}
	return len(parts) == 0
}
