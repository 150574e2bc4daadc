package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestOnlyTheSandboxesOwnMountsAreVisible(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	var got []string
	for line := range strings.Lines(script(t, s, "cat /proc/self/mountinfo")) {
		got = append(got, strings.Fields(line)[4])
	}
	for _, want := range []string{"/", "/proc", "/proc/sys", "/sys", "/dev", "/dev/null", "/dev/pts", "/run", "/tmp", "/root", "/home"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not mounted", want)
		}
	}
	for _, point := range got {
		known := point == "/" || slices.Contains([]string{"proc", "sys", "dev", "run", "tmp", "root", "home"}, strings.Split(point, "/")[1])
		if !known || strings.HasPrefix(point, "/sys/") {
			t.Errorf("%s is mounted", point)
		}
	}
}

func TestDeviceNodesCannotBeOpened(t *testing.T) {
	root := smallRoot(t)
	s := open(t, Config{Root: root})
	if got := script(t, s, "ls -l /dev"); strings.Contains("\n"+got, "\nb") {
		t.Errorf("block devices in /dev:\n%s", got)
	}
	script(t, s, "echo x >/dev/null; head -c 1 /dev/zero /dev/urandom /dev/full /dev/random >/dev/null; [ -e /dev/tty ]")
	if got := script(t, s, "cd /dev; readlink fd stdin stdout stderr ptmx; stat -c %a shm; echo x >shm/file; cat fd/0 </dev/shm/file"); got !=
		"/proc/self/fd\nfd/0\nfd/1\nfd/2\npts/ptmx\n1777\nx" {
		t.Errorf("links and shm: %q", got)
	}
	for _, dir := range []string{"/dev", "/tmp", "/run", "/dev/shm", "/etc"} {
		o := try(t, s, Command{Argv: []string{"sh", "-c", "mknod disk b 7 0 && head -c 1 disk"}, Dir: dir})
		if o.exit.Status == 0 || !strings.Contains(o.err, "Permission denied") {
			t.Errorf("a disk made in %s was opened: status %d, %s", dir, o.exit.Status, o.err)
		}
	}
}

func TestRunningKernelIsNotWritable(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	for _, text := range []string{
		"echo x >/proc/sys/kernel/hostname", "echo h >/proc/sysrq-trigger", "touch /sys/x", "echo mem >/sys/power/state",
		"mkdir /sys/fs/cgroup/x", "echo 1 >/proc/irq/0/smp_affinity",
	} {
		o := try(t, s, Command{Argv: []string{"sh", "-c", text}})
		if o.exit.Status == 0 || !strings.Contains(o.err, "ead-only") && !strings.Contains(o.err, "onexistent") && !strings.Contains(o.err, "No such file") {
			t.Errorf("%s: status %d, %s", text, o.exit.Status, o.err)
		}
	}
	// sysrq-trigger, hostname and /sys are there on every kernel: the refusal is about writing.
	if o := try(t, s, Command{Argv: []string{"sh", "-c", "echo x >/proc/sys/kernel/hostname"}}); !strings.Contains(o.err, "ead-only") {
		t.Errorf("/proc/sys: %s", o.err)
	}
	if got := script(t, s, "for f in kcore keys timer_list; do [ ! -s /proc/$f ] || cat /proc/$f; done; ls /sys/fs/cgroup"); got != "" {
		t.Errorf("it shows %.100q", got)
	}
	if got, want := script(t, s, "uname -n"), strings.TrimSpace(read(t, "/proc/sys/kernel/hostname")); got != want {
		t.Errorf("host name %q, want %q", got, want)
	}
}

func TestPowerOverTheKernelIsWithheld(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	status := statusFields(script(t, s, "exec cat /proc/self/status"))
	var all uint64
	for _, c := range withheld {
		all |= 1 << c
	}
	const sysAdmin, chown, setfcap, mknod = 21, 0, 31, 27
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		got, err := strconv.ParseUint(status[set], 16, 64)
		must(t, err)
		if got&all != 0 {
			t.Errorf("%s holds %x of what is withheld", set, got&all)
		}
		if set == "CapEff" {
			for _, c := range []int{sysAdmin, chown, setfcap, mknod} {
				if got&(1<<c) == 0 {
					t.Errorf("capability %d, which scripts of packages need, is missing", c)
				}
			}
		}
	}
}

func TestSetuidProgramsWork(t *testing.T) {
	root := smallRoot(t)
	id := filepath.Join(root, "usr/bin/id")
	copyFile(t, id, filepath.Join(root, "usr/bin/id-setuid"), 0o755)
	must(t, os.Chmod(filepath.Join(root, "usr/bin/id-setuid"), 0o755|os.ModeSetuid))
	s := open(t, Config{Root: root})
	if got := script(t, s, "setpriv --reuid=65534 --clear-groups id -u; setpriv --reuid=65534 --clear-groups id-setuid -u"); got != "65534\n0" {
		t.Errorf("user ids: %q", got)
	}
}

