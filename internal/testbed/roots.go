// Real roots: Debian by mmdebstrap, and one whose package manager is zypper
// with an rpm database, as the suites and the demo unpack them.

package testbed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Suite is the Debian release that roots are made of.
const Suite = "trixie"

// RootSpec says what a root consists of.
type RootSpec struct {
	Name    string   // of the tarball in the cache
	Include []string // packages beyond the minimal system
	// Lists keeps apt's package lists (60 MiB), so that packages of Debian can be
	// installed from the network at once. Such a root is built anew after a week.
	Lists bool
	// Finish is a shell script that gets the root directory as its first argument
	// and leaves no apt in it.
	Finish string
	// BaseRPM is put into the root's rpm database, without its files, before Finish.
	BaseRPM *Rpm
}

// Debian is a minimal Debian with apt; without package lists, because tests use
// repositories of their own (DebRepo).
func Debian() RootSpec {
	return RootSpec{Name: "debian", Include: []string{"ca-certificates"}}
}

// DebianWithLists is Debian, ready to install from the mirror that mmdebstrap chose.
func DebianWithLists() RootSpec {
	spec := Debian()
	spec.Name, spec.Lists = "debian-lists", true
	return spec
}

// Zypper is a root whose package manager is zypper, with the rpm database where
// openSUSE has it. It holds one package, which stands for the system below
// (shell and C library), so that packages of RpmRepo can have scripts.
func Zypper() RootSpec {
	return RootSpec{
		Name:    "zypper",
		Include: []string{"ca-certificates", "zypper", "rpm"},
		BaseRPM: &Rpm{Name: "testbed-base", Provides: []string{"/bin/sh", "/bin/bash", "/usr/bin/sh", "bash", "coreutils"}},
		Finish:  zypperFinish,
	}
}

// zypperFinish turns a Debian with zypper into a system of the SUSE family: no
// apt or dpkg that a look at the root could take for its package manager.
const zypperFinish = `set -eu
cd "$1"
rm -rf usr/bin/apt* usr/bin/dpkg* usr/lib/apt etc/apt etc/dpkg var/lib/dpkg var/lib/apt var/cache/apt var/lib/rpm
cat >usr/lib/os-release <<'END'
NAME="openSUSE Tumbleweed"
ID="opensuse-tumbleweed"
ID_LIKE="opensuse suse"
VERSION_ID="20250801"
PRETTY_NAME="openSUSE Tumbleweed"
END
ln -sf ../usr/lib/os-release etc/os-release
mkdir -p etc/products.d etc/zypp/repos.d
cat >etc/products.d/openSUSE.prod <<'END'
<?xml version="1.0" encoding="UTF-8"?>
<product schemeversion="0">
  <vendor>openSUSE</vendor>
  <name>openSUSE</name>
  <version>20250801</version>
  <release>0</release>
  <arch>x86_64</arch>
  <summary>openSUSE Tumbleweed</summary>
  <productline>openSUSE</productline>
</product>
END
ln -sf openSUSE.prod etc/products.d/baseproduct
`

// rpmDatabase makes the database where openSUSE has it and puts $2 into it.
const rpmDatabase = `set -eu
mkdir -p "$1/etc/rpm" "$1/usr/lib/sysimage/rpm"
echo '%_dbpath /usr/lib/sysimage/rpm' >"$1/etc/rpm/macros"
chroot "$1" rpm --initdb
cp "$2" "$1/tmp/base.rpm"
chroot "$1" rpm --install --justdb --noscripts /tmp/base.rpm
rm "$1/tmp/base.rpm"
`

// excluded are paths that only cost time to unpack. They are kept from the
// build, not from what is installed into the root later.
var excluded = []string{"/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*"}

// unconfigure removes mmdebstrap's options from the root.
const unconfigure = `rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap`

