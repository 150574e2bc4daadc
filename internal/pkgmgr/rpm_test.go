package pkgmgr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answers is a Root.Run that knows rpm's answers by the option before the format.
func answers(by map[string]string) func(context.Context, []string) ([]byte, int, error) {
	return func(_ context.Context, argv []string) ([]byte, int, error) {
		out, known := by[strings.Join(argv[:slices.Index(argv, "--qf")], " ")]
		if !known {
			return nil, 1, nil
		}
		return []byte(out), 0, nil
	}
}

func TestInstalledReadsRPMsAnswer(t *testing.T) {
	root := Root{
		Dir: writeRoot(t, map[string]string{"var/lib/zypp/AutoInstalled": "# made by zypper\n#\nlibfoo\n\n"}),
		Run: answers(map[string]string{"rpm -qa": "libfoo\t0:1.0-1\tx86_64\ngpg-pubkey\t0:3dbdc284-53674dd4\t(none)\n" +
			"kernel\t1:6.2-1\tx86_64\nkernel\t1:6.10-1\tx86_64\nfoo\t0:1.0~rc1-2.1\tnoarch\n"}),
	}
	got, err := (zypper{}).Installed(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{
		{"foo", "noarch", "1.0~rc1-2.1", Requested},
		{"kernel", "x86_64", "1:6.2-1", Requested},
		{"kernel", "x86_64", "1:6.10-1", Requested},
		{"libfoo", "x86_64", "1.0-1", Dependency},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("installed (-want +got):\n%s", diff)
	}
	root.Dir = t.TempDir() // without zypper's state
	got, err = (zypper{}).Installed(t.Context(), root)
	if err != nil || len(got) != 4 || got[0].Reason != "" {
		t.Errorf("without zypper's state: %v, %v", got, err)
	}
}

func TestInstalledFailsWhereRPMDoes(t *testing.T) {
	broken := errors.New("no such sandbox")
	for name, test := range map[string]struct {
		run  func(context.Context, []string) ([]byte, int, error)
		want string
	}{
		"no runner":     {nil, "internal error"},
		"does not run":  {func(context.Context, []string) ([]byte, int, error) { return nil, 0, broken }, "no such sandbox"},
		"fails":         {answers(nil), "rpm -qa ended with status 1"},
		"speaks other":  {answers(map[string]string{"rpm -qa": "foo-1.0\n"}), `cannot read rpm's answer "foo-1.0"`},
		"half a line":   {answers(map[string]string{"rpm -qa": "a\t0:1-1\tx\nfoo\t0:"}), "cannot read"},
		"without names": {answers(map[string]string{"rpm -qa": "\t0:1-1\tx\n"}), "cannot read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := (zypper{}).Installed(t.Context(), Root{Dir: t.TempDir(), Run: test.run})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestManyOwnersCostOneListing(t *testing.T) {
	var paths []string
	for i := range maxAskedPaths + 1 {
		paths = append(paths, fmt.Sprintf("/usr/share/foo/%d", i))
	}
	asked := 0
	listing := answers(map[string]string{"rpm -qa": "foo\t/usr/share/foo/7\nbar\t/bin/bar\nno line of ours\n"})
	root := Root{
		Dir: writeRoot(t, map[string]string{"bin": "-> usr/bin"}),
		Run: func(ctx context.Context, argv []string) ([]byte, int, error) {
			asked++
			return listing(ctx, argv)
		},
	}
	got, err := (zypper{}).Owners(t.Context(), root, append(paths, "/usr/bin/bar"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"/usr/share/foo/7": "foo", "/usr/bin/bar": "bar"}, got); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if asked != 1 {
		t.Errorf("rpm was run %d times", asked)
	}
	if got, err := (zypper{}).Owners(t.Context(), Root{Dir: root.Dir}, nil); err != nil || len(got) != 0 {
		t.Errorf("no paths: %v, %v", got, err)
	}
}

func FuzzRPMAnswer(f *testing.F) {
	f.Add([]byte("a\t0:1-1\tnoarch\ngpg-pubkey\t0:1-1\t(none)\n"))
	f.Add([]byte(strings.Repeat("x", maxName+1) + "\t0:1-1\tnoarch\n"))
	f.Add([]byte("a\x1b[2J\t0:1-1\tnoarch\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		packages, err := parseRPM(out)
		if err != nil {
			return
		}
		for _, p := range packages {
			if p.Name == "" || len(p.Name) > maxName || p.Name == "gpg-pubkey" || strings.ContainsAny(p.Name+p.Version+p.Arch, " \t\n\r\x1b") || strings.HasPrefix(p.Version, "0:") && !strings.Contains(string(out), "\t0:0:") {
				t.Errorf("accepted %+v", p)
			}
		}
	})
}
