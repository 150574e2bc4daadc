package sandbox

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// captured is a system on btrfs with a shared tree: a live subvolume, its
// read-only fork and a subvolume for what is captured.
type captured struct {
	top, root, live string
	tree            Shared
}

func newCaptured(t testing.TB) captured {
	t.Helper()
	top := testbed.Loop(t, 512)
	c := captured{top: top, root: filepath.Join(top, "root"), live: filepath.Join(top, "live")}
	testbed.Run(t, "cp", "-a", smallRoot(t), c.root)
	must(t, os.RemoveAll(c.root+"/var"))
	must(t, os.Mkdir(c.root+"/var", 0o755))
	testbed.Run(t, "btrfs", "-q", "subvolume", "create", c.live)
	must(t, os.Chmod(c.live, 0o751))
	write(t, c.live+"/lib/app/state", "live\n")
	write(t, c.live+"/lib/app/gone", "live\n")
	must(t, os.MkdirAll(c.live+"/cache/apt", 0o755))
	c.tree = c.capture(t, "/var", c.live)
	return c
}

// capture forks dir and prepares a capture for what is written over it at path.
func (c captured) capture(t testing.TB, path, dir string) Shared {
	t.Helper()
	name := filepath.Join(c.top, strings.ReplaceAll(path[1:], "/", "+"))
	testbed.Run(t, "btrfs", "-q", "subvolume", "snapshot", "-r", dir, name+".fork")
	testbed.Run(t, "btrfs", "-q", "subvolume", "create", name+".capture")
	must(t, os.Mkdir(name+".capture/upper", 0o751))
	must(t, os.Mkdir(name+".capture/work", 0o755))
	return Shared{Path: path, Lower: []string{name + ".fork"}, Upper: name + ".capture/upper", Work: name + ".capture/work"}
}

func TestSharedTreeIsSeenAndCaptured(t *testing.T) {
	c := newCaptured(t)
	before := tree2text(t, c.live)
	s := open(t, Config{Root: c.root, Shared: []Shared{c.tree}})
	got := script(t, s, `cat /var/lib/app/state; stat -c %a /var; echo sandbox >/var/lib/app/state
		rm /var/lib/app/gone; mkdir -p /var/lib/new; echo n >/var/lib/new/file; cat /var/lib/app/state`)
	if got != "live\n751\nsandbox" {
		t.Errorf("the commands see %q", got)
	}
	if after := tree2text(t, c.live); after != before {
		t.Errorf("the running system's tree changed:\n%s", after)
	}
	must(t, s.Close())
	if after := tree2text(t, c.live); after != before {
		t.Errorf("the running system's tree changed:\n%s", after)
	}
	if got := read(t, c.tree.Upper+"/lib/app/state") + read(t, c.tree.Upper+"/lib/new/file"); got != "sandbox\nn\n" {
		t.Errorf("captured is %q", got)
	}
	var st unix.Stat_t
	must(t, unix.Lstat(c.tree.Upper+"/lib/app/gone", &st))
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("what was removed is captured with mode %o and device %d", st.Mode, st.Rdev)
	}
	if got, err := os.ReadDir(c.root + "/var"); err != nil || len(got) != 0 {
		t.Errorf("the snapshot's own /var holds %v, %v", got, err)
	}
}

func TestNextSandboxSeesTheCapture(t *testing.T) {
	c := newCaptured(t)
	s := open(t, Config{Root: c.root, Shared: []Shared{c.tree}})
	script(t, s, "echo one >/var/lib/app/state")
	// As a daemon that dies: the kernel is not told to tidy up.
	must(t, unix.Kill(s.init.Pid, unix.SIGKILL))
	<-s.Done()
	must(t, s.Close())
	s = open(t, Config{Root: c.root, Shared: []Shared{c.tree}})
	if got := script(t, s, "cat /var/lib/app/state; echo two >/var/lib/app/state"); got != "one" {
		t.Errorf("the second sandbox sees %q", got)
	}
	must(t, s.Close())

	// Stacked: a newer transaction sees what the older one captured, above a newer fork.
	write(t, c.live+"/lib/app/later", "later\n")
	over := c.capture(t, "/var-2", c.live)
	over.Path = "/var"
	over.Lower = append([]string{c.tree.Upper}, over.Lower...)
	s = open(t, Config{Root: c.root, Shared: []Shared{over}})
	if got := script(t, s, "cat /var/lib/app/state /var/lib/app/later; echo three >/var/lib/app/state"); got != "two\nlater" {
		t.Errorf("the stacked sandbox sees %q", got)
	}
	must(t, s.Close())
	if got := read(t, c.tree.Upper+"/lib/app/state"); got != "two\n" {
		t.Errorf("the older capture changed to %q", got)
	}
}

