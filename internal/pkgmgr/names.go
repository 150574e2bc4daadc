// Which package names are accepted: everything that a manager could take for
// an option, a file, a pattern or another verb is refused before it runs.

package pkgmgr

import (
	"fmt"
	"strings"
)

const (
	maxName  = 255  // bytes
	maxNames = 4096 // with maxName it stays below what the kernel lets an argv be
)

// InvalidNameError is a package name that cannot be one.
type InvalidNameError struct {
	Name   string
	Reason string
}

func (e *InvalidNameError) Error() string {
	name := e.Name
	if len(name) > 40 {
		name = strings.ToValidUTF8(name[:40], "") + "…"
	}
	return fmt.Sprintf("package name %q is not accepted: %s", name, e.Reason)
}

// CheckNames refuses names that are not plain package names, with an
// *InvalidNameError. Accepted are a name and what narrows it down: "name=1.2",
// "name/suite", "name:arch" (apt); "name=1.2", "name>=1.2", "name.arch",
// "pattern:name", "perl(Some::Module)" (zypper). At least one must be given.
func CheckNames(names []string) error {
	if len(names) == 0 {
		return &InvalidNameError{Reason: "no package is named"}
	}
	if len(names) > maxNames {
		return &InvalidNameError{Name: names[maxNames], Reason: fmt.Sprintf("%d names are more than the %d that one command takes", len(names), maxNames)}
	}
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		reason := invalid(name)
		if reason == "" && seen[name] {
			reason = "it is given twice"
		}
		if reason != "" {
			return &InvalidNameError{Name: name, Reason: reason}
		}
		seen[name] = true
	}
	return nil
}

// invalid says what is wrong with name, or nothing.
func invalid(name string) string {
	if name == "" {
		return "it is empty"
	}
	if len(name) > maxName {
		return fmt.Sprintf("it has %d bytes, and %d are the limit", len(name), maxName)
	}
	if name[0] == '-' {
		return "it looks like an option"
	}
	if isPath(name) {
		return "it is a file or an address, which the package manager cannot see inside the snapshot; name a package of its repositories"
	}
	for i := range len(name) {
		switch c := name[i]; {
		case isAlnum(c), strings.IndexByte("+-._:=~<>()^/,@%", c) >= 0:
		case c == '*' || c == '?' || c == '[' || c == ']':
			return "wildcards are not expanded; name each package"
		case c == ' ':
			return "it holds a space"
		case c < ' ' || c == 0x7f:
			return "it holds a control character"
		default:
			return "it holds a character that package names do not have"
		}
	}
	if !isAlnum(name[0]) && name[0] != '_' {
		return "a package name starts with a letter or a digit"
	}
	if name[len(name)-1] == '-' {
		// apt-get install name- removes the package.
		return `the "-" at its end would mean its removal`
	}
	return ""
}

// isPath reports whether a manager would look for a file, or fetch one.
func isPath(name string) bool {
	for _, prefix := range []string{"/", "./", "../", "~/"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.Contains(name, "://") || strings.HasSuffix(name, ".deb") || strings.HasSuffix(name, ".rpm")
}

func isAlnum(c byte) bool { return isDigit(c) || isAlpha(c) }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
