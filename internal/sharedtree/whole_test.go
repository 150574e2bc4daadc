// The way of a write: from a command in a sandbox to the live tree.

package sharedtree

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/handover"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

func TestMain(m *testing.M) {
	if sandbox.IsInit() {
		os.Exit(sandbox.Init())
	}
	os.Exit(m.Run())
}

var libraryLine = regexp.MustCompile(`(/\S+) \(0x`)

// program copies a program of this machine and its libraries into a root.
func program(t testing.TB, root, name string) {
	t.Helper()
	file, err := exec.LookPath(name)
	must(t, err)
	libraries := libraryLine.FindAllStringSubmatch(testbed.Run(t, "ldd", file), -1)
	for _, m := range append(libraries, []string{"", file}) {
		to := filepath.Join(root, m[1])
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		testbed.Run(t, "cp", "-L", m[1], to)
	}
}

// system is a layout with /var and what is mounted in it.
type system struct {
	root, top string
	from      string // the root to start from; the running one where empty
	driver    btrfs.Driver
}

func newSystem(t testing.TB) system {
	t.Helper()
	root := testbed.Layout(t, "flat")
	s := system{root: root, top: filepath.Join(filepath.Dir(root), "top")}
	must(t, os.RemoveAll(root+"/bin"))
	for _, link := range []string{"bin", "lib", "lib64", "sbin"} {
		must(t, os.MkdirAll(filepath.Join(root, "usr", link), 0o755))
		must(t, os.Symlink("usr/"+link, filepath.Join(root, link)))
	}
	for _, name := range []string{"sh", "rm", "mkdir", "cat"} {
		program(t, root, name)
	}
	must(t, os.RemoveAll(root+"/var"))
	for at, subvolume := range map[string]string{"/var": "@var", "/var/lib/data": "@data"} {
		_ = at
		testbed.Run(t, "btrfs", "-q", "subvolume", "create", filepath.Join(s.top, subvolume))
	}
	for _, dir := range []string{"@var/lib/data", "@var/cache"} {
		must(t, os.MkdirAll(filepath.Join(s.top, dir), 0o755))
	}
	s.boot(t)
	testbed.Ext4(t, root+"/srv", 64)
	must(t, os.Remove(root+"/srv/lost+found"))
	return s
}

// boot mounts what a boot would.
func (s system) boot(t testing.TB) {
	t.Helper()
	device := testbed.Device(t, s.root)
	testbed.Mount(t, device, s.root+"/var", "subvol=@var")
	testbed.Mount(t, device, s.root+"/var/lib/data", "subvol=@data")
	must(t, os.MkdirAll(s.root+"/opt/app", 0o755))
	must(t, os.MkdirAll(s.root+"/var/lib/app", 0o755))
	must(t, unix.Mount(s.root+"/var/lib/app", s.root+"/opt/app", "", unix.MS_BIND, ""))
}

func (s system) dirOf(n snapshot.Number) string {
	return filepath.Join(s.root, ".snapshots", strconv.FormatUint(uint64(n), 10))
}

// transact runs a script as transaction n, stacked on others.
func (s system) transact(t testing.TB, n snapshot.Number, over []snapshot.Number, script string) []Capture {
	t.Helper()
	must(t, os.MkdirAll(s.dirOf(n), 0o755))
	trees, _, err := Find(s.root, Options{})
	must(t, err)
	from := s.root
	if s.from != "" {
		from = s.from
	}
	if len(over) > 0 {
		from = s.dirOf(over[0]) + "/snapshot"
	}
	must(t, s.driver.Fork(from, s.dirOf(n)+"/snapshot", false))
	var list []Capture
	cfg := sandbox.Config{Root: s.dirOf(n) + "/snapshot", Host: s.root}
	for _, tree := range trees {
		if tree.Bind != "" {
			cfg.Shared = append(cfg.Shared, sandbox.Shared{Path: tree.Path, Bind: tree.Bind, ReadOnly: tree.ReadOnly})
			continue
		}
		c, err := Prepare(s.driver, s.dirOf(n), tree, over, s.dirOf)
		must(t, err)
		list = append(list, c)
		cfg.Shared = append(cfg.Shared, sandbox.Shared{Path: tree.Path, Lower: c.Lower(s.dirOf, tree.Dir), Upper: c.Upper(), Work: c.Work()})
	}
	box, err := sandbox.Start(context.Background(), cfg)
	must(t, err)
	defer box.Close()
	p, err := box.Start(context.Background(), sandbox.Command{Argv: []string{"sh", "-e", "-c", script}, Stderr: os.Stderr})
	must(t, err)
	if exit, err := p.Wait(); err != nil || exit.Status != 0 {
		t.Fatalf("%s\nended with %+v, %v", script, exit, err)
	}
	must(t, box.Close())
	for i := range list {
		s.seal(t, &list[i])
	}
	return list
}

