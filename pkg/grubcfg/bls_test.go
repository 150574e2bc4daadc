// Boot Loader Specification entries: what is written is what is read, and
// names count as systemd-boot counts.

package grubcfg_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/grubcfg"
)

func TestBLSEntryIsAsRecorded(t *testing.T) {
	b, err := stagedMenu().Entries[0].BLS()
	if err != nil {
		t.Fatal(err)
	}
	text, err := b.Render()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "staged.conf", text)
	if _, err := trialMenu(1).Entries[0].BLS(); err == nil || !strings.Contains(err.Error(), "not on the boot partition") {
		t.Errorf("a kernel that is not staged: %v", err)
	}
}

func TestParseBLSReadsWhatOthersWrite(t *testing.T) {
	got, err := grubcfg.ParseBLS([]byte("# by hand\r\ntitle\tFedora Linux\r\n\nversion 1\nversion  2\n machine-id 4098 \nlinux /a/linux\ninitrd /a/1\ninitrd /a/2\noptions root=x\noptions   quiet\nefi\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := grubcfg.BLSEntry{
		Title: "Fedora Linux", Version: "2", Linux: "/a/linux", Initrd: []string{"/a/1", "/a/2"},
		Options: "root=x quiet", Other: []grubcfg.BLSField{{Key: "machine-id", Value: "4098"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"", "title x\n", "linux \xff\n", "linux /a\x00b\n"} {
		if _, err := grubcfg.ParseBLS([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestBLSRoundTrip(t *testing.T) {
	value := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z/= .-]{1,20}`))
	rapid.Check(t, func(t *rapid.T) {
		b := grubcfg.BLSEntry{
			Title: value.Draw(t, "title"), Version: value.Draw(t, "version"), SortKey: value.Draw(t, "sort key"),
			Linux: value.Draw(t, "linux"), Initrd: rapid.SliceOfN(value, 0, 3).Draw(t, "initrd"), Options: value.Draw(t, "options"),
		}
		text, err := b.Render()
		if err != nil {
			return
		}
		again, err := grubcfg.ParseBLS(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if len(b.Initrd) == 0 {
			b.Initrd = nil
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestBLSRenderRefuses(t *testing.T) {
	for what, b := range map[string]grubcfg.BLSEntry{
		"no kernel":      {Title: "x"},
		"two lines":      {Linux: "/a", Title: "x\nlinux /b"},
		"blank at start": {Linux: " /a"},
		"not text":       {Linux: "/a", Options: "\xff"},
		"empty initrd":   {Linux: "/a", Initrd: []string{""}},
		"other kernel":   {Linux: "/a", Other: []grubcfg.BLSField{{Key: "linux", Value: "/b"}}},
		"comment as key": {Linux: "/a", Other: []grubcfg.BLSField{{Key: "#", Value: "b"}}},
	} {
		if text, err := b.Render(); err == nil {
			t.Errorf("%s was rendered:\n%s", what, text)
		}
	}
}

func TestBLSNames(t *testing.T) {
	type name = grubcfg.BLSName
	for file, want := range map[string]name{
		"txupd-7.conf":             {ID: "txupd-7"},
		"txupd-7+3.conf":           {ID: "txupd-7", Counting: true, Left: 3},
		"txupd-7+2-1.conf":         {ID: "txupd-7", Counting: true, Left: 2, Done: 1},
		"txupd-7+0-3.conf":         {ID: "txupd-7", Counting: true, Done: 3},
		"a+b+1-2.conf":             {ID: "a+b", Counting: true, Left: 1, Done: 2},
		"a+b.conf":                 {ID: "a+b"},
		"a+.conf":                  {ID: "a+"},
		"a+1-.conf":                {ID: "a+1-"},
		"a+-1.conf":                {ID: "a+-1"},
		"+1.conf":                  {ID: "+1"},
		"a+99999999999999999.conf": {ID: "a+99999999999999999"},
	} {
		got, err := grubcfg.ParseBLSName(file)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
		if got.String() != file {
			t.Errorf("%s is written as %s", file, got)
		}
	}
	for _, file := range []string{"", ".conf", "a", "a.conf.bak", "a/b.conf"} {
		if n, err := grubcfg.ParseBLSName(file); err == nil {
			t.Errorf("%q was read as %+v", file, n)
		}
	}
}

func FuzzParseBLS(f *testing.F) {
	f.Add([]byte("title a\nlinux /b\ninitrd /c\ninitrd /d\noptions e f\nsort-key g\nversion h\nmachine-id i\n"))
	f.Add([]byte("linux\t/a\r\n# x\n\noptions\n"))
	f.Add([]byte("linux /a\noptions a \noptions  b"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := grubcfg.ParseBLS(raw)
		if err != nil {
			return
		}
		text, err := b.Render()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := grubcfg.ParseBLS(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParseBLSName(f *testing.F) {
	for _, s := range []string{"a.conf", "a+1.conf", "a+1-2.conf", "a+01-0.conf", "+.conf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		n, err := grubcfg.ParseBLSName(file)
		if err != nil {
			return
		}
		again, err := grubcfg.ParseBLSName(n.String())
		if err != nil || again != n {
			t.Fatalf("%q is %+v, then %+v (%v)", file, n, again, err)
		}
	})
}
