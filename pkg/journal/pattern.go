// Which paths a question is about: one, what is below it, or a pattern.

package journal

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/txupd/txupd/pkg/journal/record"
)

// Pattern selects paths: a path with everything below it, or a glob in which
// "?" is one character and "*" any number of them but for "/", "**" with it,
// and "[a-z]" one of a set; "\" takes the meaning from the next one.
type Pattern struct {
	// below is the longest leading path without a wildcard; everything selected is at or below it.
	below string
	glob  *regexp.Regexp // nil where below says it all
}

// ParsePattern reads a pattern, which begins with "/".
func ParsePattern(text string) (Pattern, error) {
	if !strings.HasPrefix(text, "/") {
		return Pattern{}, fmt.Errorf("the path %q does not begin with \"/\"", text)
	}
	if strings.ContainsRune(text, 0) {
		return Pattern{}, fmt.Errorf("the path %q holds a NUL", text)
	}
	// The root has no name of its own to be followed by one more.
	text = strings.TrimRight(text, "/")
	p := Pattern{}
	var glob strings.Builder
	wild := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			glob.WriteString(literal(text[i]))
		case c == '*' && strings.HasPrefix(text[i:], "**"):
			i++
			glob.WriteString(`(?s:.)*`)
			wild = true
		case c == '*':
			glob.WriteString(`[^/]*`)
			wild = true
		case c == '?':
			glob.WriteString(`[^/]`)
			wild = true
		case c == '[' && set(text[i:]) != "":
			s := set(text[i:])
			i += len(s) - 1
			body := s[1 : len(s)-1]
			if body[0] == '!' || body[0] == '^' {
				body = "^/" + body[1:]
			}
			glob.WriteString("[" + strings.ReplaceAll(body, "[", `\[`) + "]")
			wild = true
		default: // also a bracket that nothing closes: there is a program of that name
			glob.WriteString(literal(c))
		}
		if !wild {
			p.below = unescaped(text[:i+1])
		}
	}
	if !wild {
		return p, nil
	}
	p.below = p.below[:max(0, strings.LastIndexByte(p.below, '/'))]
	var err error
	if p.glob, err = regexp.Compile(`^` + glob.String() + `(/(?s:.)*)?$`); err != nil {
		return Pattern{}, fmt.Errorf("the path %q is no pattern: a set like [a-z] is expected in brackets", text)
	}
	return p, nil
}

// literal is one byte of a path for a regular expression.
func literal(c byte) string {
	if c < 0x80 {
		return regexp.QuoteMeta(string(rune(c)))
	}
	return string([]byte{c}) // part of a character; one that is none is no pattern
}

// set is the bracketed set that text begins with, "" where it does not.
func set(text string) string {
	end := strings.IndexByte(text[min(len(text), 2):], ']') // "[]…]" holds a bracket
	if end < 0 || strings.ContainsRune(text[:end+3], '/') {
		return ""
	}
	s := text[:end+3]
	if s == "[!]" || s == "[^]" {
		return ""
	}
	return s
}

func unescaped(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// Match reports whether the pattern selects a path: it or what it lies in is named.
func (p Pattern) Match(path string) bool {
	if p.glob == nil {
		return isBelow([]byte(path), p.below)
	}
	return p.glob.MatchString(path)
}

// Below is the path that everything selected is at or below, "" for the root.
func (p Pattern) Below() string { return p.below }

// FilesMatching returns the files that transaction n changed and p selects, by path.
func (tx *Tx) FilesMatching(n uint64, p Pattern) ([]record.FileChange, error) {
	may, err := tx.MayTouch(n, p.below)
	if err != nil || !may {
		return nil, err
	}
	changes, err := tx.FilesBelow(n, p.below)
	if err != nil || p.glob == nil {
		return changes, err
	}
	matching := changes[:0]
	for _, c := range changes {
		if p.glob.MatchString(c.Path) {
			matching = append(matching, c)
		}
	}
	return matching, nil
}
