// Small real packages and repositories of them, so that suites install,
// upgrade and remove without a network.

package testbed

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// RepoPath is where, in a root, UseDebRepo and UseRpmRepo put the repository: a
// place that belongs to the root in every layout, so that a fork has it too.
const RepoPath = "/usr/lib/testbed/repo"

// Deb is a package for apt. Only the name is needed.
type Deb struct {
	Name    string
	Version string // "1.0" if empty
	Arch    string // "all" if empty
	Depends string // as in a control file: "a, b (>= 2)"
	// Files are paths from "/" and their contents; what starts with "#!" is executable.
	Files map[string]string
	// Scripts are maintainer scripts by name ("postinst"), with their "#!" line.
	Scripts   map[string]string
	Conffiles []string
	// Fields are further control fields ("Conflicts", "Essential").
	Fields map[string]string
}

// Rpm is a package for zypper or dnf. Only the name is needed.
type Rpm struct {
	Name     string
	Version  string // "1.0" if empty
	Release  string // "1" if empty
	Requires []string
	Provides []string
	// Files are paths from "/" and their contents; what starts with "#!" is executable.
	Files map[string]string
	// Scripts are scriptlets by section ("post", "preun"), without a "#!" line.
	Scripts map[string]string
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// WriteDebRepo adds packages to the flat apt repository in dir and indexes it.
// Its source is AptSource(dir). Several versions of one package may stand in it.
func WriteDebRepo(ctx context.Context, dir string, debs ...Deb) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, deb := range debs {
		if err := deb.build(ctx, dir); err != nil {
			return fmt.Errorf("cannot build the package %s: %w", deb.Name, err)
		}
	}
	cmd := exec.CommandContext(ctx, "dpkg-scanpackages", "--multiversion", ".")
	cmd.Dir = dir
	index, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("cannot index %s: %w", dir, err)
	}
	return os.WriteFile(filepath.Join(dir, "Packages"), index, 0o644)
}

// AptSource is the line of sources.list for a repository at dir.
func AptSource(dir string) string { return "deb [trusted=yes] file:" + dir + " ./\n" }

// UseDebRepo puts packages into a repository inside root (RepoPath), makes it
// apt's only source there and reads its index, so that `apt-get install` works
// in root without a network. Called again it adds packages.
func UseDebRepo(ctx context.Context, root string, debs ...Deb) error {
	if err := WriteDebRepo(ctx, filepath.Join(root, RepoPath), debs...); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(root, "etc/apt/sources.list.d")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "etc/apt/sources.list"), []byte(AptSource(RepoPath)), 0o644); err != nil {
		return err
	}
	_, err := Chroot(ctx, root, "apt-get", "-q", "update")
	return err
}

// build writes NAME_VERSION_ARCH.deb into dir.
func (d Deb) build(ctx context.Context, dir string) error {
	version, arch := orElse(d.Version, "1.0"), orElse(d.Arch, "all")
	scratch, err := os.MkdirTemp("", "deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	// The mode of the tree becomes that of "/" where the package is installed.
	tree := filepath.Join(scratch, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: Testbed <testbed@example.org>\n", d.Name, version, arch)
	if d.Depends != "" {
		control += "Depends: " + d.Depends + "\n"
	}
	for _, field := range slices.Sorted(maps.Keys(d.Fields)) {
		control += field + ": " + d.Fields[field] + "\n"
	}
	control += "Description: " + d.Name + " of the testbed\n"
	files := map[string]string{"DEBIAN/control": control}
	if len(d.Conffiles) > 0 {
		files["DEBIAN/conffiles"] = strings.Join(d.Conffiles, "\n") + "\n"
	}
	for name, text := range d.Scripts {
		files["DEBIAN/"+name] = text
	}
	maps.Copy(files, d.Files)
	if err := writeTree(tree, files); err != nil {
		return err
	}
	return run(ctx, "dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree,
		filepath.Join(dir, d.Name+"_"+strings.ReplaceAll(version, ":", "%3a")+"_"+arch+".deb"))
}

// WriteRpmRepo adds packages to the rpm-md repository in dir and indexes it.
func WriteRpmRepo(ctx context.Context, dir string, rpms ...Rpm) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "rpm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	for _, rpm := range rpms {
		file, err := rpm.build(ctx, scratch)
		if err != nil {
			return fmt.Errorf("cannot build the package %s: %w", rpm.Name, err)
		}
		if err := run(ctx, "cp", file, dir); err != nil {
			return err
		}
	}
	return run(ctx, "createrepo_c", "--quiet", dir)
}

