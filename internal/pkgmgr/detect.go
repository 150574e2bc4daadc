// Which package manager a root has: what os-release says the system is, and
// which tools are there.

package pkgmgr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrUnsupported: the root has no package manager that this package knows.
var ErrUnsupported = errors.New("no supported package manager")

// family is one manager, and how it is recognised.
type family struct {
	name  string
	tools []string // relative to the root; all must be there
	ids   []string // of os-release
	// in makes the manager for a root.
	in func(t *tree, system osRelease) Manager
}

func families() []family {
	return []family{
		{
			name: "apt", tools: []string{"usr/bin/apt-get", "usr/bin/dpkg"}, ids: []string{"debian", "ubuntu"},
			in: func(*tree, osRelease) Manager { return apt{} },
		},
		{
			name: "zypper", tools: []string{"usr/bin/zypper", "usr/bin/rpm"},
			ids: []string{"opensuse", "suse", "opensuse-tumbleweed", "opensuse-leap", "sles"},
			in: func(t *tree, system osRelease) Manager {
				return zypper{rolling: system.rolling(), database: rpmDatabase(t)}
			},
		},
	}
}

// Detect finds the package manager of the system at root. configured names one
// and wins; empty leaves it to os-release, and to the tools that exist where
// os-release does not tell. Errors say what was looked for; they are
// ErrUnsupported unless root itself cannot be read.
func Detect(root, configured string) (Manager, error) {
	t, err := openTree(root)
	if err != nil {
		return nil, fmt.Errorf("cannot find the package manager: %w", err)
	}
	defer t.Close()
	system := readOSRelease(t)
	if configured != "" {
		return named(t, system, root, configured)
	}
	var present []family
	for _, f := range families() {
		if len(missingTools(t, f)) == 0 {
			present = append(present, f)
		}
	}
	for _, id := range system.ids() {
		for _, f := range present {
			if slices.Contains(f.ids, id) {
				return f.in(t, system), nil
			}
		}
	}
	switch len(present) {
	case 1:
		return present[0].in(t, system), nil
	case 0:
		var looked []string
		for _, f := range families() {
			looked = append(looked, fmt.Sprintf("%s (%s)", f.name, strings.Join(f.tools, ", ")))
		}
		return nil, fmt.Errorf("%w in %s: looked for %s", ErrUnsupported, root, strings.Join(looked, " and "))
	}
	return nil, fmt.Errorf("%w in %s: %s are all there, and os-release does not tell which one is meant: name it in the configuration",
		ErrUnsupported, root, familyNames(present))
}

// named is the manager that the configuration asks for.
func named(t *tree, system osRelease, root, name string) (Manager, error) {
	all := families()
	i := slices.IndexFunc(all, func(f family) bool { return f.name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w %q: it can be %s", ErrUnsupported, name, familyNames(all))
	}
	if missing := missingTools(t, all[i]); len(missing) > 0 {
		return nil, fmt.Errorf("%w: %s is configured, and %s has no %s", ErrUnsupported, name, root, strings.Join(missing, ", no "))
	}
	return all[i].in(t, system), nil
}

func missingTools(t *tree, f family) []string {
	var missing []string
	for _, tool := range f.tools {
		if !t.isFile(tool) {
			missing = append(missing, tool)
		}
	}
	return missing
}

func familyNames(list []family) string {
	var names []string
	for _, f := range list {
		names = append(names, f.name)
	}
	return strings.Join(names, ", ")
}

// osRelease are the assignments of os-release(5).
type osRelease map[string]string

// readOSRelease is empty where there is no such file.
func readOSRelease(t *tree) osRelease {
	data, err := t.read("etc/os-release")
	if err != nil {
		data, err = t.read("usr/lib/os-release")
	}
	if err != nil {
		return osRelease{}
	}
	return parseOSRelease(string(data))
}

func parseOSRelease(text string) osRelease {
	values := osRelease{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, found := strings.Cut(line, "=")
		if !found || strings.HasPrefix(line, "#") {
			continue
		}
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		values[key] = value
	}
	return values
}

// ids are ID and ID_LIKE, closest first.
func (o osRelease) ids() []string {
	return append([]string{o["ID"]}, strings.Fields(o["ID_LIKE"])...)
}

// rolling reports whether the system follows its repositories (Tumbleweed,
// MicroOS, Slowroll, Aeon, Kalpa) instead of having releases (Leap, SLE). Those
// have the date of a build as their version.
func (o osRelease) rolling() bool {
	for _, id := range o.ids() {
		if id == "opensuse-tumbleweed" || id == "opensuse-microos" {
			return true
		}
	}
	version := o["VERSION_ID"]
	_, rest := cutRun(version, isDigit)
	return len(version) == len("20250801") && rest == ""
}
