// fstab(5), as far as its lines have to be understood.

package boot

import (
	"bytes"
	"strings"
)

// fstabLine is one file system. Spaces in its fields are written as "\040".
type fstabLine struct {
	device, point, kind, options string
}

type fstab []fstabLine

func parseFstab(text []byte) fstab {
	var lines fstab
	for line := range bytes.Lines(text) {
		// Other white space is a part of a name: libmount knows these two.
		fields := strings.FieldsFunc(strings.TrimRight(string(line), "\r\n"), func(r rune) bool { return r == ' ' || r == '\t' })
		if len(fields) < 3 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		l := fstabLine{device: fields[0], point: fields[1], kind: fields[2]}
		if len(fields) > 3 {
			l.options = fields[3]
		}
		lines = append(lines, l)
	}
	return lines
}

// at is the line for a mount point, the last one where there are several.
func (f fstab) at(point string) (found fstabLine, ok bool) {
	for _, l := range f {
		if l.point == point {
			found, ok = l, true
		}
	}
	return found, ok
}