// ZypperRepo is the contents of a file in /etc/zypp/repos.d for a repository at dir.
func ZypperRepo(dir string) string {
	return "[testbed]\nname=testbed\nenabled=1\nautorefresh=1\nbaseurl=dir://" + dir + "\ntype=rpm-md\ngpgcheck=0\n"
}

// UseRpmRepo puts packages into a repository inside root (RepoPath), makes it
// zypper's repository there and reads its index. Called again it adds packages.
func UseRpmRepo(ctx context.Context, root string, rpms ...Rpm) error {
	if err := WriteRpmRepo(ctx, filepath.Join(root, RepoPath), rpms...); err != nil {
		return err
	}
	repos := map[string]string{"/etc/zypp/repos.d/testbed.repo": ZypperRepo(RepoPath)}
	if err := writeTree(root, repos); err != nil {
		return err
	}
	_, err := Chroot(ctx, root, "zypper", "--non-interactive", "refresh", "--force")
	return err
}

// spec is the package's spec file; its files are taken from the directory tree.
func (r Rpm) spec(tree string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Name: %s\nVersion: %s\nRelease: %s\n", r.Name, orElse(r.Version, "1.0"), orElse(r.Release, "1"))
	fmt.Fprintf(&b, "Summary: %s of the testbed\nLicense: Apache-2.0\nBuildArch: noarch\nAutoReqProv: no\n", r.Name)
	for _, name := range r.Requires {
		fmt.Fprintf(&b, "Requires: %s\n", name)
	}
	for _, name := range r.Provides {
		fmt.Fprintf(&b, "Provides: %s\n", name)
	}
	fmt.Fprintf(&b, "%%description\n%s\n%%install\n", r.Name)
	if tree != "" {
		fmt.Fprintf(&b, "mkdir -p %%{buildroot}\ncp -a %s/. %%{buildroot}/\n", tree)
	}
	for _, section := range slices.Sorted(maps.Keys(r.Scripts)) {
		fmt.Fprintf(&b, "%%%s\n%s\n", section, r.Scripts[section])
	}
	b.WriteString("%files\n")
	for _, path := range slices.Sorted(maps.Keys(r.Files)) {
		fmt.Fprintf(&b, "%%attr(-,root,root) %s\n", path)
	}
	return b.String()
}

// build makes the package below scratch and returns its path.
func (r Rpm) build(ctx context.Context, scratch string) (string, error) {
	top, err := os.MkdirTemp(scratch, "build-")
	if err != nil {
		return "", err
	}
	tree := filepath.Join(top, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return "", err
	}
	if err := writeTree(tree, r.Files); err != nil {
		return "", err
	}
	specFile := filepath.Join(top, "package.spec")
	if err := os.WriteFile(specFile, []byte(r.spec(tree)), 0o644); err != nil {
		return "", err
	}
	// The gzip payload is one that every rpm reads; a dbpath of its own keeps it from the host's.
	err = run(ctx, "rpmbuild", "-bb", "--nodeps", "--quiet", "--target=noarch",
		"--define=_topdir "+top, "--define=_rpmdir "+top+"/RPMS", "--define=_dbpath "+top+"/db",
		"--define=_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm",
		"--define=_binary_payload w1.gzdio", "--define=__os_install_post %{nil}", specFile)
	if err != nil {
		return "", err
	}
	built, err := filepath.Glob(filepath.Join(top, "RPMS/*.rpm"))
	if err != nil || len(built) != 1 {
		return "", fmt.Errorf("rpmbuild made %d packages of %s", len(built), r.Name)
	}
	return built[0], nil
}

// writeTree writes files below dir. Contents that start with "#!" are executable.
func writeTree(dir string, files map[string]string) error {
	for path, text := range files {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(full, []byte(text), mode); err != nil {
			return err
		}
	}
	return nil
}

// DebRepo is WriteDebRepo for tests.
func DebRepo(t testing.TB, dir string, debs ...Deb) {
	t.Helper()
	NeedTools(t, "dpkg-deb", "dpkg-scanpackages")
	if err := WriteDebRepo(t.Context(), dir, debs...); err != nil {
		t.Fatal(err)
	}
}

// RpmRepo is WriteRpmRepo for tests.
func RpmRepo(t testing.TB, dir string, rpms ...Rpm) {
	t.Helper()
	NeedTools(t, "rpmbuild", "createrepo_c")
	if err := WriteRpmRepo(t.Context(), dir, rpms...); err != nil {
		t.Fatal(err)
	}
}
