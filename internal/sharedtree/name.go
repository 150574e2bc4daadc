package sharedtree

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// Name makes a file name of the path of a tree, a different one for each:
// "/var/lib" is "var+lib". Letters, digits and ._-@= stay, a slash is "+", other
// bytes are "%" and two hexadecimal digits. What gets too long ends in its hash.
func Name(path string) string {
	var b strings.Builder
	for i, c := range []byte(strings.Trim(path, "/")) {
		switch {
		case c == '/':
			b.WriteByte('+')
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("_-@=", c) >= 0, c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	name := b.String()
	const longest = 200 // of 255, so that something can be added
	if len(name) <= longest {
		return name
	}
	// Nothing that is not cut short holds "%%".
	hash := fmt.Sprintf("%%%%%x", sha256.Sum256([]byte(path)))
	return name[:longest-len(hash)] + hash
}
