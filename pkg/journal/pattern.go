// Which paths a question is about: one, what is below it, or a pattern.

package journal

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/txupd/txupd/pkg/journal/record"
)

// Pattern selects paths: a path with everything below it, or a glob in which
// "?" is one character and "*" any number of them but for "/", "**" with it,
// and "[a-z]" one of a set, "[!a-z]" none of it; "\" takes the meaning from the
// next one, but not in a set.
type Pattern struct {
	// below is the longest leading path without a wildcard; everything selected is at or below it.
	below string
	glob  *regexp.Regexp // nil where below says it all
}

// maxPattern is as long as a path that a system call takes (PATH_MAX).
const maxPattern = 4096

// ParsePattern reads a pattern, which begins with "/".
func ParsePattern(text string) (Pattern, error) {
	switch {
	case len(text) > maxPattern:
		return Pattern{}, fmt.Errorf("the path %.40q… has %d bytes, at most %d are accepted", text, len(text), maxPattern)
	case !strings.HasPrefix(text, "/"):
		return Pattern{}, fmt.Errorf("the path %q does not begin with \"/\"", text)
	case strings.ContainsRune(text, 0):
		return Pattern{}, fmt.Errorf("the path %q holds a NUL", text)
	}
	whole := text
	// The root has no name of its own to be followed by one more.
	text = strings.TrimRight(text, "/")
	var plain, glob strings.Builder
	wild := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '*' && strings.HasPrefix(text[i:], "**"):
			i++
			glob.WriteString(`(?s:.)*`)
			wild = true
			continue
		case c == '*':
			glob.WriteString(`[^/]*`)
			wild = true
			continue
		case c == '?':
			glob.WriteString(`[^/]`)
			wild = true
			continue
		case c == '[' && set(text[i:]) != "":
			s := set(text[i:])
			i += len(s) - 1
			class, err := classOf(s[1 : len(s)-1])
			if err != nil {
				return Pattern{}, fmt.Errorf("the path %q is no pattern: %w", whole, err)
			}
			glob.WriteString(class)
			wild = true
			continue
		case c == '\\' && i+1 < len(text):
			i++
			c = text[i]
		}
		// Itself; also a bracket that nothing closes: there is a program of that name.
		if c < utf8.RuneSelf {
			glob.WriteString(regexp.QuoteMeta(string(rune(c))))
		} else {
			glob.WriteByte(c) // a part of a character
		}
		if !wild {
			plain.WriteByte(c)
		}
	}
	p := Pattern{below: plain.String()}
	if !wild {
		return p, nil
	}
	p.below = p.below[:max(0, strings.LastIndexByte(p.below, '/'))]
	if !utf8.ValidString(text) {
		return Pattern{}, fmt.Errorf("the path %q is no pattern: it is not valid UTF-8", whole)
	}
	var err error
	if p.glob, err = regexp.Compile(`^` + glob.String() + `(/(?s:.)*)?$`); err != nil {
		return Pattern{}, fmt.Errorf("the path %q is no pattern: %w", whole, err)
	}
	return p, nil
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

// classOf makes what stands in the brackets of a set a class of regexp. As "*"
// and "?" it is never "/", which lies between "+" and "9".
func classOf(body string) (string, error) {
	chars := []rune(body)
	class := "["
	if chars[0] == '!' || chars[0] == '^' {
		chars, class = chars[1:], "[^/"
	}
	add := func(from, to rune) {
		if from <= to {
			class += fmt.Sprintf(`\x{%x}-\x{%x}`, from, to)
		}
	}
	for len(chars) > 0 {
		from, to, size := chars[0], chars[0], 1
		if len(chars) > 2 && chars[1] == '-' {
			to, size = chars[2], 3
		}
		if from > to {
			return "", fmt.Errorf("%q comes after %q: a set like [a-z] is expected in brackets", from, to)
		}
		add(from, min(to, '/'-1))
		add(max(from, '/'+1), to)
		chars = chars[size:]
	}
	return class + "]", nil
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
