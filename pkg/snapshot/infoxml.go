// N/info.xml as snapper writes it, so that its tools list our snapshots.

package snapshot

import (
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

const infoName = "info.xml"

// Info is what snapper's tools show of a snapshot.
type Info struct {
	Description string
	UID         uint32
	// UserData are further keys and values beside the transaction's uuid.
	UserData map[string]string
}

// snapperInfo is the format of snapper's lib: type, num, date in UTC, uid,
// description, cleanup (left out: its own cleanup then lets the snapshot be)
// and one userdata element for each key.
type snapperInfo struct {
	XMLName     xml.Name          `xml:"snapshot"`
	Type        string            `xml:"type"`
	Number      Number            `xml:"num"`
	Date        string            `xml:"date"`
	UID         uint32            `xml:"uid,omitempty"`
	Description string            `xml:"description,omitempty"`
	UserData    []snapperUserData `xml:"userdata"`
}

type snapperUserData struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

// userDataTransaction is the key that has the transaction's uuid.
const userDataTransaction = "txupd"

// xml10 is the first line of the file.
const xml10 = "<?xml version=\"1.0\"?>\n"

// newInfo is what info.xml says of a transaction's snapshot.
func newInfo(n Number, uuid string, created time.Time, info Info) snapperInfo {
	out := snapperInfo{
		Type: "single", Number: n,
		Date: created.UTC().Format(time.DateTime),
		UID:  info.UID, Description: oneLine(info.Description),
	}
	data := maps.Clone(info.UserData)
	if data == nil {
		data = map[string]string{}
	}
	data[userDataTransaction] = uuid
	for _, key := range slices.Sorted(maps.Keys(data)) {
		out.UserData = append(out.UserData, snapperUserData{userWord(key), userWord(data[key])})
	}
	return out
}

func writeInfo(dir string, info snapperInfo) error {
	text, err := xml.MarshalIndent(info, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write %s of snapshot %d: %w", infoName, info.Number, err)
	}
	return replaceFile(filepath.Join(dir, infoName), []byte(xml10+string(text)+"\n"), 0o644)
}

// renumberInfo changes the number and nothing else.
func renumberInfo(dir string, n Number) error {
	path := filepath.Join(dir, infoName)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var info snapperInfo
	if err := xml.Unmarshal(text, &info); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	info.Number = n
	return writeInfo(dir, info)
}

// oneLine turns what would break a table, or XML 1.0, into spaces.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || r == 0xfffe || r == 0xffff {
			return ' '
		}
		return r
	}, s))
}

// userWord is fit for userdata, which snapper's tools write as key=value,key=value.
func userWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ',' || r == '=' {
			return '_'
		}
		return r
	}, oneLine(s))
}
