// What zypper tells as XML, and the same in words.

package pkgmgr

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Metered: zypper tells in its standard output, which then is XML.
func (zypper) Metered(c Command) (Command, Meter) {
	argv, ok := beforeVerb(c.Argv, "--xmlout")
	if !ok {
		return c, nil
	}
	c.Argv = argv
	return c, &zypperMeter{verb: verb(argv)}
}

// zypperMeter reads a stream of elements as it comes. Source: xmlout.rnc of
// zypper, which says that text may lie between elements. What is no XML is
// passed on as it is, from there on.
type zypperMeter struct {
	verb     string
	held     []byte
	raw      bool
	open     []string // elements
	text     strings.Builder
	summary  []solvables
	words    bytes.Buffer // for people
	item     item
	progress Progress
}

// item is the last "(2/5)" that was told: downloads do not say which of all they are.
type item struct{ number, of float64 }

// solvables are the names of what is to be done something with.
type solvables struct {
	what  string // "to-install"
	names []string
}

// maxOpen is how deep elements may lie in one another.
const maxOpen = 20

func (m *zypperMeter) Output(p []byte) []byte {
	m.held = append(m.held, p...)
	for !m.raw && m.step() {
	}
	if m.raw || p == nil || len(m.held) > maxHeld {
		m.raw = true
		m.words.Write(m.held)
		m.held = nil
	}
	out := bytes.Clone(m.words.Bytes())
	m.words.Reset()
	return out
}

func (m *zypperMeter) Status([]byte) {}

func (m *zypperMeter) Progress() Progress { return m.progress }

// step takes one tag, or a line of the text before one, from what is held; false: more has to come.
func (m *zypperMeter) step() bool {
	if len(m.held) == 0 {
		return false
	}
	size := tagSize(m.held)
	if m.held[0] != '<' {
		size = bytes.IndexAny(m.held, "<\n")
		if size >= 0 && m.held[size] == '\n' {
			size++
		}
	}
	if size <= 0 {
		return false
	}
	piece := bytes.ToValidUTF8(m.held[:size], []byte("\uFFFD"))
	for i, c := range piece { // what scripts of packages print need not be allowed in XML
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' {
			piece[i] = ' '
		}
	}
	d := xml.NewDecoder(bytes.NewReader(piece))
	d.Strict = false
	token, err := d.RawToken()
	if err != nil || d.InputOffset() != int64(len(piece)) || len(m.open) > maxOpen {
		m.raw = true
		return false
	}
	m.take(token)
	m.held = m.held[size:]
	return true
}

