// Quoting for GRUB's script language. Everything that came from a person or a
// package passes through here, so that a message can never become a command.

package grubcfg

import (
	"strings"
	"unicode"
)

// quote makes one word of s that GRUB takes literally. Between single quotes
// nothing has a meaning but the quote itself.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// titleLimit keeps a title on one line of a menu, in characters.
const titleLimit = 160

// cleanTitle is s on one line: white space is one blank, what cannot be
// printed is "?", and too long a text is cut. A "-" at its start would make it
// an option.
func cleanTitle(s string) string {
	s = strings.TrimLeft(strings.Join(strings.Fields(s), " "), "- ")
	runes := []rune(s)
	for i, r := range runes {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			runes[i] = '?'
		}
	}
	if len(runes) > titleLimit {
		runes = append(runes[:titleLimit-1], '…')
	}
	return string(runes)
}
