package pkgmgr

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told feeds a meter line by line and lists what it said.
func told(m Meter, output, status string) (words string, all []Progress) {
	note := func() {
		if p := m.Progress(); p != (Progress{}) && (len(all) == 0 || all[len(all)-1] != p) {
			all = append(all, p)
		}
	}
	var out bytes.Buffer
	for line := range strings.Lines(output) {
		out.Write(m.Output([]byte(line)))
		note()
	}
	for line := range strings.Lines(status) {
		m.Status([]byte(line))
		note()
	}
	out.Write(m.Output(nil))
	return out.String(), all
}

func TestAptTellsHowFarItIs(t *testing.T) {
	c, meter := apt{}.Metered(apt{}.Add([]string{"x"}, Options{})[0])
	if at := slices.Index(c.Argv, "APT::Status-Fd=3"); at < 0 || at > slices.Index(c.Argv, "install") {
		t.Errorf("%q does not ask for it", c.Argv)
	}
	now := time.Unix(0, 0)
	meter.(*aptMeter).fetched.now = func() time.Time { now = now.Add(time.Second); return now }
	words, all := told(meter, "Need to get 2,000 kB/3,000 kB of archives.\n",
		"dlstatus:1:0:Retrieving file 1 of 2\ndlstatus:1:50:Retrieving file 1 of 2\npmstatus:x:25.5:Unpacking x (amd64)\n"+
			"pmerror:x:25.5:trouble\npmstatus:x:oops:Unpacking\npmstatus:x:NaN:Odd\nnonsense\npmstatus:x:400:Installed x: all of it\n")
	want := []Progress{
		{Downloading, 0, "file 1 of 2"}, {Downloading, 0.5, "500 kB/s, file 1 of 2"},
		{Installing, 0.255, "Unpacking x (amd64)"}, {Installing, 0, "Odd"}, {Installing, 1, "Installed x: all of it"},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if words != "Need to get 2,000 kB/3,000 kB of archives.\n" {
		t.Errorf("people see %q", words)
	}
	_, meter = apt{}.Metered(apt{}.Update(Options{})[0])
	_, all = told(meter, "", "dlstatus:1:20:Retrieving file 1 of 2\n")
	if diff := cmp.Diff([]Progress{{Refreshing, 0.2, "file 1 of 2"}}, all); diff != "" {
		t.Errorf("lists (-want +got):\n%s", diff)
	}
}

func TestZypperTellsHowFarItIs(t *testing.T) {
	c, meter := zypper{}.Metered(zypper{}.Add([]string{"x"}, Options{})[0])
	if at := slices.Index(c.Argv, "--xmlout"); at < 0 || at > slices.Index(c.Argv, "install") {
		t.Errorf("%q does not ask for it", c.Argv)
	}
	words, all := told(meter, `<?xml version='1.0'?>
<stream>
<message type="info">Loading &lt;data&gt;...</message>
a script's own words & more
<install-summary download-size="12391">
<to-install>
<solvable type="package" name="x"><description>what it is</description></solvable>
<solvable type="package" name="libx"/>
</to-install>
<to-remove><solvable type="package" name="y"/></to-remove>
</install-summary>
<prompt id="0"><text>Continue?</text><option value="y" desc="a > b"/></prompt>
<message type="info">Retrieving: libx-1-1.noarch (repo) (1/2),   6.0 KiB    </message>
<download url="http://h/d/libx-1-1.noarch.rpm" percent="-1" rate="-1"/>
<download url="http://h/d/libx-1-1.noarch.rpm" percent="50" rate="2500000"/>
<download url="http://h/d/libx-1-1.noarch.rpm" rate="2500000" done="1"/>
<progress id="fileconflict-check" name="Checking for file conflicts:" value="40"/>
<progress id="install-resolvable" name="(2/2) Installing: x-1-1.noarch" value="50"/>
<progress id="install-resolvable" name="(2/2) Installing: x-1-1.noarch" done="0"/>
<progress id="remove-resolvable" name="(1/1) Removing: y-1-1.noarch"/>
<message type="error">No provider of &apos;z&apos; found.</message>
</stream>
`, "nothing is read here")
	want := []Progress{
		{Downloading, 0, "libx-1-1.noarch"}, {Downloading, 0, "libx-1-1.noarch.rpm"},
		{Downloading, 0.25, "2.5 MB/s, libx-1-1.noarch.rpm"}, {Downloading, 0.5, "2.5 MB/s, libx-1-1.noarch.rpm"},
		{Installing, -1, "Checking for file conflicts"},
		{Installing, 0.75, "Installing x-1-1.noarch"}, {Installing, 1, "Installing x-1-1.noarch"},
		{Removing, 0, "Removing y-1-1.noarch"},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	seen := `Loading <data>...
a script's own words & more
2 packages will be installed: x libx
1 package will be removed: y
Continue?
Retrieving: libx-1-1.noarch (repo) (1/2),   6.0 KiB
(2/2) Installing: x-1-1.noarch [error]
No provider of 'z' found.
`
	if diff := cmp.Diff(seen, words); diff != "" {
		t.Errorf("people see (-want +got):\n%s", diff)
	}
	// The end of the stream is missing, or what comes is no stream: nothing is lost.
	for _, text := range []string{"no XML at all\n", "<stream>\n<message type=\"error\">cut", "a < b > c </d", "<stream><=broken>\nand on\n"} {
		_, meter := zypper{}.Metered(zypper{}.Update(Options{})[0])
		words, _ := told(meter, text, "")
		if last := strings.TrimRight(text[strings.LastIndexAny(text, "<>\n ")+1:], "\n"); !strings.Contains(words, last) {
			t.Errorf("of %q people see %q", text, words)
		}
	}
}

// FuzzMeters: whatever is printed, cut into whatever pieces, people see the
// same, nothing of apt's is changed, and a fraction is one.
func FuzzMeters(f *testing.F) {
	f.Add([]byte("<?xml version='1.0'?>\n<stream>\n<message type=\"info\">a &amp; b</message>\ntext &lt; é\n<progress name='(1/2) Installing: x' value='50'/>"),
		[]byte("dlstatus:1:50:Retrieving file 1 of 2\npmstatus:x:1e400:x\n"), uint8(3))
	f.Add([]byte("Need to get 1 kB of archives.\n<a b='>'><prompt><text>Continue?"), []byte("pmstatus:x:NaN:x\n:::"), uint8(1))
	f.Add([]byte("<download percent='Inf' rate='NaN' url=''/><download rate='1e300'/>"), []byte{}, uint8(7))
	f.Fuzz(func(t *testing.T, output, status []byte, size uint8) {
		for _, m := range []Manager{apt{}, zypper{}} {
			for _, c := range slices.Concat(m.Add([]string{"x"}, Options{}), m.Update(Options{}), m.Remove([]string{"x"}, Options{})) {
				whole := fed(t, m, c, output, status, max(1, len(output)))
				if cut := fed(t, m, c, output, status, max(1, int(size))); !bytes.Equal(whole, cut) {
					t.Fatalf("%s: in pieces of %d people see %q, else %q", m.Name(), size, cut, whole)
				}
				if m.Name() == "apt" && !bytes.Equal(whole, output) {
					t.Fatalf("apt's %q became %q", output, whole)
				}
			}
		}
	})
}

func fed(t *testing.T, m Manager, c Command, output, status []byte, size int) []byte {
	_, meter := m.Metered(c)
	look := func() {
		p := meter.Progress()
		if p != (Progress{}) && (!slices.Contains([]string{Refreshing, Downloading, Installing, Removing}, p.Phase) || !(p.Fraction == -1 || p.Fraction >= 0 && p.Fraction <= 1)) {
			t.Fatalf("%s is at %+v", m.Name(), p)
		}
	}
	var words []byte
	for piece := range slices.Chunk(output, size) {
		words = append(words, meter.Output(piece)...)
		look()
	}
	for piece := range slices.Chunk(status, size) {
		meter.Status(piece)
		look()
	}
	return append(words, meter.Output(nil)...)
}
