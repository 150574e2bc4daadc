package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNamesAreResolvedAsInTheRunningSystem(t *testing.T) {
	const hosts, own = "nameserver 192.0.2.1\n", "nameserver 192.0.2.2\n"
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, root string)
		want    string
	}{
		{"link into run", func(t *testing.T, root string) {
			link(t, "../run/systemd/resolve/stub-resolv.conf", root, resolverPath)
		}, hosts},
		{"absolute link", func(t *testing.T, root string) { link(t, "/run/resolv.conf", root, resolverPath) }, hosts},
		{"through var/run", func(t *testing.T, root string) {
			link(t, "/run", root, "/var/run")
			link(t, "/var/run/NetworkManager/resolv.conf", root, resolverPath)
		}, hosts},
		{"chain", func(t *testing.T, root string) {
			must(t, os.Mkdir(filepath.Join(root, "etc/resolvconf"), 0o755))
			link(t, "../../run/resolvconf", root, "/etc/resolvconf/run")
			link(t, "resolvconf/run/resolv.conf", root, resolverPath)
		}, hosts},
		{"another file", func(t *testing.T, root string) { write(t, root+resolverPath, own) }, hosts},
		{"link to another file", func(t *testing.T, root string) {
			write(t, root+"/etc/static", own)
			link(t, "static", root, resolverPath)
		}, hosts},
		{"the same file", func(t *testing.T, root string) { write(t, root+resolverPath, hosts) }, hosts},
		{"absent", func(*testing.T, string) {}, ""},
		{"loop", func(t *testing.T, root string) { link(t, "resolv.conf", root, resolverPath) }, ""},
		{"leads out", func(t *testing.T, root string) {
			link(t, "../../../../../../../../etc/hosts-of-nobody", root, resolverPath)
		}, ""},
		{"named pipe", func(t *testing.T, root string) { must(t, unix.Mkfifo(root+resolverPath, 0o644)) }, "pipe"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, host := smallRoot(t), t.TempDir()
			write(t, host+"/run/systemd/resolv.conf", hosts)
			must(t, os.Mkdir(host+"/etc", 0o755))
			link(t, "../run/systemd/resolv.conf", host, resolverPath)
			test.prepare(t, root)
			before := tree2text(t, root)
			s := open(t, Config{Root: root, Host: host})
			got := script(t, s, "if [ -p /etc/resolv.conf ]; then echo pipe; elif [ -e /etc/resolv.conf ]; then cat /etc/resolv.conf; fi")
			if got != strings.TrimSpace(test.want) {
				t.Errorf("it reads %q, want %q", got, test.want)
			}
			mounted := strings.Contains(script(t, s, "cat /proc/self/mountinfo"), " /etc/")
			if want := strings.HasSuffix(test.name, "another file"); mounted != want {
				t.Errorf("mounted over: %v, want %v", mounted, want)
			}
			must(t, s.Close())
			if after := tree2text(t, root); after != before {
				t.Errorf("the snapshot changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

func link(t *testing.T, target, root, name string) {
	t.Helper()
	must(t, os.Symlink(target, filepath.Join(root, name)))
}

func TestResolverFallsBackToOurOwn(t *testing.T) {
	ours, err := os.ReadFile(resolverPath)
	if err != nil {
		t.Skipf("this machine has no %s", resolverPath)
	}
	root, host := smallRoot(t), t.TempDir()
	// A served system that does not run: its link goes into a /run that is not mounted.
	must(t, os.Mkdir(host+"/etc", 0o755))
	link(t, "../run/systemd/resolve/stub-resolv.conf", host, resolverPath)
	link(t, "../run/systemd/resolve/stub-resolv.conf", root, resolverPath)
	s := open(t, Config{Root: root, Host: host})
	if got := script(t, s, "cat /etc/resolv.conf"); got != strings.TrimSpace(string(ours)) {
		t.Errorf("it reads %q", got)
	}
}
