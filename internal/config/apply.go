// What one file says, key by key with its line.

package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// apply sets what a file says, and returns everything that is wrong with it.
func (c *Config) apply(f file) []error {
	// The decoder finds what the parser below lets pass: keys and tables that
	// are defined twice.
	var whole map[string]any
	if err := toml.Unmarshal(f.text, &whole); err != nil {
		problem := &Error{File: f.name, What: strings.TrimPrefix(err.Error(), "toml: ")}
		if at := (*toml.DecodeError)(nil); errors.As(err, &at) {
			problem.Line, _ = at.Position()
		}
		return []error{problem}
	}
	r := reader{file: f.name, settings: c.settings(), origins: c.origins}
	r.parser.Reset(f.text)
	for r.parser.NextExpression() {
		r.expression(r.parser.Expression())
	}
	if err := r.parser.Error(); err != nil {
		r.problems = append(r.problems, &Error{File: f.name, What: err.Error()})
	}
	r.close(&c.Reboot.Window)
	return r.problems
}

// reader walks through one file.
type reader struct {
	file     string
	parser   unstable.Parser
	settings []setting
	origins  map[string]string
	table    []string // that of the last header
	unknown  bool     // the last header was none of ours, which was said
	tables   []openTable
	inTable  bool // the last header began one of them
	problems []error
}

// key is a dotted one with the line that it stands in.
type key struct {
	parts []string
	line  int
}

var bare = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (k key) String() string {
	parts := make([]string, len(k.parts))
	for i, part := range k.parts {
		parts[i] = part
		if !bare.MatchString(part) {
			parts[i] = strconv.Quote(part)
		}
	}
	return strings.Join(parts, ".")
}

// under returns the key of a node below another one.
func (r *reader) under(above []string, n *unstable.Node) key {
	k := key{parts: append([]string{}, above...)}
	for parts := n.Key(); parts.Next(); {
		part := parts.Node()
		if k.line == 0 {
			k.line = r.parser.Shape(part.Raw).Start.Line
		}
		k.parts = append(k.parts, string(part.Data))
	}
	return k
}

func (r *reader) say(line int, format string, args ...any) {
	r.problems = append(r.problems, &Error{File: r.file, Line: line, What: fmt.Sprintf(format, args...)})
}

func (r *reader) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table, unstable.ArrayTable:
		k := r.under(nil, n)
		r.table, r.inTable = k.parts, false
		if n.Kind == unstable.ArrayTable && k.String() == windowKey {
			r.tables, r.inTable = append(r.tables, openTable{line: k.line}), true
			return
		}
		r.unknown = !r.section(k)
		if !r.unknown && n.Kind == unstable.ArrayTable {
			r.say(k.line, "[[%s]] is a list of tables: write [%s]", k, k)
		}
	case unstable.KeyValue:
		switch {
		case r.inTable:
			if err := r.tables[len(r.tables)-1].set(dotted(n), n.Value()); err != nil {
				r.say(r.under(nil, n).line, "[[%s]]: %v", windowKey, err)
			}
		case !r.unknown:
			r.pair(r.table, n)
		}
	}
}

// section reports whether there is such a table, and says so where not.
func (r *reader) section(k key) bool {
	name := k.String()
	for _, s := range r.settings {
		if s.key == name {
			r.say(k.line, "%s cannot be a table: it takes %s", name, s.wants)
			return false
		}
		if strings.HasPrefix(s.key, name+".") {
			return true
		}
	}
	r.strange(k)
	return false
}

// pair sets one key; an inline table is as good as a header.
func (r *reader) pair(above []string, n *unstable.Node) {
	k, value := r.under(above, n), n.Value()
	if value.Kind == unstable.InlineTable {
		if !r.section(k) {
			return
		}
		for pairs := value.Children(); pairs.Next(); {
			if pair := pairs.Node(); pair.Kind == unstable.KeyValue {
				r.pair(k.parts, pair)
			}
		}
		return
	}
	name := k.String()
	for _, s := range r.settings {
		if s.key != name {
			if strings.HasPrefix(s.key, name+".") {
				r.say(k.line, "%s is a section: write [%s] and its keys below", name, name)
				return
			}
			continue
		}
		switch err := s.set(value); {
		case errors.Is(err, errUnfit):
			r.say(k.line, "%s cannot be %s: it takes %s", name, shown(value), s.wants)
		case err != nil:
			r.say(k.line, "%s: %v", name, err)
		default:
			r.origins[name] = r.file + ":" + strconv.Itoa(k.line)
		}
		return
	}
	r.strange(k)
}

// shown is a value as an error names it.
func shown(n *unstable.Node) string {
	switch n.Kind {
	case unstable.Array:
		return "a list"
	case unstable.String:
		text := []rune(string(n.Data))
		if len(text) > 40 {
			return strconv.Quote(string(text[:40]) + "…")
		}
		return strconv.Quote(string(text))
	}
	return string(n.Data)
}

// strange says that a key is none of ours, and which may be meant.
func (r *reader) strange(k key) {
	hint := ""
	if near := r.nearest(k.String()); near != "" {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	r.say(k.line, "unknown key %s%s", k, hint)
}