func TestItDeclaresAContainer(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	got := script(t, s, "cat /run/systemd/container; cat /proc/1/environ; echo; [ ! -e /run/systemd/system ] && [ ! -e /run/.containerenv ]; cat /proc/1/cmdline")
	if got != "txupd\ncontainer=txupd\x00\ntxupd-sandbox\x00" {
		t.Errorf("it says %q", got)
	}
}

func TestHomesAndRuntimeAreHidden(t *testing.T) {
	root := smallRoot(t)
	for _, dir := range []string{"root", "home", "run", "tmp"} {
		write(t, filepath.Join(root, dir, "private"), "x")
	}
	s := open(t, Config{Root: root})
	if got := script(t, s, "ls -A /root /home /tmp; ls /run; touch /root/x /home/x /tmp/x /run/x; stat -c %a /root /home /tmp /run /run/lock"); got !=
		"/home:\n\n/root:\n.rpmmacros\n\n/tmp:\nlock\nsystemd\ntxupd\n700\n755\n1777\n755\n1777" {
		t.Errorf("they show %q", got)
	}
	must(t, s.Close())
	for _, dir := range []string{"root", "home", "run", "tmp"} {
		if got, err := os.ReadDir(filepath.Join(root, dir)); err != nil || len(got) != 1 {
			t.Errorf("/%s of the snapshot holds %v, %v", dir, got, err)
		}
	}
}

func TestChangesAreKept(t *testing.T) {
	root := smallRoot(t)
	s := open(t, Config{Root: root})
	script(t, s, "echo kept >/etc/new; rm /etc/group; mkdir /usr/share")
	must(t, s.Close())
	if read(t, filepath.Join(root, "etc/new")) != "kept\n" {
		t.Error("what was written is gone")
	}
	if _, err := os.Stat(filepath.Join(root, "etc/group")); !os.IsNotExist(err) {
		t.Error("what was removed is there")
	}
}

func TestReadOnlyForgetsChanges(t *testing.T) {
	// Commas and colons mean something to overlayfs.
	root := filepath.Join(t.TempDir(), "a,b:c")
	must(t, os.Rename(smallRoot(t), root))
	host := t.TempDir()
	write(t, filepath.Join(host, "var/cache/apt/file"), "cached")
	write(t, filepath.Join(root, "usr/sbin/invoke-rc.d"), "")
	before := tree2text(t, root)
	s := open(t, Config{Root: root, Host: host, ReadOnly: true, Caches: []string{"/var/cache/apt"}})
	script(t, s, "echo new >/etc/new; rm /etc/group; mv /usr/bin/tty /usr/bin/moved; echo x >>/etc/passwd; [ ! -e /etc/group ] && cat /etc/new /var/cache/apt/file")
	if o := try(t, s, Command{Argv: []string{"touch", "/var/cache/apt/x"}}); !strings.Contains(o.err, "Read-only") {
		t.Errorf("a cache was written: %+v", o)
	}
	if o := try(t, s, Command{Argv: []string{"sh", "-c", "mknod /etc/disk b 7 0 && head -c 1 /etc/disk"}}); !strings.Contains(o.err, "Permission denied") {
		t.Errorf("a device node was opened: %+v", o)
	}
	must(t, s.Close())
	if after := tree2text(t, root); after != before {
		t.Errorf("the snapshot changed:\n%s\nbefore:\n%s", after, before)
	}
}

// tree2text describes a tree, access times apart.
func tree2text(t *testing.T, root string) string {
	t.Helper()
	var text strings.Builder
	must(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + " " + strconv.FormatInt(info.Size(), 10) + "\n")
		return nil
	}))
	return text.String()
}

func TestAccessTimesDoNotChangeTheSnapshot(t *testing.T) {
	root := smallRoot(t)
	s := open(t, Config{Root: root})
	// Older than the content, so that relatime would renew it.
	got := script(t, s, "touch -a -d 2001-01-01 /etc/passwd; cat /etc/passwd >/dev/null; stat -c %x /etc/passwd")
	if !strings.HasPrefix(got, "2001-01-01") {
		t.Errorf("access time %s", got)
	}
}

