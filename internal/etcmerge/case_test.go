package etcmerge

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/txupd/txupd/internal/testbed"
)

// The cases are in testdata/cases; README.txt there says how one is written.

type mergeCase struct {
	name, why string
	number    uint64
	rules     []Rule
	missing   []string // what the snapshot does not contain
	steps     []caseStep
}

// caseStep is one merge. The trees of a second one are changes of what the first one left.
type caseStep struct {
	trees     map[string]testTree
	removed   map[string][]string
	decisions string
	changes   string
	asksFor   map[string]bool
}

func newStep() caseStep {
	return caseStep{trees: map[string]testTree{}, removed: map[string][]string{}, asksFor: map[string]bool{}}
}

var sectionLine = regexp.MustCompile(`^-- (.+) --$`)

// parseCases reads a file of cases.
func parseCases(t *testing.T, path string) []mergeCase {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []mergeCase
	for i, text := range strings.Split("\n"+string(data), "\n=== ")[1:] {
		c, err := parseCase(text)
		if err != nil {
			t.Fatalf("%s, case %d (%s): %v", path, i+1, c.name, err)
		}
		cases = append(cases, c)
	}
	return cases
}

func parseCase(text string) (mergeCase, error) {
	lines := strings.SplitAfter(text, "\n")
	name, why, ok := strings.Cut(strings.TrimSpace(lines[0]), ": ")
	c := mergeCase{name: name, why: why, number: 7}
	if !ok {
		return c, fmt.Errorf("no reason: want NAME: WHY")
	}
	step := newStep()
	var section string
	var body strings.Builder
	flush := func() error {
		defer body.Reset()
		if section == "" {
			return nil
		}
		if section == "then" {
			c.steps = append(c.steps, step)
			step = newStep()
			return nil
		}
		return c.section(&step, section, body.String())
	}
	for _, line := range lines[1:] {
		if m := sectionLine.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			if err := flush(); err != nil {
				return c, err
			}
			section = m[1]
			continue
		}
		body.WriteString(line)
	}
	if err := flush(); err != nil {
		return c, err
	}
	c.steps = append(c.steps, step)
	for i, s := range c.steps {
		if !s.asksFor["decisions"] || i == 0 && s.trees["want"] == nil {
			return c, fmt.Errorf("a step without want or decisions")
		}
	}
	return c, nil
}

// section takes one part of a case: a file of some trees, or what is expected.
func (c *mergeCase) section(step *caseStep, head, body string) error {
	switch head {
	case "decisions":
		step.decisions, step.asksFor[head] = strings.TrimSpace(body), true
		return nil
	case "changes":
		step.changes, step.asksFor[head] = strings.TrimSpace(body), true
		return nil
	case "rules":
		for line := range strings.Lines(body) {
			pattern, action, _ := strings.Cut(strings.TrimSpace(line), " ")
			if pattern != "" {
				c.rules = append(c.rules, Rule{pattern, Action(action)})
			}
		}
		return nil
	case "missing":
		c.missing = strings.Fields(body)
		return nil
	}
	words := strings.Fields(head)
	where, path, ok := strings.Cut(words[0], "/")
	if !ok {
		return fmt.Errorf("section %q", head)
	}
	o := object{kind: "file", mode: 0o644, owner: "0:0", content: body}
	if strings.HasSuffix(path, "/") || path == "" {
		path, o.kind, o.mode, o.content = filepath.Clean(path), "dir", 0o755, ""
	}
	removed := false
	for i := 1; i < len(words); i++ {
		key, value, _ := strings.Cut(words[i], "=")
		switch key {
		case "->":
			i++
			o = object{kind: "link", owner: o.owner, target: words[i]}
		case "fifo", "socket", "char":
			o.kind, o.content = key, ""
		case "removed":
			removed = true
		case "mode":
			n, err := strconv.ParseUint(value, 8, 32)
			if err != nil {
				return err
			}
			o.mode = uint32(n)
		case "owner":
			o.owner = value
		case "flags":
			o.flags = value
		case "link":
			o.linked = value
		case "mtime":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return err
			}
			o.mtime = n
		case "quoted":
			text, err := strconv.Unquote(strings.TrimSpace(body))
			if err != nil {
				return err
			}
			o.content = text
		case "bare": // without the last end of line
			o.content = strings.TrimSuffix(o.content, "\n")
		default:
			xattr, ok := strings.CutPrefix(words[i], "xattr:")
			if !ok {
				return fmt.Errorf("unknown word %q", words[i])
			}
			o.xattrs = strings.TrimSpace(o.xattrs + " " + xattr)
		}
	}
	trees := strings.Split(where, "+")
	if where == "all" {
		trees = []string{"ancestor", "ours", "theirs", "want"}
	}
	for _, tree := range trees {
		if !slices.Contains([]string{"ancestor", "ours", "theirs", "want"}, tree) {
			return fmt.Errorf("no such tree: %q", tree)
		}
		if removed {
			step.removed[tree] = append(step.removed[tree], path)
			continue
		}
		if step.trees[tree] == nil {
			step.trees[tree] = testTree{}
		}
		if path == "" {
			path = "."
		}
		step.trees[tree][path] = o
	}
	return nil
}

// links gives every name of an inode the object of the first one.
func (tree testTree) resolved() testTree {
	made := maps.Clone(tree)
	if made == nil {
		made = testTree{}
	}
	if _, ok := made["."]; !ok {
		made["."] = object{kind: "dir", mode: 0o755, owner: "0:0"}
	}
	for name, o := range made {
		if o.linked == "" {
			continue
		}
		first := made[o.linked]
		first.linked = o.linked
		made[o.linked], made[name] = first, first
	}
	return made
}

