//go:build machine

// What is edited on the running system meanwhile is there after the reboot,
// together with a package that brings users and data, however the reboot came.

package machine

import (
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed/machine"
)

func TestADatabaseAndEditsOfTheRunningSystem(t *testing.T) {
	edited(t, func(s *system) { s.reboot() })
}

func TestADatabaseAndEditsBeforeAPowerCut(t *testing.T) {
	edited(t, func(s *system) {
		// What was written has to be on the disk for it to survive at all.
		s.must("sync")
		s.vm.Cut()
		s.powerOn()
	})
}

// share puts directories on subvolumes of their own, which all snapshots see.
func (s *system) share(dirs ...string) {
	s.t.Helper()
	for _, dir := range dirs {
		s.must("sh", "-ec", `disk=$(findmnt --noheadings --output SOURCE --nofsroot /)
name=@$(basename "$1")
mount -o subvolid=5 "$disk" /mnt
btrfs subvolume create "/mnt/$name"
umount /mnt
mkdir -p "$1"
echo "$disk $1 btrfs subvol=$name 0 0" >>/etc/fstab
systemctl daemon-reload
mount "$1"`, "sh", dir)
	}
}

func edited(t *testing.T, again func(s *system)) {
	s := start(t, prepared(machine.Variant{}))
	s.share("/var/lib/redis", "/var/lib/data")
	s.must("sh", "-c", "echo ours >/var/lib/redis/kept; echo 1 >/var/lib/data/count")
	s.must("txctl", "begin", "-m", "a database")
	s.must("txctl", "exec", "--", "apt-get", "install", "--yes", "--no-install-recommends", machine.Database)
	id := strings.TrimSpace(s.must("txctl", "exec", "--", "id", "-u", "redis"))
	// Somebody gets the same id on the running system.
	s.must("useradd", "--uid", id, "--no-create-home", "alice")
	s.must("sh", "-c", "echo 192.0.2.1 before >>/etc/hosts; echo 2 >>/var/lib/data/count")
	s.must("txctl", "commit")
	n := s.pending()
	s.must("useradd", "--no-create-home", "bob")
	s.must("sh", "-c", "echo 192.0.2.2 after >>/etc/hosts; echo 3 >>/var/lib/data/count; mkdir -p /etc/systemd/system/multi-user.target.wants")
	s.must("sh", "-c", `printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n' >/etc/systemd/system/edited.service
ln -s ../edited.service /etc/systemd/system/multi-user.target.wants/`)
	again(s)
	s.consistent(n)

	ids := map[string]string{}
	for _, name := range []string{"alice", "bob", "redis"} {
		ids[strings.TrimSpace(s.must("id", "-u", name))] = name
	}
	if len(ids) != 3 || ids[id] != "alice" {
		t.Errorf("the users are %v, and alice had %s", ids, id)
	}
	hosts := s.must("cat", "/etc/hosts")
	if !strings.Contains(hosts, "192.0.2.1 before") || !strings.Contains(hosts, "192.0.2.2 after") {
		t.Errorf("/etc/hosts is\n%s", hosts)
	}
	if out := s.must("sh", "-c", "systemctl is-active edited.service"); strings.TrimSpace(out) != "active" {
		t.Errorf("a unit that was enabled meanwhile is %s", out)
	}
	if out := s.must("sh", "-c", "redis-cli set answer 42 && redis-cli save && stat --format=%U /var/lib/redis/dump.rdb"); strings.TrimSpace(out) != "OK\nOK\nredis" {
		t.Errorf("the database says %q\n%s", out, s.run("systemctl", "status", "--no-pager", "redis-server").Stdout)
	}
	if out := s.must("cat", "/var/lib/redis/kept", "/var/lib/data/count"); out != "ours\n1\n2\n3\n" {
		t.Errorf("what lies on subvolumes of their own is\n%s", out)
	}
	for _, path := range []string{"/etc/passwd", "/etc/hosts", "/etc/systemd/system/edited.service"} {
		found := false
		for _, d := range s.show(n).EtcDecisions {
			found = found || d.Path == path
		}
		if !found {
			t.Errorf("no decision about %s is recorded: %+v", path, s.show(n).EtcDecisions)
		}
	}
	t.Log(s.must("journalctl", "--boot", "--no-pager", "--unit", "txupd-state.service", "--output", "cat"))
}
