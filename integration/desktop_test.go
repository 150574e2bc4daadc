// A program in another language, which knows what the introspection data says.

package integration

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
)

func TestAProgramInAnotherLanguage(t *testing.T) {
	testbed.NeedTools(t, "/usr/bin/python3")
	s := newSystem(t, options{prepare: func(root string) error {
		return testbed.UseDebRepo(t.Context(), root,
			testbed.Deb{Name: "base", Version: "1.0-1", Files: map[string]string{"/usr/share/base": "one"}},
			testbed.Deb{Name: "tool", Version: "1.0-1", Depends: "base", Files: map[string]string{"/usr/share/tool/data": "one"}, Scripts: map[string]string{"postinst": "#!/bin/sh\n" + waits}})
	}})
	example := func(args ...string) *exec.Cmd {
		cmd := exec.Command("/usr/bin/python3", append([]string{"../docs/examples/install.py"}, args...)...)
		cmd.Env = s.bus.Env()
		return cmd
	}
	r := s.finish(example("base"))
	if r.exit != 0 || !strings.Contains(r.stdout, "install: ") || !strings.HasSuffix(r.stdout, "committed\nrestart to use it\n") {
		t.Errorf("exit %d:\n%s%s", r.exit, r.stdout, r.stderr)
	}
	if n := s.pending(); s.show(n).Message != "asked for by an example" || !exists(s.inSnapshot(n, "usr/share/base")) {
		t.Errorf("snapshot %d is not what it asked for", n)
	}
	if r := s.finish(example("no-such-package")); r.exit != 1 || !strings.Contains(r.stdout, "failed: ") || !strings.Contains(r.stdout, "no-such-package") {
		t.Errorf("a package that there is not: exit %d:\n%s%s", r.exit, r.stdout, r.stderr)
	}
	if r := s.finish(example("--root=/")); r.exit != 1 || !strings.Contains(r.stderr, "org.txupd1.Error.InvalidArgument: ") {
		t.Errorf("what is no package: exit %d:\n%s%s", r.exit, r.stdout, r.stderr)
	}

	s.untouched("a transaction that is cancelled", func() {
		cmd := example("tool")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.eventually("the package's script waits", func() bool {
			current := s.status().Transaction
			return current != nil && exists(s.inSnapshot(current.Number, gate))
		})
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		last := ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text := lines.Text(); strings.HasPrefix(text, "failed: ") {
				last = text
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(last, "cancelled") {
			t.Errorf("it ended with %v and %q", err, last)
		}
	})
}
