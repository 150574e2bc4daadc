package sandbox

import (
	"os"
	"path/filepath"
	"testing"
)

func TestServicesAreNotStarted(t *testing.T) {
	const other = "#!/bin/sh\nexit 104\n"
	for _, test := range []struct {
		name    string
		prepare map[string]string
		inside  string // a script
		status  int    // of it
		left    string // what the snapshot holds afterwards
	}{
		{"policy added and removed", map[string]string{"invoke-rc.d": ""}, "policy-rc.d", 101, ""},
		{"no invoke-rc.d", nil, "[ ! -e /usr/sbin/policy-rc.d ]", 0, ""},
		{"the administrator's stays", map[string]string{"invoke-rc.d": "", policyName: other}, "policy-rc.d", 104, other},
		{"one of a killed daemon", map[string]string{"invoke-rc.d": "", policyName: policyText}, "policy-rc.d", 101, ""},
		{"replaced in the transaction", map[string]string{"invoke-rc.d": ""}, "echo new >/usr/sbin/policy-rc.d", 0, "new\n"},
		{"removed in the transaction", map[string]string{"invoke-rc.d": ""}, "rm /usr/sbin/policy-rc.d", 0, ""},
		{"made a link in the transaction", map[string]string{"invoke-rc.d": ""},
			"mv /usr/sbin/policy-rc.d /etc/p && ln -s /etc/p /usr/sbin/policy-rc.d", 0, policyText},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := smallRoot(t)
			for name, content := range test.prepare {
				file := filepath.Join(root, policyDir, name)
				write(t, file, content)
				must(t, os.Chmod(file, 0o755))
			}
			s := open(t, Config{Root: root})
			if o := try(t, s, Command{Argv: []string{"sh", "-c", test.inside}}); o.exit.Status != test.status {
				t.Errorf("status %d, want %d: %s", o.exit.Status, test.status, o.err)
			}
			must(t, s.Close())
			file := filepath.Join(root, policyDir, policyName)
			if test.left == "" {
				if _, err := os.Lstat(file); !os.IsNotExist(err) {
					t.Errorf("it is left: %v", err)
				}
				return
			}
			if _, err := os.Readlink(file); err == nil {
				return // the link that the transaction made is its own affair
			}
			if got := read(t, file); got != test.left {
				t.Errorf("the snapshot holds %q, want %q", got, test.left)
			}
		})
	}
}

func TestPolicyNeverLeadsOut(t *testing.T) {
	root, victim := smallRoot(t), t.TempDir()
	write(t, filepath.Join(victim, "invoke-rc.d"), "")
	write(t, filepath.Join(victim, policyName), policyText)
	must(t, os.Remove(filepath.Join(root, "usr/sbin")))
	must(t, os.Symlink("../../../../../../.."+victim, filepath.Join(root, "usr/sbin")))
	s := open(t, Config{Root: root})
	script(t, s, "true")
	must(t, s.Close())
	if read(t, filepath.Join(victim, policyName)) != policyText {
		t.Error("a file of the running system was changed")
	}
}
