package pkgmgr

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func lines(commands []Command) []string {
	var all []string
	for _, c := range commands {
		all = append(all, strings.Join(c.Argv, " "))
	}
	return all
}

func TestCommandsOfEachManager(t *testing.T) {
	const (
		aptGet = "apt-get -y -q -o Dpkg::Use-Pty=0 -o DPkg::Options::=--force-confdef -o DPkg::Options::=--force-confold" +
			" -o DPkg::Lock::Timeout=60 -o APT::Cmd::Pattern-Only=true "
		zyp = "zypper --non-interactive --no-color "
	)
	dry, refresh := Options{DryRun: true}, Options{Refresh: true}
	leap, rolling := zypper{}, zypper{rolling: true}
	tests := map[string]struct {
		got  []Command
		want []string
	}{
		"apt add":             {apt{}.Add([]string{"htop", "g++"}, Options{}), []string{aptGet + "install -- htop g++"}},
		"apt add, dry":        {apt{}.Add([]string{"htop"}, dry), []string{aptGet + "--simulate install -- htop"}},
		"apt add, refreshed":  {apt{}.Add([]string{"htop"}, refresh), []string{aptGet + "update", aptGet + "install -- htop"}},
		"apt add a version":   {apt{}.Add([]string{"htop=1"}, Options{}), []string{aptGet + "install --allow-downgrades -- htop=1"}},
		"apt add from suite":  {apt{}.Add([]string{"htop/trixie"}, Options{}), []string{aptGet + "install --allow-downgrades -- htop/trixie"}},
		"apt remove":          {apt{}.Remove([]string{"htop", "g++"}, Options{}), []string{aptGet + "remove -- htop g++-"}},
		"apt remove, dry":     {apt{}.Remove([]string{"htop"}, dry), []string{aptGet + "--simulate remove -- htop"}},
		"apt update":          {apt{}.Update(Options{}), []string{aptGet + "update", aptGet + "dist-upgrade"}},
		"apt update, dry":     {apt{}.Update(dry), []string{aptGet + "update", aptGet + "--simulate dist-upgrade"}},
		"zypper add":          {leap.Add([]string{"htop", "vim"}, Options{}), []string{zyp + "install --auto-agree-with-licenses -- htop vim"}},
		"zypper add, dry":     {leap.Add([]string{"htop"}, dry), []string{zyp + "install --dry-run --auto-agree-with-licenses -- htop"}},
		"zypper add, fresh":   {leap.Add([]string{"htop"}, refresh), []string{zyp + "refresh", zyp + "install --auto-agree-with-licenses -- htop"}},
		"zypper add version":  {leap.Add([]string{"htop=1"}, Options{}), []string{zyp + "install --auto-agree-with-licenses --oldpackage -- htop=1"}},
		"zypper add at least": {leap.Add([]string{"htop>1"}, Options{}), []string{zyp + "install --auto-agree-with-licenses -- htop>1"}},
		"zypper remove":       {leap.Remove([]string{"htop"}, Options{}), []string{zyp + "remove -- htop"}},
		"zypper remove, dry":  {leap.Remove([]string{"htop"}, dry), []string{zyp + "remove --dry-run -- htop"}},
		"Leap's update":       {leap.Update(Options{}), []string{zyp + "refresh", zyp + "update --auto-agree-with-licenses"}},
		"Tumbleweed's update": {rolling.Update(Options{}), []string{zyp + "refresh", zyp + "dist-upgrade --auto-agree-with-licenses"}},
		"Tumbleweed's, dry":   {rolling.Update(dry), []string{zyp + "refresh", zyp + "dist-upgrade --dry-run --auto-agree-with-licenses"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, lines(test.got)); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			for _, c := range test.got {
				if !slices.Contains(c.Env, "LC_ALL=C.UTF-8") {
					t.Errorf("%q would answer in a language that Outcome does not read", c.Argv)
				}
			}
		})
	}
}

// Two calls must not share the memory of their argvs.
func TestCommandsAreIndependent(t *testing.T) {
	for _, m := range []Manager{apt{}, zypper{}} {
		names := []string{"a", "b"}
		first := m.Add(names, Options{})[0]
		before := slices.Clone(first.Argv)
		second := m.Add([]string{"c", "d"}, Options{})[0]
		second.Argv[len(second.Argv)-1] = "changed"
		names[0] = "changed"
		if !slices.Equal(before, first.Argv) {
			t.Errorf("%s: %q became %q", m.Name(), before, first.Argv)
		}
	}
}

