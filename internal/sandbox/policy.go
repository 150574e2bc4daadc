// Debian's invoke-rc.d and deb-systemd-invoke ask /usr/sbin/policy-rc.d whether
// they may start a service. It has to be a file in the snapshot, so it is put
// there for the life of the sandbox and taken away with it.

package sandbox

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

const (
	policyDir  = "usr/sbin"
	policyName = "policy-rc.d"
	policyText = "#!/bin/sh\n# Put here by txupd while a transaction runs: services are not started in it.\nexit 101\n"
)

// putPolicy adds the file where invoke-rc.d would ask it and nobody has one. A
// file of ours that a killed daemon left behind is taken over.
func putPolicy(root int) error {
	dir, err := resolve(root, policyDir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot open /%s of the snapshot: %w", policyDir, err)
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, "invoke-rc.d", &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil
	}
	if err := unix.Fstatat(dir, policyName, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
		return nil
	}
	if err := writeFile(dir, policyName, []byte(policyText), 0o755); err != nil {
		return fmt.Errorf("cannot keep services from starting: /%s of the snapshot: %w", policyDir, err)
	}
	// The daemon's umask may be stricter than scripts that run as other users can bear.
	if err := unix.Fchmodat(dir, policyName, 0o755, 0); err != nil {
		return fmt.Errorf("cannot keep services from starting: cannot make /%s/%s executable: %w", policyDir, policyName, err)
	}
	return nil
}

// removePolicy takes the file away if it is still ours. Twice does no harm.
func removePolicy(root int) error {
	content, err := readFile(root, path.Join(policyDir, policyName))
	if err != nil || string(content) != policyText {
		return nil
	}
	dir, err := resolve(root, policyDir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("cannot open /%s of the snapshot: %w", policyDir, err)
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, policyName, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		// A link that somebody made, to something that reads the same.
		return nil
	}
	if err := unix.Unlinkat(dir, policyName, 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("cannot remove /%s/%s from the snapshot: %w", policyDir, policyName, err)
	}
	return nil
}

// Tidy removes what a sandbox that was not closed left in the snapshot's root.
func Tidy(root string) error {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot tidy %s: %w", root, err)
	}
	defer unix.Close(fd)
	return removePolicy(fd)
}
