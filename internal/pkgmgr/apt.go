// apt: Debian, Ubuntu and what descends from them.

package pkgmgr

import (
	"regexp"
	"slices"
	"strings"
)

type apt struct{}

var _ Manager = apt{}

func (apt) Name() string { return "apt" }

// command is apt-get with one verb. Nobody answers questions: changed
// configuration files are kept as they are (dpkg leaves the new one beside).
func (apt) command(o Options, verb string, args ...string) Command {
	argv := []string{
		"apt-get", "-y", "-q",
		"-o", "Dpkg::Use-Pty=0",
		"-o", "DPkg::Options::=--force-confdef",
		"-o", "DPkg::Options::=--force-confold",
		// For another command in the same snapshot. The locks of lists and archives,
		// which are shared with the running system, know no waiting: Outcome.Locked.
		"-o", "DPkg::Lock::Timeout=60",
		// Else a name with a dot that does not exist is taken for a regular
		// expression, and whatever matches is installed or removed.
		"-o", "APT::Cmd::Pattern-Only=true",
	}
	if o.DryRun && verb != "update" { // which knows no simulation
		argv = append(argv, "--simulate")
	}
	return Command{
		Argv: append(append(argv, verb), args...),
		Env: []string{
			"LC_ALL=C.UTF-8",
			"DEBIAN_FRONTEND=noninteractive",
			"APT_LISTCHANGES_FRONTEND=none",
			"APT_LISTBUGS_FRONTEND=none",
			"NEEDRESTART_SUSPEND=1",
			"UCF_FORCE_CONFFOLD=1",
		},
	}
}

func (m apt) Add(names []string, o Options) []Command {
	var args []string
	if slices.ContainsFunc(names, func(name string) bool { return strings.ContainsAny(name, "=/") }) {
		// A version that was asked for by name may be an older one.
		args = append(args, "--allow-downgrades")
	}
	install := m.command(o, "install", append(append(args, "--"), names...)...)
	if o.Refresh {
		return []Command{m.command(o, "update"), install}
	}
	return []Command{install}
}

func (m apt) Remove(names []string, o Options) []Command {
	args := []string{"--"}
	for _, name := range names {
		// "remove name+" installs name. An explicit "-" takes the "+" for a part of
		// the name, which it is (memtest86+, g++).
		if strings.HasSuffix(name, "+") {
			name += "-"
		}
		args = append(args, name)
	}
	return []Command{m.command(o, "remove", args...)}
}

func (m apt) Update(o Options) []Command {
	return []Command{m.command(o, "update"), m.command(o, "dist-upgrade")}
}

// Caches: with the lists, a refresh is also the running system's; apt's binary
// caches lie in the first.
func (apt) Caches() []string { return []string{"/var/cache/apt", "/var/lib/apt/lists"} }

func (apt) Database() []string { return []string{dpkgDir} }

func (apt) Compare(a, b string) int { return compareDeb(a, b) }

var (
	aptMissing = regexp.MustCompile(`(?m)^E: (?:Unable to locate package (\S+)|` +
		`Package '([^']+)' has no installation candidate|` +
		`(?:Version|Release) '([^']+)' for '([^']+)' was not found)`)
	aptLocked = regexp.MustCompile(`(?m)^E: (?:Could not get lock|Unable to acquire the dpkg frontend lock|Unable to lock )`)
	// aptFetched are the lines of sources that answered.
	aptFetched = regexp.MustCompile(`(?m)^(?:Hit|Get):`)
	aptIgnored = regexp.MustCompile(`(?m)^W: Some index files failed to download`)
)

func (apt) Outcome(argv []string, status int, output []byte) Outcome {
	if status == 0 {
		if verb(argv) != "update" || !aptIgnored.Match(output) {
			return Outcome{OK: true}
		}
		// apt calls sources that cannot be reached a warning. Where none could,
		// "everything is up to date" would be a guess.
		if aptFetched.Match(output) {
			return Outcome{OK: true, Note: "some package sources could not be read; their old lists were used"}
		}
		return Outcome{Note: "no package source could be read"}
	}
	o := Outcome{Note: "apt reported an error", NoSpace: noSpace.Match(output)}
	for _, found := range aptMissing.FindAllSubmatch(output, -1) {
		name := string(found[1]) + string(found[2])
		if len(found[4]) > 0 {
			name = string(found[4]) + "=" + string(found[3])
		}
		o.Missing = addMissing(o.Missing, name)
	}
	switch {
	case len(o.Missing) > 0:
		o.Note = notFound(o.Missing)
	case aptLocked.Match(output):
		o.Locked, o.Note = true, "another process is using apt"
	case o.NoSpace:
		o.Note = "apt ran out of space"
	case status > 128:
		o.Note = "apt was killed"
	}
	return o
}

// verb is the manager's subcommand in argv: the last word before "--" that is one.
func verb(argv []string) string {
	if i := slices.Index(argv, "--"); i >= 0 {
		argv = argv[:i]
	}
	for _, word := range slices.Backward(argv) {
		switch word {
		case "install", "remove", "update", "refresh", "dist-upgrade": // of both managers
			return word
		}
	}
	return ""
}

// beforeVerb is a copy of argv with more words before the verb; false where there is none.
func beforeVerb(argv []string, words ...string) ([]string, bool) {
	at := slices.Index(argv, verb(argv))
	if at < 0 {
		return argv, false
	}
	return slices.Insert(slices.Clone(argv), at, words...), true
}

// addMissing adds the name of a package. Scripts of packages print what they
// like among the manager's own words: what is no name is none.
func addMissing(names []string, name string) []string {
	if slices.Contains(names, name) || invalid(name) != "" {
		return names
	}
	return append(names, name)
}

func notFound(names []string) string {
	if len(names) == 1 {
		return "package " + names[0] + " was not found"
	}
	return "packages were not found: " + strings.Join(names, ", ")
}