func TestOutcomeTellsWhatAStatusMeans(t *testing.T) {
	aptUpdate, aptInstall := apt{}.Update(Options{})[0].Argv, apt{}.Add([]string{"update"}, Options{})[0].Argv
	refresh, install := zypper{}.Update(Options{})[0].Argv, zypper{}.Add([]string{"refresh"}, Options{})[0].Argv
	tests := map[string]struct {
		manager Manager
		argv    []string
		status  int
		output  string
		want    Outcome
	}{
		"apt done":           {apt{}, aptInstall, 0, "", Outcome{OK: true}},
		"apt nothing to do":  {apt{}, aptInstall, 0, "0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n", Outcome{OK: true}},
		"apt error":          {apt{}, aptInstall, 100, "E: Unmet dependencies.\n", Outcome{Note: "apt reported an error"}},
		"apt killed":         {apt{}, aptInstall, 137, "", Outcome{Note: "apt was killed"}},
		"apt unknown":        {apt{}, aptInstall, 100, "E: Unable to locate package nosuch\n", Outcome{Note: "package nosuch was not found", Missing: []string{"nosuch"}}},
		"apt several":        {apt{}, aptInstall, 100, "Reading…\nE: Unable to locate package a\nE: Package 'b' has no installation candidate\nE: Unable to locate package a\n", Outcome{Note: "packages were not found: a, b", Missing: []string{"a", "b"}}},
		"apt version":        {apt{}, aptInstall, 100, "E: Version '7' for 'foo' was not found\n", Outcome{Note: "package foo=7 was not found", Missing: []string{"foo=7"}}},
		"apt archives held":  {apt{}, aptInstall, 100, "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 0\n", Outcome{Locked: true, Note: "another process is using apt"}},
		"apt dpkg held":      {apt{}, aptInstall, 100, "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n", Outcome{Locked: true, Note: "another process is using apt"}},
		"apt offline":        {apt{}, aptUpdate, 0, "Ign:1 http://x InRelease\nErr:1 http://x InRelease\nW: Some index files failed to download. They have been ignored, or old ones used instead.\n", Outcome{Note: "no package source could be read"}},
		"apt partly offline": {apt{}, aptUpdate, 0, "Hit:1 http://y InRelease\nErr:2 http://x InRelease\nW: Some index files failed to download. They have been ignored, or old ones used instead.\n", Outcome{OK: true, Note: "some package sources could not be read; their old lists were used"}},

		"zypper done":         {zypper{}, install, 0, "Nothing to do.\n", Outcome{OK: true}},
		"zypper bug":          {zypper{}, install, 1, "", Outcome{Note: "zypper met an unexpected situation"}},
		"zypper problem":      {zypper{}, install, 4, "Problem: nothing provides x\n", Outcome{Note: "zypper reported a problem"}},
		"zypper no repos":     {zypper{}, refresh, 6, "", Outcome{Note: "no repositories are defined"}},
		"zypper locked":       {zypper{}, install, 7, "", Outcome{Locked: true, Note: "another process is using zypper"}},
		"zypper rpm failed":   {zypper{}, install, 8, "", Outcome{Note: "packages could not be installed or removed"}},
		"zypper patches":      {zypper{}, install, 100, "", Outcome{OK: true, Note: "patches are available"}},
		"zypper security":     {zypper{}, install, 101, "", Outcome{OK: true, Note: "security patches are available"}},
		"zypper reboot":       {zypper{}, install, 102, "", Outcome{OK: true, RebootSuggested: true, Note: "a reboot is needed for what was installed"}},
		"zypper again":        {zypper{}, install, 103, "", Outcome{OK: true, Again: true, Note: "the package manager itself was updated; the rest follows when it runs again"}},
		"zypper missing":      {zypper{}, install, 104, "'a' not found in package names. Trying capabilities.\nNo provider of 'a' found.\nPackage 'b' not found.\n", Outcome{Note: "packages were not found: a, b", Missing: []string{"a", "b"}}},
		"zypper missing, mum": {zypper{}, install, 104, "", Outcome{Note: "a package was not found"}},
		"zypper signal":       {zypper{}, install, 105, "", Outcome{Note: "zypper was interrupted"}},
		"zypper skipped":      {zypper{}, install, 106, "", Outcome{OK: true, Note: "some repositories could not be refreshed and were left out"}},
		"zypper script":       {zypper{}, install, 107, "", Outcome{Note: "a package's script failed"}},
		"zypper killed":       {zypper{}, install, 137, "", Outcome{Note: "zypper was killed"}},
		"zypper unheard of":   {zypper{}, install, 42, "", Outcome{Note: "zypper ended with status 42"}},
		"zypper some fresh":   {zypper{}, refresh, 4, "Some of the repositories have not been refreshed because of an error.\n", Outcome{OK: true, Note: "some repositories could not be refreshed"}},
		"zypper none fresh":   {zypper{}, refresh, 4, "Could not refresh the repositories because of errors.\n", Outcome{Note: "zypper reported a problem"}},
		"a package's name":    {zypper{}, install, 4, "Some of the repositories have not been refreshed because of an error.\n", Outcome{Note: "zypper reported a problem"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := test.manager.Outcome(test.argv, test.status, []byte(test.output))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}