func TestTreesInTrees(t *testing.T) {
	c := newCaptured(t)
	inner, data := filepath.Join(c.top, "inner"), filepath.Join(c.top, "data")
	for _, dir := range []string{inner, data} {
		testbed.Run(t, "btrfs", "-q", "subvolume", "create", dir)
	}
	write(t, inner+"/deep/file", "inner\n")
	write(t, data+"/file", "data\n")
	must(t, os.Mkdir(data+"/www", 0o755))
	write(t, c.live+"/lib/foo/covered", "x")
	c.tree = c.capture(t, "/var-3", c.live)
	c.tree.Path = "/var"
	s := open(t, Config{Root: c.root, Shared: []Shared{
		{Path: "/opt/www", Bind: "/srv/www"},
		{Path: "/opt/read-only", Bind: "/srv", ReadOnly: true},
		{Path: "/srv", Lower: []string{data}}, // its directory is not in the snapshot
		{Path: "/srv/www", Bind: "/var/lib/app"},
		c.capture(t, "/var/lib/foo", inner),
		c.tree,
	}})
	if got := script(t, s, `cat /var/lib/foo/deep/file /srv/file /opt/read-only/file; [ ! -e /var/lib/foo/covered ]
		echo x >/var/lib/foo/deep/new; echo www >/opt/www/index; cat /var/lib/app/index`); got != "inner\ndata\ndata\nwww" {
		t.Errorf("it shows %q", got)
	}
	for _, file := range []string{"/srv/new", "/opt/read-only/new"} {
		if o := try(t, s, Command{Argv: []string{"sh", "-c", "echo x >" + file}}); !strings.Contains(o.err, "ead-only") {
			t.Errorf("writing %s: status %d, %s", file, o.exit.Status, o.err)
		}
	}
	must(t, s.Close())
	for _, file := range []string{"/var+lib+foo.capture/upper/deep/new", "/var-3.capture/upper/lib/app/index"} {
		if _, err := os.Lstat(c.top + file); err != nil {
			t.Error(err)
		}
	}
	if got, err := os.ReadDir(c.top + "/var-3.capture/upper/lib"); err != nil || len(got) != 1 {
		t.Errorf("the outer capture holds %v, %v", got, err)
	}
}

func TestManyLayersWithOddNames(t *testing.T) {
	c := newCaptured(t)
	odd := filepath.Join(c.top, "a,b:c\\d=e lowerdir+ \n\"'"+strings.Repeat("ö", 60))
	must(t, os.Mkdir(odd, 0o755))
	// More than fit into one option.
	const layers = 40
	var lower []string
	for i := range layers {
		dir := filepath.Join(odd, strconv.Itoa(i))
		write(t, fmt.Sprintf("%s/of-%d", dir, i), "")
		write(t, dir+"/top", strconv.Itoa(i))
		lower = append(lower, dir)
	}
	for _, part := range []string{"upper", "work"} {
		must(t, os.Mkdir(filepath.Join(odd, part), 0o755))
	}
	s := open(t, Config{Root: c.root, Shared: []Shared{{Path: "/var", Lower: lower, Upper: odd + "/upper", Work: odd + "/work"}}})
	got := strings.Fields(script(t, s, "cd /var; echo x >new; echo of-*; cat top"))
	if len(got) != layers+1 || got[layers] != "0" {
		t.Errorf("it shows %v", got)
	}
}