// tagSize is how long the tag is that p begins with; 0 where its end is not there yet.
func tagSize(p []byte) int {
	var quote byte
	for i, c := range p {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"', c == '\'':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return 0
}

func (m *zypperMeter) take(token xml.Token) {
	switch token := token.(type) {
	case xml.StartElement:
		m.open = append(m.open, token.Name.Local)
		if m.inside("message", "prompt") == token.Name.Local {
			m.text.Reset()
		}
		m.begin(token)
	case xml.EndElement:
		if n := len(m.open); n > 0 && m.open[n-1] == token.Name.Local {
			m.open = m.open[:n-1]
		}
		m.end(token.Name.Local)
	case xml.CharData:
		switch {
		case m.inside("message", "prompt") != "":
			m.text.Write(token)
		case m.inside("install-summary") == "" && len(bytes.TrimSpace(token)) > 0:
			m.words.Write(append(bytes.TrimSuffix(token, []byte("\n")), '\n'))
		}
	}
}

// inside is the innermost of some elements that is open, "" for none.
func (m *zypperMeter) inside(names ...string) string {
	for _, name := range slices.Backward(m.open) {
		if slices.Contains(names, name) {
			return name
		}
	}
	return ""
}

func (m *zypperMeter) begin(e xml.StartElement) {
	attributes := map[string]string{}
	for _, a := range e.Attr {
		attributes[a.Name.Local] = a.Value
	}
	switch e.Name.Local {
	case "install-summary":
		m.summary = nil
	case "solvable":
		if group := m.open[max(0, len(m.open)-2)]; strings.HasPrefix(group, "to-") {
			if n := len(m.summary); n == 0 || m.summary[n-1].what != group {
				m.summary = append(m.summary, solvables{what: group})
			}
			last := &m.summary[len(m.summary)-1]
			last.names = append(last.names, attributes["name"])
		}
	case "progress":
		m.progressed(attributes)
	case "download":
		m.downloaded(attributes)
	}
}

func (m *zypperMeter) end(name string) {
	switch name {
	case "message":
		if text := strings.TrimRight(m.text.String(), " \n"); text != "" {
			m.itemIn(text)
			m.words.WriteString(text + "\n")
		}
	case "prompt":
		if text := strings.TrimSpace(m.text.String()); text != "" {
			m.words.WriteString(text + "\n")
		}
	case "install-summary":
		for _, s := range m.summary {
			m.words.WriteString(s.sentence())
		}
	}
}

var zypperGroups = map[string]string{
	"to-install": "will be installed", "to-upgrade": "will be upgraded", "to-downgrade": "will be downgraded",
	"to-reinstall": "will be reinstalled", "to-remove": "will be removed",
	"to-change-arch": "will change architecture", "to-change-vendor": "will change vendor",
	"to-upgrade-change-arch": "will be upgraded and change architecture", "to-downgrade-change-arch": "will be downgraded and change architecture",
	"to-upgrade-change-vendor": "will be upgraded and change vendor", "to-downgrade-change-vendor": "will be downgraded and change vendor",
}

func (s solvables) sentence() string {
	will, ok := zypperGroups[s.what]
	if !ok {
		will = strings.ReplaceAll(s.what, "-", " ")
	}
	noun := "packages"
	if len(s.names) == 1 {
		noun = "package"
	}
	return fmt.Sprintf("%d %s %s: %s\n", len(s.names), noun, will, strings.Join(s.names, " "))
}

var (
	zypperNumbered = regexp.MustCompile(`^\((\d+)/(\d+)\) (.*)$`)                // (1/2) Installing: libhello-1.0-1.noarch
	zypperGets     = regexp.MustCompile(`^Retrieving: (\S+) .*\((\d+)/(\d+)\),`) // Retrieving: hello-1.0-1.noarch (testbed) (2/2),   6.1 KiB
)

func itemOf(number, of string) item {
	n, err := strconv.ParseFloat(number, 64)
	all, bad := strconv.ParseFloat(of, 64)
	if err != nil || bad != nil || n < 1 || all < n {
		return item{}
	}
	return item{n, all}
}

// at is how far all items are with percent of this one, negative where it is not known.
func (i item) at(percent float64) float64 {
	if i.of == 0 {
		return -1
	}
	return (i.number - 1 + fraction(percent)) / i.of
}

func (m *zypperMeter) itemIn(message string) {
	if found := zypperGets.FindStringSubmatch(message); found != nil {
		m.item = itemOf(found[2], found[3])
		m.progress = Progress{Downloading, m.item.at(0), found[1]}
	}
}

func (m *zypperMeter) progressed(attributes map[string]string) {
	name := attributes["name"]
	now := Progress{Phase: phaseOf(m.verb), Fraction: -1, Text: strings.TrimSuffix(name, ":")}
	percent, _ := strconv.ParseFloat(attributes["value"], 64)
	done, ended := attributes["done"]
	if ended {
		percent = 100
	}
	// What is not numbered is a part of which nobody says how large it is.
	if found := zypperNumbered.FindStringSubmatch(name); found != nil {
		now.Text = strings.Replace(found[3], ": ", " ", 1)
		now.Fraction = itemOf(found[1], found[2]).at(percent)
		if attributes["id"] == "remove-resolvable" {
			now.Phase = Removing
		}
	}
	m.progress = now
	if ended {
		how := "done"
		if done != "1" {
			how = "error"
		}
		fmt.Fprintf(&m.words, "%s [%s]\n", name, how)
	}
}

func (m *zypperMeter) downloaded(attributes map[string]string) {
	percent, _ := strconv.ParseFloat(attributes["percent"], 64)
	if _, ended := attributes["done"]; ended {
		percent = 100
	}
	rate, _ := strconv.ParseFloat(attributes["rate"], 64)
	now := Progress{Phase: Downloading, Fraction: m.item.at(percent), Text: retrieved(path.Base(attributes["url"]), rate)}
	if m.verb == "refresh" {
		now.Phase, now.Fraction = Refreshing, -1
	}
	m.progress = now
}