// BuildRoot returns the path of a tarball of the root, from the cache or built
// now, which takes up to a minute; what the build says goes to log. It needs
// root, mmdebstrap and a Debian mirror (and rpm for a BaseRPM).
func BuildRoot(ctx context.Context, spec RootSpec, log io.Writer) (string, error) {
	argv := []string{
		// mmdebstrap mounts /proc and others in the root: where they cannot stay behind.
		"unshare", "--mount", "--propagation=private",
		"mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar",
		"--include=" + strings.Join(spec.Include, ","),
		"--aptopt=Acquire::Retries \"3\"",
		"--customize-hook=" + unconfigure,
	}
	for _, path := range excluded {
		argv = append(argv, "--dpkgopt=path-exclude="+path)
	}
	c := cached{name: spec.Name + ".tar"}
	if spec.Lists {
		argv = append(argv, "--skip=cleanup/apt/lists")
		c.maxAge = 7 * 24 * time.Hour
	}
	c.inputs = append([]string{runtime.GOARCH, Suite, spec.Finish}, argv...)
	if spec.BaseRPM != nil {
		c.inputs = append(c.inputs, rpmDatabase, spec.BaseRPM.spec(""))
	}
	c.build = func(ctx context.Context, path, scratch string) error {
		argv := slices.Clone(argv)
		if spec.BaseRPM != nil {
			file, err := spec.BaseRPM.build(ctx, scratch)
			if err != nil {
				return err
			}
			argv = append(argv, hook(rpmDatabase, file))
		}
		if spec.Finish != "" {
			argv = append(argv, hook(spec.Finish), "--skip=cleanup/apt", "--skip=cleanup/mmdebstrap")
		}
		return mmdebstrap(ctx, append(argv, Suite, path), scratch, log)
	}
	return c.get(ctx)
}

// hook is the option that runs script with the root directory and args.
func hook(script string, args ...string) string {
	words := []string{"sh", "-c", quote(script), "hook", `"$1"`}
	for _, arg := range args {
		words = append(words, quote(arg))
	}
	return "--customize-hook=" + strings.Join(words, " ")
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func mmdebstrap(ctx context.Context, argv []string, scratch string, log io.Writer) error {
	for _, tool := range []string{argv[0], "mmdebstrap"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w (scripts/deps installs it)", err)
		}
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch, "LC_ALL=C.UTF-8")
	cmd.Stdout, cmd.Stderr = io.MultiWriter(log, &said), io.MultiWriter(log, &said)
	// On an interrupt it removes its own directory; the scratch directory goes anyway.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mmdebstrap: %w\n%s", err, said.Bytes())
	}
	return nil
}

// UnpackRoot extracts a root's tarball into dir, which is made if need be, with
// owners, modes, device nodes and extended attributes.
func UnpackRoot(ctx context.Context, tarball, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return run(ctx, "tar", "--extract", "--preserve-permissions", "--numeric-owner",
		"--xattrs", "--xattrs-include=*", "--file="+tarball, "--directory="+dir)
}

// chroot makes $1 a mount point of its own, as every booted root is (rpm wants
// that), with a /proc, and runs the rest in it.
const chroot = `root=$1; shift
mount --rbind "$root" "$root" && mount -t proc proc "$root/proc" && exec chroot "$root" "$@"`

// Chroot runs argv in root, in mount and process namespaces of its own, and
// returns what it printed on both outputs.
func Chroot(ctx context.Context, root string, argv ...string) (string, error) {
	prefix := []string{"--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "sh", "-c", chroot, "sh", root}
	cmd := exec.CommandContext(ctx, "unshare", append(prefix, argv...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s in %s: %w\n%s", strings.Join(argv, " "), root, err, out)
	}
	return string(out), nil
}

// run runs a command of which only a failure is of interest.
func run(ctx context.Context, argv ...string) error {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// DebianRoot is the tarball of Debian.
func DebianRoot(t testing.TB) string { return builtRoot(t, Debian()) }

// ZypperRoot is the tarball of Zypper.
func ZypperRoot(t testing.TB) string {
	NeedTools(t, "rpmbuild")
	return builtRoot(t, Zypper())
}

func builtRoot(t testing.TB, spec RootSpec) string {
	t.Helper()
	NeedTools(t, "mmdebstrap", "unshare")
	path, err := BuildRoot(t.Context(), spec, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Unpack is UnpackRoot for tests.
func Unpack(t testing.TB, tarball, dir string) {
	t.Helper()
	if err := UnpackRoot(t.Context(), tarball, dir); err != nil {
		t.Fatalf("cannot unpack %s: %v", filepath.Base(tarball), err)
	}
}

// NeedTools is NeedRoot, and the same for commands that have to be there.
func NeedTools(t testing.TB, tools ...string) {
	t.Helper()
	NeedRoot(t)
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			unable(t, tool+" (scripts/deps installs it)")
		}
	}
}