func TestCacheOnASharedTreeIsBoundThrough(t *testing.T) {
	c := newCaptured(t)
	host := filepath.Join(c.top, "host")
	write(t, host+"/var/cache/apt/a.deb", "package")
	s := open(t, Config{Root: c.root, Host: host, Caches: []string{"/var/cache/apt"}, Shared: []Shared{c.tree}})
	script(t, s, "[ -e /var/cache/apt/a.deb ]; echo x >/var/cache/apt/b.deb")
	must(t, s.Close())
	if read(t, host+"/var/cache/apt/b.deb") != "x\n" {
		t.Error("the download is lost")
	}
	if got, err := os.ReadDir(c.tree.Upper); err != nil || len(got) != 0 {
		t.Errorf("captured is %v, %v", got, err)
	}
}

func TestLowerDirectoryIsMovedByCopying(t *testing.T) {
	c := newCaptured(t)
	s := open(t, Config{Root: c.root, Shared: []Shared{c.tree}})
	inside := fmt.Sprintf("/proc/%d/root/var/lib/", s.init.Pid)
	if err := unix.Rename(inside+"app", inside+"moved"); err != unix.EXDEV {
		t.Errorf("renaming it says %v", err)
	}
	// So mv copies, as everybody who renames a directory has to.
	if got := script(t, s, "mv /var/lib/app /var/lib/moved; cat /var/lib/moved/state; [ ! -e /var/lib/app ]"); got != "live" {
		t.Errorf("the moved directory holds %q", got)
	}
	must(t, s.Close())
	if names := attributeNames(t, c.tree.Upper+"/lib/moved"); slices.Contains(names, "trusted.overlay.redirect") {
		t.Errorf("it has the attributes %v", names)
	}
}

// attributeNames lists the extended attributes of a file.
func attributeNames(t *testing.T, file string) []string {
	t.Helper()
	buffer := make([]byte, 4096)
	n, err := unix.Llistxattr(file, buffer)
	must(t, err)
	return strings.Split(strings.TrimSuffix(string(buffer[:n]), "\x00"), "\x00")
}

func TestNothingIsFlushedOnASharedTree(t *testing.T) {
	c := newCaptured(t)
	// Within one btrfs the kernel shares the content; from another file system it copies and flushes, unless it is told not to.
	other := filepath.Join(t.TempDir(), "ext4")
	testbed.Ext4(t, other, 64)
	for i := range 10 {
		write(t, fmt.Sprintf("%s/f%d", other, i), strings.Repeat("x", 100_000))
	}
	device := testbed.Device(t, c.top)
	testbed.Run(t, "sync", "-f", c.top)
	c.tree.Lower = []string{other}
	s := open(t, Config{Root: c.root, Shared: []Shared{c.tree}})
	before := flushes(t, device)
	script(t, s, "for i in 0 1 2 3 4 5 6 7 8 9; do chmod 600 /var/f$i; dd if=/dev/zero of=/var/g$i count=1 conv=fsync status=none; done")
	if got := flushes(t, device) - before; got > 2 { // a commit by time may come between
		t.Errorf("%d flushes", got)
	}
	must(t, s.Close())
}

func TestReadOnlySandboxForgetsSharedTrees(t *testing.T) {
	c := newCaptured(t)
	s := open(t, Config{Root: c.root, Shared: []Shared{c.tree}})
	script(t, s, "echo captured >/var/lib/app/state")
	must(t, s.Close())
	before := tree2text(t, c.tree.Upper)
	s = open(t, Config{Root: c.root, ReadOnly: true, Shared: []Shared{c.tree}})
	if got := script(t, s, "cat /var/lib/app/state; echo forgotten >/var/lib/app/state; cat /var/lib/app/state; stat -c %a /var"); got != "captured\nforgotten\n751" {
		t.Errorf("it sees %q", got)
	}
	must(t, s.Close())
	if after := tree2text(t, c.tree.Upper); after != before {
		t.Errorf("the capture changed:\n%s", after)
	}
}

func TestSharedTreesGoWithTheSandbox(t *testing.T) {
	c := newCaptured(t)
	before := mountsOf(t, c.top)
	s := open(t, Config{Root: c.root, Shared: []Shared{c.tree}})
	leaveDaemons(t, s)
	script(t, s, "(exec 3>/var/lib/app/held; sleep 1000) >/dev/null 2>&1 </dev/null & while ! [ -e /var/lib/app/held ]; do sleep 0.01; done")
	if got := mountsOf(t, c.top); got != before {
		t.Errorf("the shared trees show in the running system:\n%s", got)
	}
	must(t, s.Close())
	device := testbed.Device(t, c.top)
	must(t, unix.Unmount(c.top, 0))
	released(t, device)
}

