// What is seen of long work: on a terminal one line that changes, else a line
// for each new phase.

package present

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// Progress draws on one writer; its methods may be called from anywhere.
type Progress struct {
	out io.Writer
	// width of the terminal, asked each time, as it changes; nil where there is no terminal.
	width func() int

	mu    sync.Mutex
	what  string // the work as a whole
	phase string // what is being done now
	last  string // the latest line of output
	frame int
	drawn bool
	ended bool
}

// NewProgress makes one for the work that what names.
func NewProgress(out io.Writer, width func() int, what string) *Progress {
	p := &Progress{out: out, width: width, what: plain(what)}
	if width == nil {
		fmt.Fprintln(out, p.what)
	}
	p.draw()
	return p
}

// Phase tells what is being done now.
func (p *Progress) Phase(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text = firstLine(text)
	if p.ended || text == "" || text == p.phase {
		return
	}
	p.phase, p.last = text, ""
	if p.width == nil {
		fmt.Fprintf(p.out, "%s: %s\n", p.what, text)
		return
	}
	p.draw()
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
	text := cyan(frames[p.frame%len(frames)]) + " " + p.what
	switch {
	case p.phase != "":
		text += ": " + p.phase
	case p.last != "":
		text += "  " + faint(p.last)
	}
	// What the terminal shows for Ctrl-C must fit behind it: a full line would wrap, and stay.
	io.WriteString(p.out, "\r\x1b[K"+cut(text, max(10, p.width()-3)))
	p.drawn = true
}
