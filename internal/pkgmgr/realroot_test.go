package pkgmgr

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

// system is a real root in a directory, whose manager really runs.
type system struct {
	t       *testing.T
	dir     string
	manager Manager
}

func newSystem(t *testing.T, tarball string) system {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	testbed.Unpack(t, tarball, dir)
	m, err := Detect(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return system{t, dir, m}
}

func (s system) root() Root { return Root{Dir: s.dir, Run: s.run} }

// run is a small sandbox: namespaces that take mounts and processes with them.
func (s system) run(ctx context.Context, argv []string) ([]byte, int, error) {
	var out bytes.Buffer
	status, err := s.inside(ctx, Command{Argv: argv}, &out, nil, nil)
	return out.Bytes(), status, err
}

// inside runs c in the root. What it writes to descriptor 3 goes to told.
func (s system) inside(ctx context.Context, c Command, out, words, told io.Writer) (int, error) {
	argv := append([]string{"--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc", "--root=" + s.dir, "--"}, c.Argv...)
	cmd := exec.CommandContext(ctx, "unshare", argv...)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}, c.Env...)
	cmd.Stdout, cmd.Stderr = out, words
	var reading sync.WaitGroup
	if told != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		cmd.ExtraFiles = []*os.File{w}
		reading.Go(func() {
			_, _ = io.Copy(told, r)
			r.Close()
		})
	}
	err := cmd.Run()
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	reading.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		err = nil
	}
	if err != nil {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// metered carries what a command prints through its meter.
type metered struct {
	Meter
	words Words
	seen  []Progress
}

func (m *metered) note() {
	if p := m.Progress(); len(m.seen) == 0 || m.seen[len(m.seen)-1] != p {
		m.seen = append(m.seen, p)
	}
}

// eachByte hands pieces on byte by byte: where they are cut must not matter.
type eachByte func(p []byte)

func (e eachByte) Write(p []byte) (int, error) {
	for i := range p {
		e(p[i : i+1])
	}
	return len(p), nil
}

// meters runs a command as a transaction does, and returns what people see of
// it and how far it said it was.
func (s system) meters(c Command) (words string, status int, seen []Progress) {
	s.t.Helper()
	c, meter := s.manager.Metered(c)
	if meter == nil {
		s.t.Fatalf("%q tells nothing of how far it is", c.Argv)
	}
	m := &metered{Meter: meter, words: Words{Limit: 1 << 20}}
	var mu sync.Mutex
	locked := func(do func(p []byte)) eachByte {
		return func(p []byte) {
			mu.Lock()
			defer mu.Unlock()
			do(p)
			m.note()
		}
	}
	status, err := s.inside(s.t.Context(), c,
		locked(func(p []byte) { m.words.Add(1, m.Output(p)) }), locked(func(p []byte) { m.words.Add(2, p) }), locked(m.Status))
	if err != nil {
		s.t.Fatal(err)
	}
	m.words.Add(1, m.Output(nil))
	return string(m.words.Bytes()), status, m.seen
}

// does runs commands up to the first failure and returns its outcome, or that
// of the last one.
func (s system) does(commands []Command) Outcome {
	s.t.Helper()
	var o Outcome
	for _, c := range commands {
		words, status, seen := s.meters(c)
		s.t.Logf("%q: %d\n%s\n%v", c.Argv, status, words, seen)
		if o = s.manager.Outcome(c.Argv, status, []byte(words)); !o.OK {
			return o
		}
	}
	return o
}

func (s system) installed() []Package {
	s.t.Helper()
	packages, err := s.manager.Installed(s.t.Context(), s.root())
	if err != nil {
		s.t.Fatal(err)
	}
	return packages
}

// changes runs commands and checks how they end and what they change.
func (s system) changes(what string, commands []Command, outcome Outcome, want ...record.PackageChange) {
	s.t.Helper()
	before := s.installed()
	if diff := cmp.Diff(outcome, s.does(commands)); diff != "" {
		s.t.Errorf("%s: outcome (-want +got):\n%s", what, diff)
	}
	if want == nil {
		want = []record.PackageChange{}
	}
	if diff := cmp.Diff(want, Diff(s.manager, before, s.installed())); diff != "" {
		s.t.Errorf("%s: changes (-want +got):\n%s", what, diff)
	}
}

func (s system) owners(paths ...string) map[string]string {
	s.t.Helper()
	owners, err := s.manager.Owners(s.t.Context(), s.root(), paths)
	if err != nil {
		s.t.Fatal(err)
	}
	return owners
}

func (s system) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

var done = Outcome{OK: true}
