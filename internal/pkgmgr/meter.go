// How far a command is while it runs, as the package manager tells programs.

package pkgmgr

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"
)

// The phases of a change of packages.
const (
	Refreshing  = "refresh" // the package sources are read
	Downloading = "download"
	Installing  = "install"
	Removing    = "remove"
)

// Progress is how far a command is. The zero value: it has not told yet.
type Progress struct {
	Phase string
	// Fraction of the phase that is done, from 0 to 1; negative where it is not known.
	Fraction float64
	// Text is what is being done now, in the manager's own words.
	Text string
}

// Meter understands what one running command tells. It is used by one goroutine at a time.
type Meter interface {
	// Output takes a piece of standard output, nil at its end, and returns what
	// of it, and of what was held back before, is meant for people.
	Output(p []byte) []byte
	// Status takes a piece of what the command writes to descriptor 3.
	Status(p []byte)
	// Progress is what it told last.
	Progress() Progress
}

// maxHeld bounds what is held back of a piece that is not complete, in bytes.
const maxHeld = 1 << 20

// liner cuts pieces into lines; one that is too long is dropped.
type liner struct {
	held     []byte
	dropping bool
}

func (l *liner) each(p []byte, line func(string)) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			l.held = append(l.held, p...)
			if len(l.held) > maxHeld {
				l.held, l.dropping = nil, true
			}
			return
		}
		if !l.dropping {
			line(string(append(l.held, p[:end]...)))
		}
		l.held, l.dropping = l.held[:0], false
		p = p[end+1:]
	}
}

// fraction makes one of percent; of what is no number, nothing.
func fraction(percent float64) float64 {
	if math.IsNaN(percent) {
		return 0
	}
	return min(1, max(0, percent/100))
}

// phaseOf is what a verb of either manager does mainly.
func phaseOf(verb string) string {
	switch verb {
	case "update", "refresh":
		return Refreshing
	case "remove":
		return Removing
	}
	return Installing
}

// speed is a rate for people, in bytes a second; "" where it is none.
func speed(rate float64) string {
	switch {
	case rate >= 1e12: // nobody's
	case rate >= 1e6:
		return fmt.Sprintf("%.1f MB/s", rate/1e6)
	case rate >= 1e3:
		return fmt.Sprintf("%.0f kB/s", rate/1e3)
	case rate >= 1:
		return fmt.Sprintf("%.0f B/s", rate)
	}
	return ""
}

// retrieved is what is being retrieved, and how fast; that this is done is in the phase.
func retrieved(text string, rate float64) string {
	text = strings.TrimPrefix(text, "Retrieving ")
	if s := speed(rate); s != "" {
		return s + ", " + text
	}
	return text
}

// download follows one of a known size, for its mean rate.
type download struct {
	now   func() time.Time
	size  float64 // bytes
	began time.Time
	from  float64 // fraction that was there when it began
}

// rate is the mean of the download up to now, 0 where it cannot be told yet.
func (d *download) rate(fraction float64) float64 {
	if d.began.IsZero() {
		d.began, d.from = d.now(), fraction
	}
	took := d.now().Sub(d.began).Seconds()
	if took < 0.5 || d.size <= 0 { // the first pieces come at once, from memory
		return 0
	}
	return d.size * (fraction - d.from) / took
}
