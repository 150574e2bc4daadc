// Package present makes everything that txctl shows to people. It knows no bus,
// no clock and no terminal: what it needs of them comes in a Screen. Styles are
// always there; whoever prints strips them where they do not belong.
package present

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Screen is what a text is made for.
type Screen struct {
	// Width is in characters; 0 is without limit, and then nothing is cut.
	Width int
	// Now is the time; its location is the one that times are shown in.
	Now time.Time
}

func bold(s string) string  { return styled(s, ansi.NewStyle().Bold()) }
func faint(s string) string { return styled(s, ansi.NewStyle().Faint()) }
func green(s string) string { return styled(s, ansi.NewStyle().ForegroundColor(ansi.Green)) }
func red(s string) string   { return styled(s, ansi.NewStyle().ForegroundColor(ansi.Red)) }
func amber(s string) string { return styled(s, ansi.NewStyle().ForegroundColor(ansi.Yellow)) }
func cyan(s string) string  { return styled(s, ansi.NewStyle().ForegroundColor(ansi.Cyan)) }

func styled(s string, with ansi.Style) string {
	if s == "" {
		return ""
	}
	return with.Styled(s)
}

// plain makes s safe to print on one line: messages and paths are others' data,
// and a terminal obeys control characters.
func plain(s string) string {
	if !strings.ContainsFunc(s, unprintable) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\t':
			b.WriteByte(' ')
		case unprintable(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unprintable: control characters, and those that turn the direction of writing around.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// lines are the lines of a text from elsewhere, safe to print. Of a line that
// was written over itself, as progress is, the last state remains.
func lines(s string) []string {
	var all []string
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\r\n")
		if i := strings.LastIndexByte(line, '\r'); i >= 0 {
			line = line[i+1:]
		}
		all = append(all, plain(strings.TrimRight(ansi.Strip(line), " \t")))
	}
	return all
}

// firstLine is the first line of a message, with a sign where there are more.
func firstLine(message string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(message), "\n")
	first = plain(strings.TrimSpace(first))
	if strings.TrimSpace(rest) != "" {
		first += " …"
	}
	return first
}

// cut shortens s to the given width.
func cut(s string, width int) string {
	if width <= 0 {
		return s
	}
	return ansi.Truncate(s, width, "…")
}

// pad fills s up with spaces on its right.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-ansi.StringWidth(s)))
}

// wrap breaks text between words into lines of the screen's width, less the
// indent. Words are not broken: they are names and commands, to be copied.
func (s Screen) wrap(text string, indent int) []string {
	if s.Width <= indent {
		return []string{text}
	}
	var all []string
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		if line != "" && ansi.StringWidth(line)+1+ansi.StringWidth(word) > s.Width-indent {
			all = append(all, line)
			line = word
			continue
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(all, line)
}

// Paragraph is text in lines of the screen's width.
func (s Screen) Paragraph(text string) string { return strings.Join(s.wrap(text, 0), "\n") + "\n" }

// count writes "1 package", "3 packages".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// and joins words: "a", "a and b", "a, b and c".
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// Plain makes text from elsewhere safe to print on one line.
func Plain(s string) string { return plain(s) }
