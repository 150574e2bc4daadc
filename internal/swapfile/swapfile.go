// Package swapfile tells which files the kernel swaps to.
package swapfile

import (
	"os"
	"strconv"
	"strings"
)

// Active lists the swap files in the kernel's table (/proc/swaps).
// fs.ErrNotExist: a kernel without swap.
func Active(table string) (files []string, err error) {
	text, err := os.ReadFile(table)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		// The kernel writes these in octal; other white space stands for itself.
		fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
		if len(fields) > 1 && fields[1] == "file" {
			files = append(files, Unescape(fields[0]))
		}
	}
	return files, nil
}

// Unescape reads the octal escapes of blanks and backslashes in proc's tables.
func Unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
