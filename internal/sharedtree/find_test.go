package sharedtree

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, file, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(content), 0o644))
}

func read(t testing.TB, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	must(t, err)
	return string(content)
}

// tell writes trees as "path type [fork] [ro] [= bind]".
func tell(trees []Tree) []string {
	var lines []string
	for _, t := range trees {
		line := t.Path + " " + t.Type
		if t.Subvolume {
			line += " fork"
		}
		if t.ReadOnly {
			line += " ro"
		}
		if t.Bind != "" {
			line += " = " + t.Bind
		}
		lines = append(lines, line)
	}
	return lines
}

func found(t *testing.T, root string, o Options) ([]string, []string) {
	t.Helper()
	trees, hidden, err := Find(root, o)
	must(t, err)
	var reasons []string
	for _, h := range hidden {
		reasons = append(reasons, h.Path+": "+h.Reason)
	}
	for _, tree := range trees {
		if tree.Dir != filepath.Join(root, tree.Path) {
			t.Errorf("%s is said to be mounted at %s", tree.Path, tree.Dir)
		}
		if len(tree.UUID) != 36 {
			t.Errorf("the file system of %s is said to be %q", tree.Path, tree.UUID)
		}
	}
	return tell(trees), reasons
}

func TestFindInEveryLayout(t *testing.T) {
	for layout, want := range map[string][]string{
		"opensuse":    {"/srv btrfs fork", "/var/cache btrfs fork", "/var/log btrfs fork", "/var/tmp btrfs fork"},
		"opensuse-ro": {"/srv btrfs fork", "/var/cache btrfs fork", "/var/log btrfs fork", "/var/tmp btrfs fork"},
		"flat":        nil,
		"fedora":      nil,
		"debian":      nil,
	} {
		t.Run(layout, func(t *testing.T) {
			trees, hidden := found(t, testbed.Layout(t, layout), Options{Own: []string{"/etc"}})
			if diff := cmp.Diff(want, trees); diff != "" || hidden != nil {
				t.Errorf("trees (- want, + got):\n%s\nhidden: %v", diff, hidden)
			}
		})
	}
}

