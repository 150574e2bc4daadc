//go:build machine

// The suite on a machine that really boots: firmware, GRUB, kernel, systemd.
// `make test-machine` runs it, and with -short leaves out what repeats a promise
// that another test shows.
package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/internal/testbed/machine"
)

// patience bounds every wait: reaching it is a failure, never a pass. A boot
// takes half a minute, several times that while others use the processors.
const patience = 10 * time.Minute

// tree is what scripts/install installs, made once for all tests.
var tree string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "txupd-tree-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		tree = dir
		return m.Run()
	}())
}

// installTree builds the programs and installs them with the units below tree.
var installTree = sync.OnceValue(func() error {
	ctx := context.Background()
	bin := filepath.Join(tree, "bin")
	if _, err := testbed.BuildPrograms(ctx, bin, testbed.Release); err != nil {
		return err
	}
	top, err := testbed.Checkout()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(top, "scripts/install"), filepath.Join(tree, "root"))
	cmd.Env = append(os.Environ(), "BIN="+bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("scripts/install: %w\n%s", err, out)
	}
	return nil
})

// images are those that tests have asked for: the first to ask builds one, the others wait.
type images struct {
	mu   sync.Mutex
	made map[string]func() (machine.Image, error)
}

func (i *images) get(name string, build func() (machine.Image, error)) (machine.Image, error) {
	i.mu.Lock()
	if i.made == nil {
		i.made = map[string]func() (machine.Image, error){}
	}
	once, ok := i.made[name]
	if !ok {
		once = sync.OnceValues(build)
		i.made[name] = once
	}
	i.mu.Unlock()
	return once()
}

var built images

// installed is a Debian with our files, as a package leaves it.
func installed(t *testing.T, v machine.Variant) machine.Image {
	t.Helper()
	img, err := built.get("installed "+v.String(), func() (machine.Image, error) {
		if err := installTree(); err != nil {
			return machine.Image{}, err
		}
		return machine.Install(context.Background(), v, filepath.Join(tree, "root"), os.Stderr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// system is a machine as tests use it: what should work and does not ends the test.
type system struct {
	t  *testing.T
	vm *machine.VM
}

// start runs the test beside others, as many at a time as go test says, on a
// machine of its own.
func start(t *testing.T, image func(*testing.T) machine.Image) *system {
	t.Helper()
	return startWith(t, image, machine.Options{})
}

func startWith(t *testing.T, image func(*testing.T) machine.Image, o machine.Options) *system {
	t.Helper()
	testbed.NeedTools(t, "qemu-system-x86_64", "qemu-img", "mformat", "sfdisk", "mmdebstrap", "dpkg-scanpackages")
	t.Parallel()
	img := image(t)
	s := &system{t: t}
	o.Log = t.Output()
	vm, err := machine.Start(s.context(), img, o)
	if err != nil {
		t.Fatal(err)
	}
	s.vm = vm
	t.Cleanup(func() {
		console := vm.Console()
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the console showed:\n%s", console)
		}
	})
	return s
}

// plain is the usual machine: /boot in the root.
func plain(t *testing.T) machine.Image { return installed(t, machine.Variant{}) }

// thorough leaves a test to `make test-machine-all`: another one shows its promise once.
func thorough(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left to make test-machine-all")
	}
}

func (s *system) context() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *system) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command in the guest.
func (s *system) run(argv ...string) machine.Result {
	s.t.Helper()
	r, err := s.vm.Run(s.context(), argv...)
	s.check(err)
	return r
}

// must runs a command that has to succeed and returns what it printed.
func (s *system) must(argv ...string) string {
	s.t.Helper()
	r := s.run(argv...)
	if r.Exit != 0 {
		s.t.Fatalf("%s: exit %d\n%s%s", strings.Join(argv, " "), r.Exit, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// expect runs a command and expects an exit code and words in what it prints.
func (s *system) expect(exit int, words string, argv ...string) {
	s.t.Helper()
	if r := s.run(argv...); r.Exit != exit || !strings.Contains(r.Stdout+r.Stderr, words) {
		s.t.Fatalf("%s: exit %d, want %d and %q\n%s%s", strings.Join(argv, " "), r.Exit, exit, words, r.Stdout, r.Stderr)
	}
}

// reboot reboots and waits until everything is started.
func (s *system) reboot() machine.Boot {
	s.t.Helper()
	b, err := s.vm.Reboot(s.context())
	s.check(err)
	s.started()
	return b
}

// booted waits for the next boot that reaches user space.
func (s *system) booted() machine.Boot {
	s.t.Helper()
	b, err := s.vm.WaitBoot(s.context())
	s.check(err)
	return b
}

// started waits until systemd has started everything, without failures.
func (s *system) started() {
	s.t.Helper()
	failed, err := s.vm.WaitStarted(s.context())
	s.check(err)
	if len(failed) > 0 {
		s.t.Fatalf("units have failed: %s\n%s", strings.Join(failed, ", "), s.run("journalctl", "-b", "--no-pager", "-q", "-p", "warning").Stdout)
	}
}

// console waits for words on the console of the present boot.
func (s *system) console(words string) {
	s.t.Helper()
	_, err := s.vm.WaitConsole(s.context(), regexp.MustCompile(regexp.QuoteMeta(words)))
	s.check(err)
}

// document runs txctl with --json and reads what it prints.
func document[T any](s *system, args ...string) T {
	s.t.Helper()
	var doc T
	text := s.must(append(append([]string{"txctl"}, args...), "--json")...)
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		s.t.Fatalf("txctl %s --json: %v\n%s", strings.Join(args, " "), err, text)
	}
	return doc
}
