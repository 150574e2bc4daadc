// The documents hold what they show: command lines, links and configuration.

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/fault"
)

const top = "../.."

// documents are the README and the user guide, by path from the top.
func documents(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, "docs/*.md"))
	if err != nil || len(files) < 5 {
		t.Fatalf("found %q (%v)", files, err)
	}
	texts := map[string]string{}
	for _, file := range append(files, filepath.Join(top, "README.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(top, file)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	return texts
}

// block is what stands between fences.
type block struct{ language, text string }

// parts tells blocks from prose.
func parts(text string) (blocks []block, prose string) {
	var open *block
	for line := range strings.Lines(text) {
		switch fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```"); {
		case isFence && open == nil:
			blocks = append(blocks, block{language: fence})
			open = &blocks[len(blocks)-1]
		case isFence:
			open = nil
		case open != nil:
			open.text += line
		default:
			prose += line
		}
	}
	return blocks, prose
}

// commands are the calls of txctl in a line of shell, as words.
func commands(line string) (found [][]string) {
	var words []string
	end := func() {
		if len(words) > 0 && words[0] == "txctl" {
			found = append(found, words[1:])
		}
		words = nil
	}
	word, in, quote, redirected := "", false, rune(0), false
	finish := func() {
		if in && !redirected {
			words = append(words, word)
		}
		if in {
			redirected = false
		}
		word, in = "", false
	}
	for i, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word += string(r)
			}
		case r == '\'' || r == '"':
			quote, in = r, true
		case unicode.IsSpace(r):
			finish()
		case r == '#' && !in && (i == 0 || line[i-1] == ' '):
			end()
			return found
		case strings.ContainsRune(";|&", r):
			finish()
			end()
		case r == '<' || r == '>':
			finish()
			redirected = true
		default:
			word, in = word+string(r), true
		}
	}
	finish()
	end()
	return found
}

func TestCommandLinesAreTakenApartAsAShellDoes(t *testing.T) {
	for line, want := range map[string]string{
		"txctl status":                          "status",
		"txctl log --since 2d   # also --until": "log,--since,2d",
		"txctl note 7 'it works'; txctl pin 7":  "note,7,it works|pin,7",
		"echo txctl pin | txctl shell -m ''":    "shell,-m,",
		"txctl run -- true </dev/null":          "run,--,true",
		"txctl journal export > /a/b":           "journal,export",
		"mytxctl status":                        "",
	} {
		var got []string
		for _, c := range commands(line) {
			got = append(got, strings.Join(c, ","))
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q is %q", line, got)
		}
	}
}

// What stands in a block of commands can be typed: the fake daemon takes it.
func TestCommandsInDocumentsAreAccepted(t *testing.T) {
	seen := 0
	for name, text := range documents(t) {
		blocks, _ := parts(text)
		for _, b := range blocks {
			for line := range strings.Lines(b.text) {
				line = strings.TrimSpace(line)
				switch b.language {
				case "console":
					typed, isPrompt := strings.CutPrefix(strings.Replace(line, "$ ", "# ", 1), "# ")
					if !isPrompt {
						continue // what was printed
					}
					line = typed
				case "sh":
				default:
					continue
				}
				seen += accepted(t, name, line)
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d command lines were found", seen)
	}
}

// Examples of --help can be typed, too.
func TestExamplesAreAccepted(t *testing.T) {
	seen := 0
	root := newApp(nil, &locked{}, &locked{}, func(string) string { return "" }).root()
	eachVerb(root, func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			seen += accepted(t, c.CommandPath(), strings.ReplaceAll(strings.TrimSpace(line), "$(ssh safe cat head)", "J:3:00"))
		}
	})
	if seen < 40 {
		t.Errorf("only %d examples were found", seen)
	}
}

// accepted gives the commands of a line to the fake daemon, and counts them.
func accepted(t *testing.T, where, line string) (seen int) {
	t.Helper()
	for _, args := range commands(line) {
		seen++
		f := newFake(t)
		f.open = &bus.Transaction{Number: 4}
		f.cast = "{}\n"
		got := f.txctlWith(func(a *app) {
			a.getenv = func(name string) string { return map[string]string{"EDITOR": "true"}[name] }
		}, strings.NewReader(""), append([]string{"--yes"}, args...)...) // nobody is there to be asked
		if got.code == fault.Usage {
			t.Errorf("%s: %q: %s", where, line, got.stderr)
		}
	}
	return seen
}

// What is named in the text, `txctl rollback --etc=keep`, is a verb with its options.
func TestVerbsInDocumentsExist(t *testing.T) {
	inline := regexp.MustCompile("`(txctl[^`]*)`")
	seen := 0
	for name, text := range documents(t) {
		_, prose := parts(text)
		for _, found := range inline.FindAllStringSubmatch(prose, -1) {
			for _, args := range commands(found[1]) {
				seen++
				a := newApp(nil, &locked{}, &locked{}, func(string) string { return "" })
				root := a.root()
				root.InitDefaultHelpCmd()
				c, rest, err := root.Find(args)
				if err == nil {
					err = c.ParseFlags(rest)
				}
				if err == nil && c.HasSubCommands() && c.Name() != "etc" {
					err = a.noVerb(c, c.Flags().Args())
				}
				if err != nil {
					t.Errorf("%s: `%s`: %v", name, found[1], err)
				}
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d were found", seen)
	}
}

func TestTheGuideListsEveryExitCode(t *testing.T) {
	var got []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(documents(t)["docs/automation.md"], -1) {
		got = append(got, row[1])
	}
	var want []string
	for _, code := range []int{
		0, fault.Exit(fault.ErrFailed), fault.Usage, fault.Exit(fault.ErrPackageManager), fault.Exit(fault.ErrNotFound), fault.Exit(fault.ErrProtected),
		fault.Exit(fault.ErrBusy), fault.Exit(fault.ErrStale), fault.Exit(fault.ErrNoSpace), fault.Exit(fault.ErrNotAuthorized),
		fault.Exit(fault.ErrNotSupported), fault.Exit(fault.ErrConflicts), fault.Exit(fault.ErrUnreconciled), fault.Unchanged, fault.Own,
		fault.Exit(fault.ErrCancelled),
	} {
		want = append(want, strconv.Itoa(code))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// anchors are what a link may point to within a document, as they are made of headings.
func anchors(text string) map[string]bool {
	_, prose := parts(text)
	all := map[string]bool{}
	for line := range strings.Lines(prose) {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			all[strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
					return unicode.ToLower(r)
				}
				return -1
			}, strings.TrimSpace(heading))] = true
		}
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	texts := documents(t)
	linked := map[string]bool{"README.md": true}
	for name, text := range texts {
		_, prose := parts(text)
		for _, found := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(found[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			linked[target] = linked[target] || target != name
			if _, err := os.Stat(filepath.Join(top, target)); err != nil {
				t.Errorf("%s leads to %s, which is not there", name, found[1])
			} else if anchor != "" && !anchors(texts[target])[anchor] {
				t.Errorf("%s leads to %s, and there is no such heading", name, found[1])
			}
		}
	}
	for name := range texts {
		if !linked[name] {
			t.Errorf("nothing leads to %s", name)
		}
	}
}

func TestConfigurationInDocumentsIsAccepted(t *testing.T) {
	seen := 0
	for name, text := range documents(t) {
		blocks, prose := parts(text)
		for _, b := range blocks {
			if b.language != "toml" {
				continue
			}
			seen++
			root := t.TempDir()
			if err := os.MkdirAll(filepath.Join(root, filepath.Dir(config.AdminFile)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, config.AdminFile), []byte(b.text), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(root); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		keys := map[string]bool{}
		for _, v := range config.Default().Values() {
			keys[v.Key] = true
		}
		for _, key := range regexp.MustCompile("`((?:boot|health|log|packages|etc)\\.[a-z-]+)`").FindAllStringSubmatch(prose, -1) {
			if seen++; !keys[key[1]] {
				t.Errorf("%s: there is no key %s", name, key[1])
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d keys and examples were found", seen)
	}
}
