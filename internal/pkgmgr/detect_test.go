package pkgmgr

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"
)

// writeRoot makes a root of files; a content "-> target" makes a link.
func writeRoot(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, isLink := strings.CutPrefix(content, "-> "); isLink {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDetectFindsTheSystemsOwnManager(t *testing.T) {
	aptTools := map[string]string{"usr/bin/apt-get": "", "usr/bin/dpkg": ""}
	zypperTools := map[string]string{"usr/bin/zypper": "", "usr/bin/rpm": ""}
	const (
		debian     = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n"
		mint       = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"
		tumbleweed = "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\nVERSION_ID=\"20250801\"\n"
		slowroll   = "ID=\"opensuse-slowroll\"\nID_LIKE=\"suse opensuse opensuse-tumbleweed\"\nVERSION_ID=\"20250801\"\n"
		aeon       = "ID='aeon'\nID_LIKE='suse'\nVERSION_ID='20250801'\n"
		leap       = "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"\n"
		arch       = "ID=arch\n"
	)
	tests := map[string]struct {
		release    string
		tools      []map[string]string
		configured string
		want       Manager
		err        string
	}{
		"Debian":                    {release: debian, tools: []map[string]string{aptTools}, want: apt{}},
		"Debian with zypper":        {release: debian, tools: []map[string]string{aptTools, zypperTools}, want: apt{}},
		"a derivative":              {release: mint, tools: []map[string]string{aptTools}, want: apt{}},
		"Tumbleweed":                {release: tumbleweed, tools: []map[string]string{zypperTools}, want: zypper{rolling: true, database: "usr/lib/sysimage/rpm"}},
		"Slowroll":                  {release: slowroll, tools: []map[string]string{zypperTools}, want: zypper{rolling: true, database: "usr/lib/sysimage/rpm"}},
		"Aeon":                      {release: aeon, tools: []map[string]string{zypperTools}, want: zypper{rolling: true, database: "usr/lib/sysimage/rpm"}},
		"Leap with apt":             {release: leap, tools: []map[string]string{zypperTools, aptTools}, want: zypper{database: "usr/lib/sysimage/rpm"}},
		"unknown, one manager":      {release: arch, tools: []map[string]string{aptTools}, want: apt{}},
		"no os-release":             {tools: []map[string]string{zypperTools}, want: zypper{database: "usr/lib/sysimage/rpm"}},
		"configured against it":     {release: debian, tools: []map[string]string{aptTools, zypperTools}, configured: "zypper", want: zypper{database: "usr/lib/sysimage/rpm"}},
		"none":                      {release: arch, err: "apt (usr/bin/apt-get, usr/bin/dpkg) and zypper (usr/bin/zypper, usr/bin/rpm)"},
		"half of one":               {release: debian, tools: []map[string]string{{"usr/bin/dpkg": ""}}, err: "usr/bin/apt-get"},
		"two and no word which":     {release: arch, tools: []map[string]string{aptTools, zypperTools}, err: "apt, zypper are all there"},
		"configured and not there":  {release: debian, tools: []map[string]string{aptTools}, configured: "zypper", err: "has no usr/bin/zypper, no usr/bin/rpm"},
		"configured and not known":  {release: debian, tools: []map[string]string{aptTools}, configured: "emerge", err: `"emerge": it can be apt, zypper`},
		"a tool that is a dangling": {release: debian, tools: []map[string]string{aptTools, {"usr/bin/apt-get": "-> /etc/hostname"}}, err: "looked for"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"usr/lib/os-release": test.release, "etc/os-release": "-> /usr/lib/os-release"}
			for _, tools := range test.tools {
				for path, content := range tools {
					files[path] = content
				}
			}
			got, err := Detect(writeRoot(t, files), test.configured)
			if test.err != "" {
				if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want ErrUnsupported with %q", err, test.err)
				}
				return
			}
			if err != nil || got != test.want {
				t.Fatalf("Detect = %#v, %v; want %#v", got, err, test.want)
			}
		})
	}
	if _, err := Detect(filepath.Join(t.TempDir(), "nowhere"), ""); !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrUnsupported) {
		t.Errorf("a root that is not there: %v", err)
	}
}

func TestDatabaseIsWhereRPMReallyKeepsIt(t *testing.T) {
	tools := map[string]string{"usr/bin/zypper": "", "usr/bin/rpm": ""}
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"sysimage, linked from var": {map[string]string{"usr/lib/sysimage/rpm/rpmdb.sqlite": "", "var/lib/rpm": "-> ../../usr/lib/sysimage/rpm"}, "usr/lib/sysimage/rpm"},
		"var, linked from sysimage": {map[string]string{"var/lib/rpm/Packages.db": "", "usr/lib/sysimage/rpm": "-> /var/lib/rpm"}, "var/lib/rpm"},
		"var alone":                 {map[string]string{"var/lib/rpm/Packages": ""}, "var/lib/rpm"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := writeRoot(t, test.files)
			for path := range tools {
				path = filepath.Join(root, path)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o755)); err != nil {
					t.Fatal(err)
				}
			}
			m, err := Detect(root, "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{test.want}, m.Database()); diff != "" {
				t.Errorf("database (-want +got):\n%s", diff)
			}
		})
	}
}

// A root is data: what it links to is looked for inside it, and nothing in it
// can make a reader wait.
func TestRootsDoNotLeadOut(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "status")
	if err := os.WriteFile(outside, []byte(statusText), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"absolute": outside,
		"upwards":  strings.Repeat("../", 20) + outside[1:],
		"proc":     "/proc/self/root" + outside,
	} {
		t.Run(name, func(t *testing.T) {
			root := writeRoot(t, map[string]string{"var/lib/dpkg/status": "-> " + target})
			if packages, err := (apt{}).Installed(t.Context(), Root{Dir: root}); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("read %v, %v", packages, err)
			}
		})
	}
	t.Run("a link inside is followed", func(t *testing.T) {
		root := writeRoot(t, map[string]string{"var/lib/dpkg": "-> /usr/lib/sysimage/dpkg", "usr/lib/sysimage/dpkg/status": statusText})
		packages, err := (apt{}).Installed(t.Context(), Root{Dir: root})
		if err != nil || len(packages) == 0 {
			t.Errorf("read %v, %v", packages, err)
		}
	})
	t.Run("a pipe", func(t *testing.T) {
		root := writeRoot(t, map[string]string{"var/lib/dpkg/available": ""})
		if err := unix.Mkfifo(filepath.Join(root, "var/lib/dpkg/status"), 0o644); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := (apt{}).Installed(t.Context(), Root{Dir: root})
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("error %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("reading a pipe waits")
		}
	})
}

func FuzzOSRelease(f *testing.F) {
	f.Add("ID=debian\nID_LIKE=\"a b\"\n#x\n=\nX='")
	f.Fuzz(func(t *testing.T, text string) {
		o := parseOSRelease(text)
		o.rolling()
		if len(o.ids()) == 0 {
			t.Error("no ID at all")
		}
		for _, line := range []string{"ID=x-y", `ID="x-y"`, " ID='x-y' \r"} {
			if got := parseOSRelease(text + "\n" + line + "\n"); got["ID"] != "x-y" || len(got) > len(o)+1 {
				t.Errorf("below %q the line %q is read as %q", text, line, got)
			}
		}
	})
}
