package pkgmgr

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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
	return s.inside(ctx, Command{Argv: argv}, nil)
}

// inside runs c in the root; what it says on standard error goes to words.
func (s system) inside(ctx context.Context, c Command, words *bytes.Buffer) ([]byte, int, error) {
	argv := append([]string{"--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc", "--root=" + s.dir, "--"}, c.Argv...)
	cmd := exec.CommandContext(ctx, "unshare", argv...)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}, c.Env...)
	var out bytes.Buffer
	cmd.Stdout = &out
	if words != nil {
		cmd.Stdout, cmd.Stderr = words, words
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		err = nil
	}
	if err != nil {
		return nil, 0, err
	}
	return out.Bytes(), cmd.ProcessState.ExitCode(), nil
}

// does runs commands up to the first failure and returns its outcome, or that
// of the last one.
func (s system) does(commands []Command) Outcome {
	s.t.Helper()
	var o Outcome
	for _, c := range commands {
		var words bytes.Buffer
		_, status, err := s.inside(s.t.Context(), c, &words)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Logf("%q: %d\n%s", c.Argv, status, words.Bytes())
		if o = s.manager.Outcome(c.Argv, status, words.Bytes()); !o.OK {
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
