package etcmerge

import (
	"fmt"
	"path"
	"strings"
)

// Outcome is what was decided. The words are part of the record and stay.
type Outcome string

const (
	Theirs     Outcome = "theirs"     // the running side's is in the result; the snapshot had not changed it, or a rule says so
	Ours       Outcome = "ours"       // the snapshot's stays although the running side changed it: a rule, or the snapshot's own files beneath, say so
	Merged     Outcome = "merged"     // both changed it, and both changes are in the result
	Conflict   Outcome = "conflict"   // both changed it, and the running side's is in the result
	Renumbered Outcome = "renumbered" // a user or group of the snapshot got another id
	Skipped    Outcome = "skipped"    // the running side's cannot be taken over; the snapshot's stays
)

// What part of a path a decision is about.
type What string

const (
	Added   What = "added"
	Deleted What = "deleted"
	Type    What = "type"
	Content What = "content"
	Mode    What = "mode" // with the access control list, of which it is a part
	Owner   What = "owner"
	Xattrs  What = "xattrs"
	Flags   What = "flags" // immutable, append-only
	Links   What = "links"
)

// Decision is one row: what was decided about a path, relative to the tree.
// A path can have two, one of them a conflict.
type Decision struct {
	Path     string  `json:"path"`
	Rule     string  `json:"rule"`
	Decision Outcome `json:"decision"`
	What     []What  `json:"what"`
	// Aside is where the snapshot's was kept, "" where nothing of it was lost.
	Aside  string `json:"aside,omitempty"`
	Detail string `json:"detail,omitempty"` // in words
}

// Renumber is a user or group of the snapshot that got another id.
type Renumber struct {
	Kind string `json:"kind"` // uid, gid, subuid or subgid
	Name string `json:"name"`
	Old  uint32 `json:"old"`
	New  uint32 `json:"new"`
	// Count is the length of the range of a subuid or subgid, else 1.
	Count uint32 `json:"count"`
}

func (r Renumber) String() string {
	return fmt.Sprintf("%s of %s: %d is now %d", r.Kind, r.Name, r.Old, r.New)
}

// facets are what differs between two nodes, as bits.
type facets uint16

const (
	fType facets = 1 << iota
	fContent
	fMode
	fOwner
	fXattrs
	fFlags
	fLinks
)

// words lists the facets in the order of the record.
func (f facets) words() []What {
	var w []What
	for i, what := range []What{Type, Content, Mode, Owner, Xattrs, Flags, Links} {
		if f&(1<<i) != 0 {
			w = append(w, what)
		}
	}
	return w
}

// asideMark is between a name and the number of the snapshot whose version it is.
const asideMark = ".txupd-"

// maxName is the longest name that the file systems of Linux take (NAME_MAX, bytes).
const maxName = 255

// asideOf splits the name of a file that was kept aside; ok is false for other names.
func asideOf(name string) (base string, number uint64, ok bool) {
	at := strings.LastIndex(name, asideMark)
	if at <= 0 {
		return "", 0, false
	}
	digits, again, double := strings.Cut(name[at+len(asideMark):], ".")
	if !isNumber(digits) || double && !isNumber(again) {
		return "", 0, false
	}
	if _, err := fmt.Sscanf(digits, "%d", &number); err != nil {
		return "", 0, false
	}
	return name[:at], number, true
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// asideName is the name beside a path for what lost there, one that is not
// taken. What was aside already stays a copy of the same file.
func asideName(name string, number uint64, taken func(string) bool) string {
	if base, _, ok := asideOf(name); ok {
		name = base
	}
	for try := 0; ; try++ {
		suffix := fmt.Sprint(asideMark, number)
		if try > 0 {
			suffix += fmt.Sprint(".", try)
		}
		candidate := name[:min(len(name), maxName-len(suffix))] + suffix
		if !taken(candidate) {
			return candidate
		}
	}
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func parent(name string) string {
	if dir := path.Dir(name); dir != "." {
		return dir
	}
	return ""
}
