package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/fault"
)

const sources = "../../docs/man"

// help is what the program itself says of its verbs, asked once.
var help = sync.OnceValues(func() ([]byte, error) {
	cmd := exec.Command("go", "run", "github.com/txupd/txupd/cmd/txctl", "help", "--json")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.Output()
})

// made makes all pages, and returns where.
func made(t *testing.T, epoch string) (dir string, root verb) {
	t.Helper()
	text, err := help()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	var stderr bytes.Buffer
	if code := run([]string{"-version", "1.2-3", sources, dir}, bytes.NewReader(text), &stderr, func(string) string { return epoch }); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	return dir, root
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// plain undoes what roff needs, so that texts can be looked for.
func plain(text string) string {
	return strings.NewReplacer(`\-`, "-", `\(aq`, "'", `\(dq`, `"`, `\(ha`, "^", `\(ti`, "~", `\(ga`, "`", `\&`, "", `\e`, `\`, `\fB`, "", `\fI`, "", `\fR`, "").Replace(text)
}

func TestEveryVerbHasItsPage(t *testing.T) {
	dir, root := made(t, "0")
	var wanted []string
	root.each(func(v verb) {
		wanted = append(wanted, v.title()+".1")
		text := plain(read(t, dir, v.title()+".1"))
		for _, o := range v.Options {
			if !strings.Contains(text, "--"+o.Name) {
				t.Errorf("%s: nothing says what --%s does", v.title(), o.Name)
			}
		}
		for _, below := range v.Verbs {
			if !below.Hidden && !strings.Contains(text, below.title()+"(1)") {
				t.Errorf("%s: %s is not named", v.title(), below.title())
			}
		}
		if v.Example != "" && v.Name != root.Name && !strings.Contains(text, strings.TrimSpace(strings.Split(v.Example, "\n")[0])) {
			t.Errorf("%s: its example is missing", v.title())
		}
	})
	written, err := filepath.Glob(sources + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range written {
		if name := filepath.Base(file); !slices.Contains(wanted, name) {
			wanted = append(wanted, name)
		}
	}
	var got []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(wanted)
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	for name := range exits() {
		if !slices.Contains(wanted, strings.ReplaceAll(name, " ", "-")+".1") {
			t.Errorf("%s has exit codes and is no verb", name)
		}
	}
}

func TestFormattersUnderstandEveryPage(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("mandoc is missing: scripts/deps test installs it")
		}
		t.Skip("mandoc is missing: scripts/deps test installs it")
	}
	dir, _ := made(t, "1700000000")
	pages, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mandoc, append([]string{"-T", "lint", "-W", "warning"}, pages...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, page := range pages {
		if mark := regexp.MustCompile(`@[A-Z]+@`).FindString(read(t, page)); mark != "" {
			t.Errorf("%s: %s was not filled in", page, mark)
		}
	}
}

// A page that names another one leads somewhere.
func TestReferencesLeadToPages(t *testing.T) {
	dir, _ := made(t, "0")
	pages, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	reference := regexp.MustCompile(`\b(tx(?:ctl|upd)[a-z.-]*) ?\(([158])\)`)
	seen := 0
	for _, page := range pages {
		for _, found := range reference.FindAllStringSubmatch(plain(read(t, page)), -1) {
			seen++
			if _, err := os.Stat(filepath.Join(dir, found[1]+"."+found[2])); err != nil {
				t.Errorf("%s names %s, which is not there", filepath.Base(page), found[0])
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d references were found", seen)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	dir, _ := made(t, "0")
	page := plain(read(t, dir, "txupd.toml.5"))
	at := 0
	for _, v := range config.Default().Values() {
		section, key, _ := strings.Cut(v.Key, ".")
		if v.Doc == "" || v.Wants == "" || strings.HasSuffix(v.Doc, ".") {
			t.Errorf("%s: what it does is %q, what it takes %q", v.Key, v.Doc, v.Wants)
		}
		// One after the other, each below its section.
		for _, part := range []string{"\n" + key + "\n", "\n" + upper(v.Doc) + ".", "It takes " + v.Wants + ". The default is " + v.Text() + "."} {
			i := strings.Index(page[at:], part)
			if i < 0 {
				t.Fatalf("%s: %q is not on the page, or not in its place", v.Key, part)
			}
			at += i + len(part) - 1
		}
		if !strings.Contains(page[:at], ".SS ["+section+"]") {
			t.Errorf("%s stands before its section", v.Key)
		}
	}
}

// The example of the page is one that is accepted.
func TestTheExampleConfigurationIsAccepted(t *testing.T) {
	dir, _ := made(t, "0")
	_, example, found := strings.Cut(plain(read(t, dir, "txupd.toml.5")), "\n.RS 4\n")
	example, _, closed := strings.Cut(example, ".RE")
	if !found || !closed {
		t.Fatal("the page has no example")
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc/txupd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, config.AdminFile), []byte(example), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(root); err != nil {
		t.Error(err)
	}
}

// The codes of the one table, and those that belong to no error, stand in txctl(1).
func TestEveryExitCodeIsDocumented(t *testing.T) {
	_, list, _ := strings.Cut(plain(read(t, sources, "txctl.1")), ".SH EXIT STATUS")
	list, _, _ = strings.Cut(list, ".SH ")
	var got []string
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line != "" && strings.Trim(line, "0123456789") == "" {
			got = append(got, line)
		}
	}
	codes := []int{0, fault.Usage, fault.Unchanged, fault.Own}
	for _, err := range []error{
		fault.ErrFailed, fault.ErrPackageManager, fault.ErrNotFound, fault.ErrProtected, fault.ErrBusy, fault.ErrStale, fault.ErrNoSpace,
		fault.ErrNotAuthorized, fault.ErrNotSupported, fault.ErrConflicts, fault.ErrUnreconciled, fault.ErrCancelled,
	} {
		codes = append(codes, fault.Exit(err))
	}
	slices.Sort(codes)
	var want []string
	for _, code := range codes {
		want = append(want, strconv.Itoa(code))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPagesAreTheSameWheneverTheyAreMade(t *testing.T) {
	first, _ := made(t, "1700000000")
	second, _ := made(t, "1700000000")
	undated, _ := made(t, "")
	for _, name := range []string{"txctl.1", "txctl-show.1", "txupd.8"} {
		text := read(t, first, name)
		if text != read(t, second, name) {
			t.Errorf("%s differs", name)
		}
		if heading, _, _ := strings.Cut(text, "\n"); !strings.Contains(heading, `"2023-11-14" "txupd 1.2`) {
			t.Errorf("%s begins with %s", name, heading)
		}
		if strings.Contains(read(t, undated, name), "2023") {
			t.Errorf("%s is dated by something else", name)
		}
	}
}

func TestWhatCannotBeMadeIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		args         []string
		stdin, epoch string
		want         string
		code         int
	}{
		"no arguments": {nil, "", "", "usage:", 2},
		"no document":  {[]string{sources, "x"}, "txctl", "", "txctl help --json", 1},
		"bad date":     {[]string{sources, "x"}, "{}", "today", `"today"`, 1},
		"no sources":   {[]string{t.TempDir(), "x"}, "{}", "", "no man pages", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			code := run(c.args, strings.NewReader(c.stdin), &stderr, func(string) string { return c.epoch })
			if code != c.code || !strings.Contains(stderr.String(), c.want) {
				t.Errorf("exit %d: %s", code, stderr.String())
			}
		})
	}
}

func TestTextMeansItself(t *testing.T) {
	for text, want := range map[string]string{
		"--json":      `\-\-json`,
		".profile":    `\&.profile`,
		"'quoted'":    `\(aqquoted\(aq`,
		`a\nb "c" ^~`: `a\enb \(dqc\(dq \(ha\(ti`,
	} {
		if got := escaped(text); got != want {
			t.Errorf("%s is written %s, want %s", text, got, want)
		}
	}
}
