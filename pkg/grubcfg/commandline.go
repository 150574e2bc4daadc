// The kernel command line: taken over from the running system without what
// names its root, and given to GRUB so that the kernel sees the same again.

package grubcfg

import (
	"slices"
	"strings"
)

// FallbackParameter, and a number, is on the command line of a kernel that was
// loaded because the one of that snapshot could not be.
const FallbackParameter = "txupd.fallback="

// CommandLine is the kernel command line of the running system
// (/proc/cmdline) without what chose this root and this kernel: root=, the
// subvol= and subvolid= of rootflags=, initrd=, BOOT_IMAGE= and
// FallbackParameter. Other root flags, ro, rw and rootfstype= stay, since they
// hold for every snapshot of the file system. What follows a lone "--" is for
// init and stays as it is.
func CommandLine(proc string) string {
	words := splitCommandLine(proc)
	var kept []string
	for i, word := range words {
		if word == "--" {
			kept = append(kept, words[i:]...)
			break
		}
		name, value, _ := strings.Cut(bare(word), "=")
		switch name {
		case "root", "initrd", "BOOT_IMAGE", strings.TrimSuffix(FallbackParameter, "="):
			continue
		case "rootflags":
			flags := withoutSubvolume(value)
			if flags == "" {
				continue
			}
			word = oneWord("rootflags=" + flags)
		}
		kept = append(kept, word)
	}
	return strings.Join(kept, " ")
}

// pinned is a command line that has this root and no other. Its rootflags are
// one word, because the kernel heeds the last such word only.
func pinned(commandLine, uuid, rootPath string) []string {
	var flags, others []string
	words := splitCommandLine(CommandLine(commandLine))
	for i, word := range words {
		if word == "--" {
			others = append(others, words[i:]...)
			break
		}
		if more, ok := strings.CutPrefix(bare(word), "rootflags="); ok {
			flags = append(flags, more)
			continue
		}
		others = append(others, word)
	}
	if rootPath == "" {
		rootPath = "/"
	}
	flags = append(flags, "subvol="+rootPath)
	return append([]string{"root=UUID=" + uuid, oneWord("rootflags=" + strings.Join(flags, ","))}, others...)
}

func withoutSubvolume(flags string) string {
	var kept []string
	for flag := range strings.SplitSeq(flags, ",") {
		if flag != "" && !strings.HasPrefix(flag, "subvol=") && !strings.HasPrefix(flag, "subvolid=") {
			kept = append(kept, flag)
		}
	}
	return strings.Join(kept, ",")
}

// Parameter is the value of a kernel parameter on a command line: of the last
// one of that name, which is the one that the kernel heeds. What follows a lone
// "--" is for init.
func Parameter(commandLine, name string) (value string, found bool) {
	for _, word := range splitCommandLine(commandLine) {
		if word == "--" {
			break
		}
		if key, v, _ := strings.Cut(bare(word), "="); key == name {
			value, found = v, true
		}
	}
	return value, found
}

// WithParameters is a command line with more parameters, where the kernel still
// takes them for its own.
func WithParameters(commandLine string, more ...string) string {
	words := splitCommandLine(commandLine)
	end := slices.Index(words, "--")
	if end < 0 {
		end = len(words)
	}
	return strings.Join(slices.Insert(words, end, more...), " ")
}

// splitCommandLine cuts where the kernel cuts: at white space outside of
// double quotes, which it cannot escape (lib/cmdline.c, next_arg).
func splitCommandLine(s string) []string {
	var words []string
	quoted := false
	start := -1
	for i := 0; i < len(s); i++ {
		if isBlank(rune(s[i])) && !quoted {
			if start >= 0 {
				words = append(words, s[start:i])
				start = -1
			}
			continue
		}
		if start < 0 {
			start = i
		}
		if s[i] == '"' {
			quoted = !quoted
		}
	}
	if start >= 0 {
		words = append(words, s[start:])
	}
	return words
}

// bare is a word as the kernel reads it: without its double quotes.
func bare(word string) string { return strings.ReplaceAll(word, `"`, "") }

// oneWord is what bare makes s of, on a command line.
func oneWord(s string) string {
	if strings.IndexFunc(s, isBlank) >= 0 {
		return `"` + s + `"`
	}
	return s
}

// isBlank: what separates words for the kernel.
func isBlank(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

// loaderWord is the argument from which GRUB makes the given word of a kernel
// command line. GRUB puts quotes around an argument with a blank and a
// backslash before every quote and backslash (grub-core/lib/cmdline.c); a word
// that has been through that must not get it a second time.
func loaderWord(word string) string {
	inner := word
	if len(inner) >= 2 && inner[0] == '"' && inner[len(inner)-1] == '"' {
		inner = inner[1 : len(inner)-1]
	}
	if argument := unescape([]byte(inner)); loaderText(argument) == word {
		return argument
	}
	return bare(word)
}

// loaderText is what GRUB makes of one argument.
func loaderText(argument string) string {
	text := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace(argument)
	if strings.Contains(argument, " ") {
		return `"` + text + `"`
	}
	return text
}
