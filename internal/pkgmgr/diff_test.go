package pkgmgr

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/journal/record"
)

func TestDiffTellsWhatHappenedToEachPackage(t *testing.T) {
	tests := map[string]struct {
		manager       Manager
		before, after []Package
		want          []record.PackageChange
	}{
		"nothing": {
			manager: apt{},
			before:  []Package{{"vim", "amd64", "1", Requested}},
			after:   []Package{{"vim", "amd64", "1", Dependency}},
		},
		"each kind, sorted": {
			manager: apt{},
			before:  []Package{{"d", "amd64", "2.0", ""}, {"c", "amd64", "1.0~rc1", ""}, {"b", "all", "1", Dependency}},
			after:   []Package{{"a", "amd64", "1", Requested}, {"c", "amd64", "1.0", Requested}, {"d", "amd64", "1:1.0", ""}},
			want: []record.PackageChange{
				{Name: "a", Arch: "amd64", Change: record.Added, New: "1", Reason: Requested},
				{Name: "b", Arch: "all", Change: record.Removed, Old: "1", Reason: Dependency},
				{Name: "c", Arch: "amd64", Change: record.Upgraded, Old: "1.0~rc1", New: "1.0", Reason: Requested},
				{Name: "d", Arch: "amd64", Change: record.Upgraded, Old: "2.0", New: "1:1.0"},
			},
		},
		"downgraded": {
			manager: zypper{},
			before:  []Package{{"a", "x86_64", "1.10-1", ""}},
			after:   []Package{{"a", "x86_64", "1.9-1", ""}},
			want:    []record.PackageChange{{Name: "a", Arch: "x86_64", Change: record.Downgraded, Old: "1.10-1", New: "1.9-1"}},
		},
		"a second kernel is added": {
			manager: zypper{},
			before:  []Package{{"kernel", "x86_64", "6.1-1", ""}},
			after:   []Package{{"kernel", "x86_64", "6.1-1", ""}, {"kernel", "x86_64", "6.2-1", ""}},
			want:    []record.PackageChange{{Name: "kernel", Arch: "x86_64", Change: record.Added, New: "6.2-1"}},
		},
		"one kernel comes and one goes": {
			manager: zypper{},
			before:  []Package{{"kernel", "x86_64", "6.1-1", ""}, {"kernel", "x86_64", "6.2-1", ""}},
			after:   []Package{{"kernel", "x86_64", "6.2-1", ""}, {"kernel", "x86_64", "6.3-1", ""}},
			want: []record.PackageChange{
				{Name: "kernel", Arch: "x86_64", Change: record.Added, New: "6.3-1"},
				{Name: "kernel", Arch: "x86_64", Change: record.Removed, Old: "6.1-1"},
			},
		},
		"the second architecture goes": {
			manager: apt{},
			before:  []Package{{"libc6", "amd64", "1", ""}, {"libc6", "i386", "1", ""}},
			after:   []Package{{"libc6", "amd64", "2", ""}},
			want: []record.PackageChange{
				{Name: "libc6", Arch: "amd64", Change: record.Upgraded, Old: "1", New: "2"},
				{Name: "libc6", Arch: "i386", Change: record.Removed, Old: "1"},
			},
		},
		"becomes independent of the architecture": {
			manager: apt{},
			before:  []Package{{"tzdata", "amd64", "1", ""}},
			after:   []Package{{"tzdata", "all", "2", ""}},
			want:    []record.PackageChange{{Name: "tzdata", Arch: "all", Change: record.Upgraded, Old: "1", New: "2"}},
		},
		"crosses architectures": {
			manager: apt{},
			before:  []Package{{"sh", "i386", "1", ""}},
			after:   []Package{{"sh", "amd64", "2", ""}},
			want: []record.PackageChange{
				{Name: "sh", Arch: "amd64", Change: record.Added, New: "2"},
				{Name: "sh", Arch: "i386", Change: record.Removed, Old: "1"},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := test.want
			if want == nil {
				want = []record.PackageChange{}
			}
			if diff := cmp.Diff(want, Diff(test.manager, test.before, test.after)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the changes are called, applying them to before gives after.
func TestDiffLosesNothing(t *testing.T) {
	type key struct{ name, arch, version string }
	set := func(packages []Package) map[key]bool {
		found := map[key]bool{}
		for _, p := range packages {
			found[key{p.Name, p.Arch, p.Version}] = true
		}
		return found
	}
	rapid.Check(t, func(t *rapid.T) {
		packages := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) Package {
			return Package{
				Name:    rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"),
				Arch:    rapid.SampledFrom([]string{"amd64", "i386", "all"}).Draw(t, "arch"),
				Version: rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "version"),
			}
		}), func(p Package) Package { return p })
		before, after := packages.Draw(t, "before"), packages.Draw(t, "after")
		state := set(before)
		for _, c := range Diff(apt{}, before, after) {
			if c.Old != "" {
				arch := c.Arch
				if !state[key{c.Name, arch, c.Old}] { // it moved from or to "all"
					for _, other := range []string{"all", "amd64", "i386"} {
						if state[key{c.Name, other, c.Old}] {
							arch = other
						}
					}
				}
				if !state[key{c.Name, arch, c.Old}] {
					t.Fatalf("%+v takes away what is not there", c)
				}
				delete(state, key{c.Name, arch, c.Old})
			}
			if c.New != "" {
				state[key{c.Name, c.Arch, c.New}] = true
			}
		}
		if diff := cmp.Diff(set(after), state); diff != "" {
			t.Fatalf("before and the changes give something else than after (-want +got):\n%s", diff)
		}
		if again := Diff(apt{}, after, after); len(again) != 0 {
			t.Fatalf("a system differs from itself: %v", again)
		}
	})
}