func TestMountPointsNeverLeadOut(t *testing.T) {
	for _, point := range []string{"proc", "sys", "dev", "run", "tmp", "root", "home"} {
		t.Run(point, func(t *testing.T) {
			root, victim := smallRoot(t), t.TempDir()
			write(t, filepath.Join(root, "etc/evil/file"), "x")
			must(t, os.Remove(filepath.Join(root, point)))
			must(t, os.Symlink("../../../../../../../etc/evil", filepath.Join(root, point)))
			s := open(t, Config{Root: root})
			if got := script(t, s, "[ ! -e /etc/evil/file ] && readlink /"+point); got != "../../../../../../../etc/evil" {
				t.Errorf("/%s is %s", point, got)
			}
			must(t, s.Close())
			if got, err := os.ReadDir(filepath.Join(root, "etc/evil")); err != nil || len(got) != 1 {
				t.Errorf("the target in the snapshot holds %v, %v", got, err)
			}

			// A directory that only the running system has.
			must(t, os.Remove(filepath.Join(root, point)))
			must(t, os.Symlink("/../.."+victim, filepath.Join(root, point)))
			s, err := Start(t.Context(), Config{Root: root})
			if err == nil {
				must(t, s.Close())
				if point != "root" && point != "home" {
					t.Errorf("/%s was found", point)
				}
			} else if !strings.Contains(err.Error(), "cannot mount /"+point) {
				t.Errorf("the error is %v", err)
			}
			if got, err := os.ReadDir(victim); err != nil || len(got) != 0 {
				t.Errorf("the victim holds %v, %v", got, err)
			}
		})
	}
}

func TestCachesAreShared(t *testing.T) {
	root, host := smallRoot(t), t.TempDir()
	write(t, filepath.Join(host, "var/cache/apt/archives/a.deb"), "package")
	write(t, filepath.Join(host, "only/host/file"), "x")
	write(t, filepath.Join(host, "etc/shadow-of-host"), "x")
	write(t, filepath.Join(host, "real/lists/list"), "x")
	must(t, os.MkdirAll(filepath.Join(host, "var/lib/apt"), 0o755))
	must(t, os.Symlink("/real/lists", filepath.Join(host, "var/lib/apt/lists")))
	write(t, filepath.Join(root, "var/cache/apt/own"), "of the snapshot")
	write(t, filepath.Join(root, "only/snapshot/file"), "x")
	write(t, filepath.Join(host, "var/cache/led-out/file"), "x")
	must(t, os.Symlink("../../../../.."+host+"/etc", filepath.Join(root, "var/cache/led-out")))
	s := open(t, Config{Root: root, Host: host, Caches: []string{
		"/var/cache/apt", "/var/lib/apt/lists", "/only/host", "/only/snapshot", "/no/where", "/var/cache/led-out",
	}})
	script(t, s, `cat /var/cache/apt/archives/a.deb && [ ! -e /var/cache/apt/own ] && echo new >/var/cache/apt/archives/b.deb
		[ -e /var/lib/apt/lists/list ] && [ -e /only/host/file ] && [ -e /only/snapshot/file ] && [ ! -e /no/where ]
		[ ! -e /var/cache/led-out/shadow-of-host ]`)
	must(t, s.Close())
	if read(t, filepath.Join(host, "var/cache/apt/archives/b.deb")) != "new\n" {
		t.Error("the download is lost")
	}
	if got, err := os.ReadDir(filepath.Join(root, "var/cache/apt")); err != nil || len(got) != 1 {
		t.Errorf("the snapshot's own holds %v, %v", got, err)
	}
	if got, err := os.ReadDir(filepath.Join(root, "only/host")); err != nil || len(got) != 0 {
		t.Errorf("what the snapshot lacked holds %v, %v", got, err)
	}
	for _, path := range []string{"no", "var/cache/apt/archives"} {
		if _, err := os.Lstat(filepath.Join(root, path)); !os.IsNotExist(err) {
			t.Errorf("%s was made in the snapshot", path)
		}
	}
}

func TestShimsReplaceBootLoaderPrograms(t *testing.T) {
	root := smallRoot(t)
	write(t, filepath.Join(root, "usr/sbin/update-grub"), "#!/bin/sh\necho the real one >&2; exit 1\n")
	must(t, os.Chmod(filepath.Join(root, "usr/sbin/update-grub"), 0o755))
	s := open(t, Config{Root: root})
	for _, name := range shimmed {
		o := try(t, s, Command{Argv: []string{name, "--target", "a b"}})
		if o.exit.Status != 0 || o.err != "txupd: "+name+" not run in a transaction\n" || o.out != "" {
			t.Errorf("%s: %+v", name, o)
		}
	}
	// Scripts of packages run as other users too.
	script(t, s, "setpriv --reuid=65534 --clear-groups update-grub; grub-install /dev/sda")
	log := script(t, s, "cat /run/txupd/shims.log")
	if !strings.Contains(log, "bootctl --target a b\n") || !strings.HasSuffix(log, "\nupdate-grub \ngrub-install /dev/sda") {
		t.Errorf("the log is %q", log)
	}
}
