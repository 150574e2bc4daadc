// The short grub.cfg that distributions put on the EFI partition: it says where
// the real one is.

package boot

import (
	"bytes"
	"path"
	"regexp"
	"strings"
)

// reference is a file that a GRUB script loads.
type reference struct {
	UUID string // of its file system
	Path string // from the top of that
	// Relative: or from the default subvolume.
	Relative bool
}

// longestWord is above every path that GRUB is given. A few lines of variables
// that are made of each other could ask for any amount of memory.
const longestWord = 4096

// parseStub follows the few commands that such a file consists of: search, set
// and configfile or source. Nil where the text is a menu of its own, or says
// what this does not understand.
func parseStub(text []byte) *reference {
	variables := map[string]string{}
	relative := followsDefault(text)
	unquoted := strings.NewReplacer(`"`, "", "'", "")
	for line := range bytes.Lines(text) {
		words := strings.Fields(unquoted.Replace(string(line)))
		if len(words) == 0 {
			continue
		}
		for i, word := range words[1:] {
			if len(word) <= longestWord {
				word = expand(word, variables)
			}
			if len(word) > longestWord {
				return nil
			}
			words[i+1] = word
		}
		switch words[0] {
		case "menuentry", "submenu", "linux", "blscfg":
			return nil
		case "search", "search.fs_uuid":
			if name, id := searched(words); id != "" {
				variables[name] = id
			}
		case "set":
			if len(words) > 1 {
				name, value, _ := strings.Cut(words[1], "=")
				variables[name] = value
			}
		case "configfile", "source", ".":
			if len(words) > 1 && path.Base(words[1]) == "grub.cfg" {
				return located(words[1], variables["root"], relative)
			}
		}
	}
	return nil
}

// searched is the variable that a search by uuid sets, and the uuid.
func searched(words []string) (name, id string) {
	name = "root"
	byUUID := words[0] == "search.fs_uuid"
	var plain []string
	for _, word := range words[1:] {
		switch {
		case word == "--fs-uuid" || word == "-u":
			byUUID = true
		case strings.HasPrefix(word, "--set="):
			name = strings.TrimPrefix(word, "--set=")
		case !strings.HasPrefix(word, "-"):
			plain = append(plain, word)
		}
	}
	if !byUUID || len(plain) == 0 {
		return name, ""
	}
	if words[0] == "search.fs_uuid" {
		// UUID VARIABLE HINT…
		if len(plain) > 1 {
			name = plain[1]
		}
		return name, plain[0]
	}
	return name, plain[len(plain)-1]
}

// located takes "(DEVICE)/path" apart; device is the uuid that was searched for.
func located(file, root string, relative bool) *reference {
	if device, rest, ok := strings.Cut(strings.TrimPrefix(file, "("), ")"); ok && strings.HasPrefix(file, "(") {
		root, file = device, rest
	}
	if !strings.Contains(root, "-") || !strings.HasPrefix(file, "/") {
		return nil
	}
	return &reference{UUID: root, Path: path.Clean(file), Relative: relative}
}

var variable = regexp.MustCompile(`\$(\w+|\{\w+\})`)

// expand puts in what is known; the rest becomes nothing, as in GRUB.
func expand(word string, variables map[string]string) string {
	return variable.ReplaceAllStringFunc(word, func(name string) string {
		return variables[strings.Trim(name, "${}")]
	})
}