func TestFindAllKindsOfMounts(t *testing.T) {
	root := testbed.Layout(t, "flat")
	top := filepath.Join(filepath.Dir(root), "top")
	device := testbed.Device(t, top)
	mount := func(at, subvolume string) {
		t.Helper()
		testbed.Run(t, "mkdir", "-p", filepath.Join(root, at))
		if _, err := os.Lstat(filepath.Join(top, subvolume)); err != nil {
			testbed.Run(t, "btrfs", "-q", "subvolume", "create", filepath.Join(top, subvolume))
		}
		testbed.Mount(t, device, filepath.Join(root, at), "subvol="+subvolume)
	}
	tmpfs := func(at string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Join(root, at), 0o755))
		must(t, unix.Mount("tmpfs", filepath.Join(root, at), "tmpfs", 0, ""))
	}
	bind := func(from, at string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Join(root, from), 0o755))
		must(t, os.MkdirAll(filepath.Join(root, at), 0o755))
		must(t, unix.Mount(filepath.Join(root, from), filepath.Join(root, at), "", unix.MS_BIND, ""))
	}
	mount("/var", "@var")
	mount("/var/lib/foo", "@foo")                      // in another one
	mount("/boot/grub2", "@grub")                      // never
	mount("/var/lib/machines/x/.snapshots", "@others") // never
	mount("/opt/.snapshots/y", "@more")                // never
	mount("/mnt/stick", "@stick")                      // not shown
	mount("/root", "@roothome")                        // not shown
	mount("/odd \n\\name", "@odd")                     // escaped in the table
	mount("/variant", "@variant")                      // not in /var
	mount("/etc", "@etc")                              // part of the root by layout
	mount("/usr/local", "@local")                      // read-only
	must(t, unix.Mount("", root+"/usr/local", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	mount("/srv/www", "@var")        // the same subvolume again
	bind("/var/lib/app", "/srv/app") // a part of a tree
	bind("/usr/share", "/srv/share") // a part of the root
	bind("/home/me", "/srv/me")      // a part of what is not shown: a tree of its own, which cannot be forked
	tmpfs("/var/run")                // in memory
	tmpfs("/run")
	mount("/covered", "@covered")
	tmpfs("/covered") // and something over it
	mount("/a/b/c", "@hidden")
	mount("/a/b", "@over") // what was below is not seen any more
	testbed.Ext4(t, root+"/data", 64)
	other := testbed.Loop(t, 256) // another btrfs: no fork of it can be kept
	testbed.Mount(t, testbed.Device(t, other), root+"/far", "")
	testbed.Run(t, "touch", root+"/etc/file")
	must(t, unix.Mount(root+"/usr/bin/hello", root+"/etc/file", "", unix.MS_BIND, ""))

	want := []string{
		"/a/b btrfs fork",
		"/data ext4",
		"/far btrfs",
		"/odd \n\\name btrfs fork",
		"/srv/app btrfs = /var/lib/app",
		"/srv/me btrfs",
		"/srv/share btrfs = /usr/share",
		"/srv/www btrfs = /var",
		"/usr/local btrfs fork ro",
		"/var btrfs fork",
		"/var/lib/foo btrfs fork",
		"/variant btrfs fork",
	}
	trees, hidden := found(t, root, Options{Own: []string{"/etc"}})
	if diff := cmp.Diff(want, trees); diff != "" {
		t.Errorf("trees (- want, + got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/mnt/stick: what is mounted for a while is nothing that packages work with"}, hidden); diff != "" {
		t.Errorf("hidden (- want, + got):\n%s", diff)
	}
	if trees, _ := found(t, root, Options{}); !strings.Contains(strings.Join(trees, "\n"), "/etc btrfs fork") {
		t.Errorf("without being told, /etc is taken for a part of the root: %q", trees)
	}
}

func TestNetworkAndOthersAreHidden(t *testing.T) {
	for _, test := range []struct {
		path, kind string
		shown      bool
		reason     string
	}{
		{"/var", "btrfs", true, ""}, {"/srv", "xfs", true, ""}, {"/opt", "ext4", true, ""}, {"/snap/x", "squashfs", true, ""},
		{"/srv", "nfs4", false, "network"}, {"/srv", "cifs", false, "network"}, {"/srv", "9p", false, "network"},
		{"/srv", "fuse.sshfs", false, "user space"}, {"/srv", "fuseblk", false, "overlayfs cannot"}, {"/srv", "vfat", false, "overlayfs cannot"},
		{"/srv", "autofs", false, "mounted when it is used"}, {"/media/x", "ext4", false, "for a while"}, {"/mnt", "ext4", false, "for a while"},
		{"/var/lib/lxcfs", "fuse.lxcfs", false, ""}, {"/var/lib/docker/overlay2/x/merged", "overlay", false, ""}, {"/var/run", "tmpfs", false, ""},
		{"/var/lib/nfs/rpc_pipefs", "rpc_pipefs", false, ""}, {"/var/x", "nsfs", false, ""}, {"/mntx", "ext4", true, ""},
	} {
		reason, shown := kindOf(test.path, test.kind)
		if shown != test.shown || !strings.Contains(reason, test.reason) || (reason == "") != (test.reason == "") {
			t.Errorf("%s on %s: shown %v, %q", test.kind, test.path, shown, reason)
		}
	}
}

func TestOnlyWhatCanBeSeenCounts(t *testing.T) {
	table := []*mountinfo.Info{
		{ID: 20, Parent: 20, Mountpoint: "/"},
		{ID: 1, Parent: 20, Mountpoint: "/"}, // over it
		{ID: 2, Parent: 1, Mountpoint: "/var"},
		{ID: 3, Parent: 2, Mountpoint: "/var/lib"},
		{ID: 4, Parent: 2, Mountpoint: "/var"}, // covers 2 and 3
		{ID: 5, Parent: 4, Mountpoint: "/var/log"},
		{ID: 6, Parent: 1, Mountpoint: "/srv/www"}, // covered by 7, which is mounted above
		{ID: 7, Parent: 1, Mountpoint: "/srv"},
		{ID: 8, Parent: 20, Mountpoint: "/below"}, // the root covers it
		{ID: 9, Parent: 99, Mountpoint: "/elsewhere"},
	}
	var got []string
	for _, m := range visible(table) {
		got = append(got, fmt.Sprint(m.ID, m.Mountpoint))
	}
	if diff := cmp.Diff([]string{"1/", "9/elsewhere", "7/srv", "4/var", "5/var/log"}, got); diff != "" {
		t.Errorf("visible (- want, + got):\n%s", diff)
	}
}

func TestFindSaysWhatItCannotFind(t *testing.T) {
	if _, _, err := Find("/no/such/root", Options{}); err == nil || !strings.Contains(err.Error(), "cannot find the shared trees of /no/such/root: cannot open /no/such/root") {
		t.Errorf("the error is %v", err)
	}
}
