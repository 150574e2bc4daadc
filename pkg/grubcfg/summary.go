// What a menu file decides, read back from the file itself: a line of it says
// so to programs, sealed with a hash of all of it.

package grubcfg

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// Errors of ParseMenu.
var (
	// ErrNotMenu: the text is no menu file of ours.
	ErrNotMenu = errors.New("not a boot menu of txupd")
	// ErrMenuChanged: the text was one, and is not as it was written.
	ErrMenuChanged = errors.New("the boot menu was changed or is damaged")
)

// Summary is what a menu file decides.
type Summary struct {
	// Default and Fallback are those of the Menu.
	Default  uint64  `json:"default"`
	Fallback *uint64 `json:"fallback,omitempty"`
	// Tries is 0 where the default is not on trial.
	Tries int `json:"tries,omitempty"`
	// Once reports that the menu boots a snapshot one time when asked to.
	Once bool `json:"once,omitempty"`
	// Entries are the numbers in the order of the menu.
	Entries []uint64 `json:"entries"`
}

// Summary is what ParseMenu finds in the rendered menu.
func (m Menu) Summary() Summary {
	s := Summary{Default: m.Default, Fallback: m.Fallback, Once: m.Once != nil}
	if m.Trial != nil {
		s.Tries = m.Trial.Tries
	}
	for _, e := range m.Entries {
		s.Entries = append(s.Entries, e.Number)
	}
	return s
}

const (
	menuHead = "# Written by txupd. It is replaced as a whole; changes are lost.\n# txupd-menu: "
	menuSeal = " sha256:"
)

// seal puts the summary before a script.
func (s Summary) seal(script []byte) []byte {
	said, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("internal error: numbers that are not JSON: %v", err))
	}
	return fmt.Appendf(nil, "%s%s%s%s\n%s", menuHead, said, menuSeal, digest(said, script), script)
}

// digest covers everything in the file that can differ but itself.
func digest(said, script []byte) string {
	h := sha256.New()
	h.Write(said)
	h.Write([]byte{'\n'}) // JSON has none, so that nothing can move from one part to the other
	h.Write(script)
	return hex.EncodeToString(h.Sum(nil))
}

// ParseMenu reads what a menu file decides. The script itself is taken to be
// what this package, or another version of it, once rendered: the hash tells.
func ParseMenu(raw []byte) (Summary, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(menuHead))
	if !ok {
		return Summary{}, fmt.Errorf("cannot read %s: %w", MenuName, ErrNotMenu)
	}
	line, script, _ := bytes.Cut(rest, []byte("\n"))
	said, sum, _ := bytes.Cut(line, []byte(menuSeal))
	if string(sum) != digest(said, script) {
		return Summary{}, fmt.Errorf("cannot read %s: %w", MenuName, ErrMenuChanged)
	}
	var s Summary
	if err := json.Unmarshal(said, &s); err != nil {
		return Summary{}, fmt.Errorf("cannot read %s: %w: %w", MenuName, ErrMenuChanged, err)
	}
	return s, nil
}
