// Mangen makes the man pages: one for each verb of what "txctl help --json"
// says on its standard input, and those of a directory with the lists that the
// code knows filled in.
//
// usage: txctl help --json | mangen [-version VERSION] SOURCES DIRECTORY
//
// Nothing but SOURCE_DATE_EPOCH dates them, so that they are the same whoever
// makes them: https://reproducible-builds.org/specs/source-date-epoch/
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/config"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stderr, os.Getenv)) }

func run(args []string, stdin io.Reader, stderr io.Writer, getenv func(string) string) int {
	flags := flag.NewFlagSet("mangen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	version := flags.String("version", "devel", "of txupd")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 2 {
		fmt.Fprintln(stderr, "usage: txctl help --json | mangen [-version VERSION] SOURCES DIRECTORY")
		return 2
	}
	if err := generate(stdin, flags.Arg(0), flags.Arg(1), *version, getenv("SOURCE_DATE_EPOCH")); err != nil {
		fmt.Fprintln(stderr, "mangen:", err)
		return 1
	}
	return 0
}

// manual is what all pages have in common.
type manual struct{ version, date string }

func (m *manual) heading(p *page, title, section string) {
	p.line(`.TH "%s" "%s" "%s" "txupd %s" "txupd"`, escaped(strings.ToUpper(title)), section, m.date, escaped(m.version))
	// Names and commands are not to be broken.
	p.line(".nh")
	p.line(".ad l")
}

func generate(stdin io.Reader, sources, into, version, epoch string) error {
	m := &manual{version: version}
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %q is no number of seconds", epoch)
		}
		m.date = time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	}
	var root verb
	if err := json.NewDecoder(stdin).Decode(&root); err != nil {
		return fmt.Errorf("cannot read what \"txctl help --json\" prints: %w", err)
	}
	pages, err := m.written(sources, root)
	if err != nil {
		return err
	}
	root.each(func(v verb) {
		if v.Name != root.Name {
			pages[v.title()+".1"] = m.verbPage(v, root)
		}
	})
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(into, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// written are the pages that a person wrote, with the lists of the code in place of the marks.
func (m *manual) written(sources string, root verb) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(sources, "*.[1-8]"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, fmt.Errorf("there are no man pages in %s", sources))
	}
	options, verbs := &page{}, &page{}
	options.options(root.below())
	verbs.verbs(root)
	marks := strings.NewReplacer(
		"@DATE@", m.date, "@VERSION@", escaped(m.version),
		"@OPTIONS@", strings.TrimSuffix(options.String(), "\n"), "@VERBS@", strings.TrimSuffix(verbs.String(), "\n"),
		"@KEYS@", keys(config.Default().Values()),
	)
	pages := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		pages[filepath.Base(file)] = marks.Replace(string(text))
	}
	return pages, nil
}