// overlay is the tree with changes.
func (tree testTree) overlay(changes testTree, removed []string) testTree {
	made := maps.Clone(tree)
	for _, gone := range removed {
		for name := range made {
			if name == gone || strings.HasPrefix(name, gone+"/") {
				delete(made, name)
			}
		}
	}
	maps.Copy(made, changes.resolved2())
	return made
}

// resolved2 is resolved without a top of its own.
func (tree testTree) resolved2() testTree {
	made := tree.resolved()
	if _, ok := tree["."]; !ok {
		delete(made, ".")
	}
	return made
}

func (c *mergeCase) options() Options {
	opts := Options{Number: c.number, Rules: c.rules, Disposable: true}
	if c.missing != nil {
		opts.InSnapshot = func(path string) bool { return !slices.Contains(c.missing, path) }
	}
	return opts
}

// said is how decisions are written in a case.
func said(decisions []Decision) string {
	var b strings.Builder
	for _, d := range decisions {
		var what []string
		for _, w := range d.What {
			what = append(what, string(w))
		}
		fmt.Fprintf(&b, "%s %s %s", d.Decision, d.Path, strings.Join(what, ","))
		if d.Rule != string(Lines) {
			fmt.Fprintf(&b, " rule=%s", d.Rule)
		}
		if d.Aside != "" {
			fmt.Fprintf(&b, " aside=%s", d.Aside)
		}
		if d.Decision == Renumbered {
			fmt.Fprintf(&b, " (%s)", d.Detail)
		}
		b.WriteByte('\n')
	}
	return strings.TrimSpace(b.String())
}

func saidChanges(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		var what []string
		for _, w := range c.What {
			what = append(what, string(w))
		}
		fmt.Fprintln(&b, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.Change, c.Path, strings.Join(what, ","))))
	}
	return strings.TrimSpace(b.String())
}

func compareTrees(t testing.TB, got, want testTree) {
	t.Helper()
	ignored := cmpopts.IgnoreFields(object{}, "mtime")
	if d := cmp.Diff(want, got, cmp.AllowUnexported(object{}), ignored); d != "" {
		t.Errorf("the result is not what was wanted (-want +got):\n%s", d)
	}
}

func (c *mergeCase) run(t *testing.T) {
	dir := t.TempDir()
	sub := func(name string) string { return filepath.Join(dir, name) }
	var before map[string]testTree
	for i, step := range c.steps {
		at := map[string]string{}
		trees := map[string]testTree{}
		for _, tree := range []string{"ancestor", "ours", "theirs"} {
			trees[tree] = step.trees[tree].resolved()
			if i > 0 {
				// The running side of one merge is the ancestor of the next.
				base := before[tree]
				if tree == "ancestor" {
					base = before["theirs"]
				}
				trees[tree] = base.overlay(step.trees[tree], step.removed[tree])
			}
			at[tree] = sub(fmt.Sprint(i, tree))
			if err := os.Mkdir(at[tree], 0o755); err != nil {
				t.Fatal(err)
			}
			trees[tree].write(t, at[tree])
		}
		want := step.trees["want"].resolved()
		if i > 0 {
			want = before["ours"].overlay(step.trees["want"], step.removed["want"])
		}
		for name := range want {
			for above := filepath.Dir(name); above != "."; above = filepath.Dir(above) {
				if _, ok := want[above]; !ok {
					want[above] = object{kind: "dir", mode: 0o755, owner: "0:0"}
				}
			}
		}
		opened := openTrees(t, at["ancestor"], at["ours"], at["theirs"])
		plan, err := Merge(t.Context(), opened, c.options())
		if err != nil {
			t.Fatal(err)
		}
		result := readTree(t, at["ours"])
		compareTrees(t, result, want)
		if got := said(plan.Decisions); got != step.decisions {
			t.Errorf("decisions:\n%s\nwant:\n%s", got, step.decisions)
		}
		if got := saidChanges(plan.Changes); step.asksFor["changes"] && got != step.changes {
			t.Errorf("changes:\n%s\nwant:\n%s", got, step.changes)
		}
		for _, tree := range []string{"ancestor", "theirs"} {
			compareTrees(t, readTree(t, at[tree]), trees[tree].complete())
		}
		again, err := New(t.Context(), opened, c.options())
		if err != nil {
			t.Fatal(err)
		}
		if !again.Empty() {
			t.Errorf("merging again does something: %s", said(again.Decisions))
		}
		next, err := New(t.Context(), Trees{Ancestor: opened.Theirs, Ours: opened.Ours, Theirs: opened.Theirs}, c.options())
		if err != nil {
			t.Fatal(err)
		}
		if !next.Empty() {
			t.Errorf("a merge with nothing new on the running side does something: %s", said(next.Decisions))
		}
		before = map[string]testTree{"ours": result, "theirs": readTree(t, at["theirs"])}
	}
}

// complete is the tree as readTree shows it.
func (tree testTree) complete() testTree {
	made := maps.Clone(tree)
	for name, o := range made {
		o.mtime = 0
		words := strings.Fields(o.xattrs)
		slices.Sort(words)
		o.xattrs = strings.Join(words, " ")
		made[name] = o
	}
	return made
}

func TestCases(t *testing.T) {
	testbed.NeedRoot(t)
	files, err := filepath.Glob("testdata/cases/*.case")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		for _, c := range parseCases(t, file) {
			if seen[c.name] {
				t.Errorf("two cases are called %s", c.name)
			}
			seen[c.name] = true
			t.Run(strings.TrimSuffix(filepath.Base(file), ".case")+"/"+c.name, c.run)
		}
	}
	if len(seen) < 120 {
		t.Errorf("only %d cases; something does not read them", len(seen))
	}
}
