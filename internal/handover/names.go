// Names of ours in the live tree.

package handover

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// temporary is the name under which what is to become name is made. It is the
// same in every run, so that each finds what an earlier one left.
func (g *giver) temporary(name string) string {
	return fmt.Sprintf(".txupd-%d-%x", g.number, hashOf(name))
}

// note is the name of the note that the attributes of a directory are being set.
func (g *giver) note(name string) string { return fmt.Sprintf("%s%x", g.notes(), hashOf(name)) }

// notes is what the names of all notes begin with.
func (g *giver) notes() string { return fmt.Sprintf(".txupd-%d-%s", g.number, noteMark) }

const noteMark = "attributes-"

func hashOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:8]
}

// isTemporary recognises both kinds of names, whatever the transaction.
func isTemporary(name string) bool {
	rest, ours := strings.CutPrefix(name, ".txupd-")
	number, hash, more := strings.Cut(rest, "-")
	hash = strings.TrimPrefix(hash, noteMark)
	return ours && more && number != "" && strings.Trim(number, "0123456789") == "" && len(hash) == 16 && strings.Trim(hash, "0123456789abcdef") == ""
}

// besideName is where ours is put when the live side's stays. Of a database's
// files the suffix stays at the end, so that they find each other.
func besideName(name string, number uint64, try int, suffix string) string {
	mark := fmt.Sprintf(".txupd-%d", number)
	if try > 1 {
		mark += fmt.Sprintf("-%d", try)
	}
	mark += suffix
	const longest = 255 // NAME_MAX of linux/limits.h
	if len(name)+len(mark) > longest {
		hash := fmt.Sprintf("~%x", sha256.Sum256([]byte(name)))[:17]
		name = strings.ToValidUTF8(name[:longest-len(mark)-len(hash)], "") + hash
	}
	return name + mark
}
