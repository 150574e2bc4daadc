// zypper: openSUSE and SUSE Linux Enterprise.

package pkgmgr

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

type zypper struct {
	rolling  bool   // a full update is a distribution upgrade
	database string // of rpm, relative to the root
}

var _ Manager = zypper{}

func (zypper) Name() string { return "zypper" }

// command is zypper with one verb, which nobody has to answer. Keys that are not
// known are refused by that, not imported.
func (zypper) command(o Options, verb string, args ...string) Command {
	argv := []string{"zypper", "--non-interactive", "--no-color", verb}
	if o.DryRun && verb != "refresh" { // which has no dry run
		argv = append(argv, "--dry-run")
	}
	return Command{
		Argv: append(argv, args...),
		Env: []string{
			"LC_ALL=C.UTF-8",
			"ZYPP_LOCK_TIMEOUT=60",
			// The transaction is the snapshot; snapper's plugin would make two more.
			"DISABLE_SNAPPER_ZYPP_PLUGIN=1",
			"DISABLE_RESTART_ON_UPDATE=yes",
		},
	}
}

const agree = "--auto-agree-with-licenses"

func (m zypper) Add(names []string, o Options) []Command {
	args := []string{agree}
	if slices.ContainsFunc(names, func(name string) bool { return strings.ContainsAny(name, "=<") }) {
		// A version that was asked for by name may be an older one. Without this
		// zypper does nothing, and calls that success.
		args = append(args, "--oldpackage")
	}
	install := m.command(o, "install", append(append(args, "--"), names...)...)
	if o.Refresh {
		return []Command{m.command(o, "refresh"), install}
	}
	return []Command{install}
}

func (m zypper) Remove(names []string, o Options) []Command {
	return []Command{m.command(o, "remove", append([]string{"--"}, names...)...)}
}

// Update is `dup` where the system follows its repositories, which also
// downgrades and drops as they do, else `update`.
func (m zypper) Update(o Options) []Command {
	upgrade := "update"
	if m.rolling {
		upgrade = "dist-upgrade"
	}
	return []Command{m.command(o, "refresh"), m.command(o, upgrade, agree)}
}

func (zypper) Caches() []string { return []string{"/var/cache/zypp"} }

func (m zypper) Database() []string { return []string{m.database} }

func (zypper) Compare(a, b string) int { return compareRPM(a, b) }

// zypperNotes: zypper(8), EXIT CODES. A failing scriptlet (107) is a failure
// here: the snapshot is dropped, and the running system is still whole.
var zypperNotes = map[int]string{
	1:   "zypper met an unexpected situation",
	2:   "zypper did not understand the command",
	3:   "zypper did not accept an argument",
	4:   "zypper reported a problem",
	5:   "zypper lacks a privilege",
	6:   "no repositories are defined",
	7:   "another process is using zypper",
	8:   "packages could not be installed or removed",
	100: "patches are available",
	101: "security patches are available",
	102: "a reboot is needed for what was installed",
	103: "the package manager itself was updated; the rest follows when it runs again",
	104: "a package was not found",
	105: "zypper was interrupted",
	106: "some repositories could not be refreshed and were left out",
	107: "a package's script failed",
}

var (
	zypperMissing   = regexp.MustCompile(`(?m)^(?:No provider of|Package) '([^']+)' (?:not )?found\.`)
	zypperRefreshed = regexp.MustCompile(`(?m)^Some of the repositories have not been refreshed`)
)

func (zypper) Outcome(argv []string, status int, output []byte) Outcome {
	if status == 0 {
		return Outcome{OK: true}
	}
	note := zypperNotes[status]
	if note == "" && status > 128 {
		note = "zypper was killed"
	} else if note == "" {
		note = fmt.Sprintf("zypper ended with status %d", status)
	}
	o := Outcome{Note: note, NoSpace: noSpace.Match(output)}
	switch status {
	case 100, 101, 106:
		o.OK = true
	case 102:
		o.OK, o.RebootSuggested = true, true
	case 103:
		o.OK, o.Again = true, true
	case 7:
		o.Locked = true
	case 104:
		for _, found := range zypperMissing.FindAllSubmatch(output, -1) {
			o.Missing = addMissing(o.Missing, string(found[1]))
		}
		if len(o.Missing) > 0 {
			o.Note = notFound(o.Missing)
		}
	case 4:
		// One of several failed; `update` leaves it out, and a distribution upgrade
		// refuses by itself.
		if verb(argv) == "refresh" && zypperRefreshed.Match(output) {
			o.OK, o.Note = true, "some repositories could not be refreshed"
		}
	}
	return o
}
