// A page for each verb of txctl, of what "txctl help --json" says.

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/txupd/txupd/internal/fault"
)

// verb is the document of "txctl help --json".
type verb struct {
	Name    string
	Usage   string
	Aliases []string
	Short   string
	Long    string
	Example string
	Hidden  bool
	Options []option
	Verbs   []verb
	Groups  []struct {
		Title string
		Verbs []string
	}
}

type option struct {
	Name, Shorthand, Value, Usage, Default string
	Below                                  bool
}

// below are those of its options that the verbs below it take too.
func (v verb) below() []option {
	return slices.DeleteFunc(slices.Clone(v.Options), func(o option) bool { return !o.Below })
}

// title is the name of its page: txctl-pkg-add.
func (v verb) title() string { return strings.ReplaceAll(v.Name, " ", "-") }

// each visits v and all verbs below it.
func (v verb) each(visit func(verb)) {
	visit(v)
	for _, below := range v.Verbs {
		below.each(visit)
	}
}

// commandsOwn is the exit status of verbs that run somebody's command.
var commandsOwn = []exit{
	{"N", "the command ended with N, 0 included"},
	{strconv.Itoa(fault.Own), "it failed, but not the command; with --json the document has the code of the list in txctl(1)"},
}

// exit is a row of an exit status, where a verb has one of its own.
type exit struct{ code, meaning string }

// exits are by verb what there is to say beside the list of txctl(1).
func exits() map[string][]exit {
	code := func(err error) string { return strconv.Itoa(fault.Exit(err)) }
	unchanged := exit{strconv.Itoa(fault.Unchanged), "with --unchanged-exit: nothing changed, and no snapshot was made"}
	conflicts := exit{code(fault.ErrConflicts), "with --strict: edits of the running /etc conflict with the snapshot's"}
	manager := exit{code(fault.ErrPackageManager), "the package manager failed, or there is no such package; nothing was changed"}
	return map[string][]exit{
		"txctl run":           append(commandsOwn[:2:2], unchanged),
		"txctl shell":         append(commandsOwn[:2:2], unchanged),
		"txctl exec":          commandsOwn,
		"txctl commit":        {conflicts, unchanged},
		"txctl pkg add":       {manager, unchanged, conflicts},
		"txctl pkg remove":    {manager, unchanged, conflicts},
		"txctl update":        {manager, unchanged, conflicts},
		"txctl verify":        {{code(fault.ErrFailed), "something is wrong with the journal"}},
		"txctl journal check": {{code(fault.ErrFailed), "something is wrong with the journal"}},
		"txctl grep":          {{code(fault.ErrNotFound), "no recorded output holds the text"}},
		"txctl delete":        {{code(fault.ErrProtected), "one of them is protected; what came before it on the command line is deleted"}},
		"txctl doctor":        {{code(fault.ErrUnreconciled), "with --repair: something could not be repaired"}},
	}
}

// verbPage is the page of a verb; root has the options that all take.
func (m *manual) verbPage(v, root verb) string {
	p := &page{}
	m.heading(p, v.title(), "1")
	p.section("Name")
	p.line(`%s \- %s`, escaped(v.title()), escaped(lower(v.Short)))
	p.section("Synopsis")
	p.line("%s", synopsis(v))
	p.section("Description")
	if v.Long != "" {
		p.text(v.Long, ".PP")
	} else {
		p.text(v.Short+".", ".PP")
	}
	if len(v.Aliases) > 0 {
		p.paragraph()
		p.text(fmt.Sprintf("It may be called %s too.", strings.Join(v.Aliases, " or ")), ".PP")
	}
	if len(v.Verbs) > 0 {
		p.section("Verbs")
		p.verbs(v)
	}
	p.section("Options")
	p.options(v.Options)
	p.paragraph()
	var names []string
	for _, o := range root.below() {
		names = append(names, bold("--"+o.Name))
	}
	p.line("The options of all verbs, %s, are described in", strings.Join(names, ", "))
	p.line(".BR txctl (1).")
	p.section("Exit status")
	if rows := exits()[v.Name]; len(rows) > 0 {
		for _, e := range rows {
			p.item(bold(e.code), upper(e.meaning)+".")
		}
		p.paragraph()
	}
	p.line("The list that holds for all verbs is in")
	p.line(".BR txctl (1).")
	if v.Example != "" {
		p.section("Examples")
		p.example(v.Example)
	}
	p.section("See also")
	p.line(".BR txctl (1),")
	if above := v.Name[:strings.LastIndexByte(v.Name, ' ')]; above != root.Name {
		p.line(".BR %s (1),", escaped(strings.ReplaceAll(above, " ", "-")))
	}
	p.line(".BR txupd.toml (5),")
	p.line(".BR txupd (8)")
	return p.String()
}

// synopsis shows what is to be typed: words as they are bold, what stands for something in italics.
func synopsis(v verb) string {
	words := strings.Fields(strings.TrimPrefix(v.Usage, v.Name))
	for i, w := range words {
		if w == "--" || strings.HasPrefix(w, "--") || w == strings.ToLower(w) {
			words[i] = bold(w)
		} else {
			words[i] = italic(w)
		}
	}
	return bold(v.Name) + " " + strings.Join(words, " ")
}

// verbs lists those below v, each with where it is described.
func (p *page) verbs(v verb) {
	for _, group := range v.Groups {
		if len(v.Groups) > 1 {
			p.line(".SS %s", escaped(group.Title))
		}
		for _, name := range group.Verbs {
			for _, below := range v.Verbs {
				if below.Name == v.Name+" "+name {
					p.item(bold(name), fmt.Sprintf("%s: %s(1).", below.Short, below.title()))
				}
			}
		}
	}
}

func (p *page) options(options []option) {
	for _, o := range options {
		term := bold("--" + o.Name)
		if o.Shorthand != "" {
			term = bold("-"+o.Shorthand) + ", " + term
		}
		if o.Value != "" {
			term += " " + italic(strings.ToUpper(o.Value))
		}
		usage := upper(strings.ReplaceAll(o.Usage, "\n", " "))
		if o.Default != "" && o.Value != "" {
			usage += fmt.Sprintf(" (default: %s)", o.Default)
		}
		p.item(term, usage+".")
	}
}

func lower(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToLower(r)) + text[n:]
}

func upper(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[n:]
}
