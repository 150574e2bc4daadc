// The small root that most tests run in, made of this machine's own programs.

package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if IsInit() {
		os.Exit(Init())
	}
	if len(os.Args) > 2 && os.Args[1] == holderArgument {
		os.Exit(holdSandbox(os.Args[2:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// programs are what the tests' scripts need.
var programs = []string{
	"sh", "cat", "ls", "sleep", "id", "stty", "mknod", "mkdir", "stat", "mount", "setsid", "env", "readlink",
	"setpriv", "dd", "tty", "true", "false", "head", "chmod", "touch", "rm", "uname", "ps", "mv", "ln", "mountpoint",
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("namespaces and mounts need root")
	}
	t.Skip("namespaces and mounts need root")
}

// smallRoot makes a root with a few programs and the libraries that they need.
func smallRoot(t testing.TB) string {
	t.Helper()
	needRoot(t)
	root := t.TempDir()
	for _, dir := range []string{
		"proc", "sys", "dev", "run", "tmp", "root", "home", "etc", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64",
		"boot/grub", "var/cache/apt", "var/lib/apt/lists",
	} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		must(t, os.Symlink("usr/"+name, filepath.Join(root, name)))
	}
	write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
	write(t, filepath.Join(root, "etc/group"), "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")
	for _, name := range programs {
		file, err := exec.LookPath(name)
		must(t, err)
		copyFile(t, file, filepath.Join(root, "usr/bin", name), 0o755)
		for _, library := range libraries(t, file) {
			copyFile(t, library, filepath.Join(root, library), 0o755)
		}
	}
	return root
}

var libraryLine = regexp.MustCompile(`(/\S+) \(0x`)

func libraries(t testing.TB, file string) []string {
	t.Helper()
	out, err := exec.Command("ldd", file).Output()
	must(t, err)
	var list []string
	for _, m := range libraryLine.FindAllStringSubmatch(string(out), -1) {
		list = append(list, m[1])
	}
	return list
}

func copyFile(t testing.TB, from, to string, mode os.FileMode) {
	t.Helper()
	if _, err := os.Stat(to); err == nil {
		return
	}
	content, err := os.ReadFile(from)
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	must(t, os.WriteFile(to, content, mode))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, file, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(content), 0o644))
}

func read(t testing.TB, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	must(t, err)
	return string(content)
}

// open starts a sandbox that ends with the test.
func open(t testing.TB, cfg Config) *Sandbox {
	t.Helper()
	s, err := Start(context.Background(), cfg)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("cannot close the sandbox: %v", err)
		}
	})
	return s
}

// output is what a command said and how it ended.
type output struct {
	out, err string
	exit     Exit
}

// try runs a command to its end.
func try(t testing.TB, s *Sandbox, c Command) output {
	t.Helper()
	outReader, outWriter, err := os.Pipe()
	must(t, err)
	errReader, errWriter, err := os.Pipe()
	must(t, err)
	c.Stdout, c.Stderr = outWriter, errWriter
	p, err := s.Start(context.Background(), c)
	must(t, outWriter.Close())
	must(t, errWriter.Close())
	must(t, err)
	var stderr bytes.Buffer
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(&stderr, errReader)
		copied <- err
	}()
	stdout, err := io.ReadAll(outReader)
	must(t, err)
	must(t, <-copied)
	exit, err := p.Wait()
	must(t, err)
	must(t, outReader.Close())
	must(t, errReader.Close())
	return output{string(stdout), stderr.String(), exit}
}

// script runs a shell script and wants it to succeed; it returns what it printed.
func script(t testing.TB, s *Sandbox, text string) string {
	t.Helper()
	o := try(t, s, Command{Argv: []string{"sh", "-c", text}})
	if o.exit.Status != 0 {
		t.Fatalf("%s\nended with status %d: %s", text, o.exit.Status, o.err)
	}
	return strings.TrimSpace(o.out)
}

// mountsOf lists this process's mounts that name a path.
func mountsOf(t testing.TB, path string) string {
	t.Helper()
	var found strings.Builder
	for line := range strings.Lines(read(t, "/proc/self/mountinfo")) {
		if strings.Contains(line, path) {
			fmt.Fprint(&found, line)
		}
	}
	return found.String()
}