func (s system) request(n snapshot.Number, c *Capture) handover.Request {
	r := handover.Request{Live: filepath.Join(s.root, c.Tree)}
	r.Capture = handover.Capture{Number: uint64(n), Tree: c.Tree, Upper: c.Upper(), Before: c.Lower(s.dirOf, r.Live)}
	if !c.Forked {
		r.Manifest = c.Manifest()
	}
	return r
}

func (s system) seal(t testing.TB, c *Capture) {
	t.Helper()
	if !c.Forked {
		now, err := Now()
		must(t, err)
		must(t, handover.Witness(t.Context(), s.request(0, c).Capture, c.Begun.Trusted(now), c.Manifest()))
	}
	must(t, c.Seal(s.driver))
}

func (s system) give(t testing.TB, n snapshot.Number) string {
	t.Helper()
	trees, _, err := Find(s.root, Options{})
	must(t, err)
	list, err := Load(s.dirOf(n))
	must(t, err)
	var said strings.Builder
	for _, c := range list {
		live, err := c.At(trees)
		must(t, err)
		r := s.request(n, &c)
		if r.Live != live.Dir {
			t.Errorf("%s is mounted at %s", c.Tree, live.Dir)
		}
		rows, err := handover.Give(t.Context(), r)
		must(t, err)
		for _, row := range rows {
			said.WriteString(row.Path + " " + string(row.Decision) + "\n")
		}
	}
	return said.String()
}

func TestWritesReachTheLiveTrees(t *testing.T) {
	s := newSystem(t)
	write(t, s.root+"/var/lib/app/state", "before")
	write(t, s.root+"/var/lib/data/f", "before")
	write(t, s.root+"/srv/f", "before")
	s.transact(t, 1, nil, `
		[ "$(cat /var/lib/app/state /var/lib/data/f /srv/f /opt/app/state)" = beforebeforebeforebefore ]
		echo one >/var/lib/app/new; echo one >/opt/app/bound; rm /var/lib/data/f; echo one >/srv/new; echo one >/usr/share/one; mkdir -p /var/lib/other`)
	write(t, s.root+"/var/lib/app/live", "live")
	s.transact(t, 2, []snapshot.Number{1}, `
		[ "$(cat /var/lib/app/live /usr/share/one /opt/app/new /srv/new)" = "liveone
one
one" ]
		[ ! -e /var/lib/data/f ]
		echo two >>/var/lib/app/new; echo two >/srv/new; rm -r /var/lib/other; echo two >/var/lib/data/f`)
	for _, file := range []string{"/var/lib/app/new", "/srv/new", "/var/lib/app/bound", "/var/lib/other"} {
		if _, err := os.Lstat(s.root + file); err == nil {
			t.Errorf("%s is there already", file)
		}
	}
	if said, want := s.give(t, 1), `/srv/new created
/var/lib/app/bound created
/var/lib/app/new created
/var/lib/other created
/var/lib/data/f removed
`; said != want {
		t.Errorf("the first hand-over says\n%s", said)
	}
	if said, want := s.give(t, 2), `/srv/new replaced
/var/lib/app/new replaced
/var/lib/other removed
/var/lib/data/f created
`; said != want {
		t.Errorf("the second hand-over says\n%s", said)
	}
	for file, want := range map[string]string{
		"/var/lib/app/new": "one\ntwo\n", "/var/lib/app/bound": "one\n", "/srv/new": "two\n", "/var/lib/data/f": "two\n", "/var/lib/app/live": "live", "/srv/f": "before",
	} {
		if got := read(t, s.root+file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
}

func TestDiscardedTransactionLeavesNoTrace(t *testing.T) {
	s := newSystem(t)
	write(t, s.root+"/var/lib/app/state", "before")
	list := s.transact(t, 1, nil, "echo x >/var/lib/app/state; rm -r /var/cache; echo x >/srv/x")
	for _, c := range list {
		must(t, c.Remove(s.driver))
	}
	if got := read(t, s.root+"/var/lib/app/state"); got != "before" {
		t.Errorf("the live file is %q", got)
	}
	for _, dir := range []string{"/capture", "/shared"} {
		if left, err := os.ReadDir(s.dirOf(1) + dir); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
	if out := testbed.Run(t, "btrfs", "subvolume", "list", s.top); strings.Contains(out, "capture") || strings.Contains(out, "shared") {
		t.Errorf("subvolumes:\n%s", out)
	}
}
