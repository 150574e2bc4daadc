// Writing roff: the macros of man(7), which every formatter knows.

package main

import (
	"fmt"
	"strings"
)

// page is one man page while it is written.
type page struct {
	strings.Builder
	begun bool // something stands in this section
}

// escapes are the characters that would be taken for something else, or that
// formatters print as another one that nobody can paste into a shell.
var escapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`, "…", "...")

// escaped is text that means itself, anywhere in a line.
func escaped(text string) string {
	text = escapes.Replace(text)
	if strings.HasPrefix(text, ".") {
		return `\&` + text
	}
	return text
}

func bold(text string) string   { return `\fB` + escaped(text) + `\fR` }
func italic(text string) string { return `\fI` + escaped(text) + `\fR` }

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(p, format+"\n", args...)
	p.begun = true
}

func (p *page) section(name string) {
	p.line(".SH %s", escaped(strings.ToUpper(name)))
	p.begun = false
}

// paragraph begins one.
func (p *page) paragraph() {
	if p.begun {
		p.line(".PP")
	}
}

// text writes paragraphs, which an empty line parts; macro stands between them.
func (p *page) text(text, macro string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			p.line("%s", macro)
		}
		for line := range strings.SplitSeq(paragraph, "\n") {
			p.line("%s", escaped(strings.TrimSpace(line)))
		}
	}
}

// item is a term, already escaped, with the text that explains it.
func (p *page) item(term, text string) {
	p.line(".TP")
	p.line("%s", term)
	p.text(text, ".IP")
}

// example shows lines as they are.
func (p *page) example(lines string) {
	p.paragraph()
	p.line(".nf")
	p.line(".RS 4")
	for line := range strings.SplitSeq(strings.Trim(lines, "\n"), "\n") {
		p.line("%s", escaped(strings.TrimPrefix(line, "  ")))
	}
	p.line(".RE")
	p.line(".fi")
}
