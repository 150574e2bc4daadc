// What apt tells on its status descriptor.

package pkgmgr

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Metered: apt tells on a descriptor of its own; what people read stays as it is.
func (apt) Metered(c Command) (Command, Meter) {
	argv, ok := beforeVerb(c.Argv, "-o", "APT::Status-Fd=3")
	if !ok {
		return c, nil
	}
	c.Argv, c.Status = argv, true
	return c, &aptMeter{verb: verb(argv), fetched: download{now: time.Now}}
}

type aptMeter struct {
	verb           string
	output, status liner
	fetched        download
	progress       Progress
}

// aptToGet: of "Need to get 171 kB/2,345 kB of archives." the first is what is not there yet.
var aptToGet = regexp.MustCompile(`^Need to get ([0-9.,]+) ([kMGT]?)B(?:/[^ ]+ [kMGT]?B)? of archives`)

func (m *aptMeter) Output(p []byte) []byte {
	m.output.each(p, func(line string) {
		if found := aptToGet.FindStringSubmatch(line); found != nil {
			size, err := strconv.ParseFloat(strings.ReplaceAll(found[1], ",", ""), 64)
			if err == nil {
				m.fetched.size = size * units[found[2]]
			}
		}
	})
	return p
}

func (m *aptMeter) Status(p []byte) { m.status.each(p, m.line) }

// line reads "KIND:WHICH:PERCENT:TEXT". Source: apt's README.progress-reporting.
func (m *aptMeter) line(line string) {
	fields := strings.SplitN(line, ":", 4)
	if len(fields) < 4 {
		return
	}
	percent, err := strconv.ParseFloat(fields[2], 64)
	if err != nil {
		return
	}
	now := Progress{Phase: phaseOf(m.verb), Fraction: fraction(percent), Text: strings.TrimSpace(fields[3])}
	switch fields[0] {
	case "dlstatus":
		if m.verb != "update" {
			now.Phase = Downloading
		}
		now.Text = retrieved(now.Text, m.fetched.rate(now.Fraction))
	case "pmstatus":
	default: // questions and errors: they are on standard error too
		return
	}
	m.progress = now
}

func (m *aptMeter) Progress() Progress { return m.progress }