func TestSharedTreesGoWithTheDaemon(t *testing.T) {
	c := newCaptured(t)
	device := testbed.Device(t, c.top)
	daemon := exec.Command("/proc/self/exe", append([]string{holderArgument, c.root}, c.tree.Lower[0], c.tree.Upper, c.tree.Work)...)
	daemon.Stderr = os.Stderr
	out, err := daemon.StdoutPipe()
	must(t, err)
	must(t, daemon.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	init, err := strconv.Atoi(strings.TrimSpace(line))
	must(t, err)
	pidfd, err := unix.PidfdOpen(init, 0)
	must(t, err)
	defer unix.Close(pidfd)
	must(t, daemon.Process.Kill())
	_ = daemon.Wait()
	_, err = retry(func() (int, error) {
		return unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 60_000)
	})
	must(t, err)
	must(t, unix.Unmount(c.top, 0))
	released(t, device)
}

func TestSharedTreeIsRefused(t *testing.T) {
	c := newCaptured(t)
	for name, test := range map[string]struct {
		shared []Shared
		want   string
	}{
		"the root":        {[]Shared{{Path: "/", Lower: []string{"/x"}}}, "the root cannot be one"},
		"homes":           {[]Shared{{Path: "/home/me", Lower: []string{"/x"}}}, "the sandbox has its own"},
		"relative":        {[]Shared{{Path: "var", Lower: []string{"/x"}}}, `"var" is not a clean absolute path`},
		"relative layer":  {[]Shared{{Path: "/var", Lower: []string{"x"}}}, `"x" is not a clean absolute path`},
		"nothing":         {[]Shared{{Path: "/var"}}, "needs either layers or a path"},
		"both":            {[]Shared{{Path: "/var", Lower: []string{"/x"}, Bind: "/y"}}, "needs either layers or a path"},
		"no work":         {[]Shared{{Path: "/var", Lower: []string{"/x"}, Upper: "/y"}}, "needs both"},
		"twice":           {[]Shared{c.tree, c.tree}, "given twice"},
		"itself":          {[]Shared{{Path: "/var", Bind: "/var/lib"}}, "cannot show"},
		"layer missing":   {[]Shared{{Path: "/var", Lower: []string{"/no/such/layer"}}}, "cannot open /no/such/layer: no such file"},
		"layer is a link": {[]Shared{{Path: "/var", Lower: []string{c.root + "/bin"}}}, "cannot open " + c.root + "/bin"},
		"bind missing":    {[]Shared{{Path: "/var", Bind: "/no/such"}}, "cannot show the shared tree /var: cannot open /no/such"},
		"not for layers":  {[]Shared{{Path: "/var", Lower: c.tree.Lower, Upper: "/proc/sys", Work: c.tree.Work}}, "cannot show the shared tree /var"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Start(t.Context(), Config{Root: c.root, Shared: test.shared})
			if s != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, %v; want an error with %q", s, err, test.want)
			}
		})
	}
}

func TestSharedTreesAreMountedInOrder(t *testing.T) {
	paths := func(list []Shared) (p []string) {
		for _, s := range list {
			p = append(p, s.Path)
		}
		return p
	}
	got := paths(inOrder([]Shared{
		{Path: "/a/b/c"}, {Path: "/a/b", Bind: "/z/deep"}, {Path: "/z/deep/er"}, {Path: "/z"}, {Path: "/a"}, {Path: "/y", Bind: "/a/b"},
	}))
	if want := []string{"/a", "/z", "/a/b", "/a/b/c", "/y", "/z/deep/er"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
	// What shows each other has no order; it still ends.
	got = paths(inOrder([]Shared{{Path: "/b", Bind: "/a/x"}, {Path: "/a", Bind: "/b/x"}}))
	if want := []string{"/a", "/b"}; !slices.Equal(got, want) {
		t.Errorf("the order of a circle is %v, want %v", got, want)
	}
}
