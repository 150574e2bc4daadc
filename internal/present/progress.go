// What is seen of long work: on a terminal one line that changes, else a line
// for each new phase.

package present

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"

	"github.com/charmbracelet/x/ansi"

	"github.com/txupd/txupd/internal/bus"
)

// Progress draws on one writer; its methods may be called from anywhere.
type Progress struct {
	out io.Writer
	// width of the terminal, asked each time, as it changes; nil where there is no terminal.
	width func() int

	mu       sync.Mutex
	what     string // the work as a whole
	phase    string // what is being done now, in words of ours
	fraction float64
	detail   string // what is being done now, in the package manager's words
	last     string // the latest line of output
	frame    int
	drawn    bool
	ended    bool
}

// NewProgress makes one for the work that what names.
func NewProgress(out io.Writer, width func() int, what string) *Progress {
	p := &Progress{out: out, width: width, what: plain(what), fraction: -1}
	if width == nil {
		fmt.Fprintln(out, p.what)
	}
	p.draw()
	return p
}

// phases are words for those in which the package manager tells itself what it does.
var phases = map[string]string{
	"refresh": "reading the package sources", "download": "downloading", "install": "installing", "remove": "removing",
}

// doing is what is being done in a phase, in words of ours where there are any:
// then detail has the package manager's.
func doing(phase, text string) (what, detail string) {
	text = firstLine(text)
	if words, ok := phases[phase]; ok {
		return words, text
	}
	return text, ""
}

// Step tells what is being done now.
func (p *Progress) Step(now bus.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	phase, detail := doing(now.Phase, now.Text)
	if p.ended || phase == "" {
		return
	}
	news := phase != p.phase
	p.phase, p.detail, p.fraction, p.last = phase, detail, now.Fraction, ""
	switch {
	case p.width != nil:
		p.draw()
	case news:
		fmt.Fprintf(p.out, "%s: %s\n", p.what, phase)
	}
}

// Output tells the latest line that a command printed.
func (p *Progress) Output(text string) {
	all := lines(text)
	if len(all) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := strings.TrimSpace(all[len(all)-1]); last != "" {
		p.last = last
	}
}

// Tick moves the sign of life on and shows the latest output.
func (p *Progress) Tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frame++
	p.draw()
}

// End takes the line away.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.drawn {
		io.WriteString(p.out, "\r\x1b[K")
	}
}

var frames = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

func (p *Progress) draw() {
	if p.width == nil || p.ended {
		return
	}
	// What the terminal shows for Ctrl-C must fit behind it: a full line would wrap, and stay.
	width := max(10, p.width()-3)
	text := cyan(frames[p.frame%len(frames)]) + " " + p.what
	if p.phase != "" {
		text += ": " + p.phase
	}
	detail := p.last
	if p.phase != "" {
		detail = p.detail
		if p.fraction >= 0 {
			text += bar(p.fraction, width-ansi.StringWidth(text))
		}
	}
	if detail != "" && width-ansi.StringWidth(text) > 10 { // of less nothing can be told
		text += "  " + faint(detail)
	}
	io.WriteString(p.out, "\r\x1b[K"+cut(text, width))
	p.drawn = true
}

// bar shows a fraction in at most so many columns; in few of them only as a number.
func bar(fraction float64, room int) string {
	number := fmt.Sprintf(" %3.0f %%", math.Floor(100*min(1, fraction)))
	size := min(16, room-len(number)-1)
	if size < 5 {
		return number
	}
	full := int(fraction * float64(size))
	return " " + cyan(strings.Repeat("━", full)) + faint(strings.Repeat("─", size-full)) + number
}
