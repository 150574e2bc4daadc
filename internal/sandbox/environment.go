// The environment of a command is built, not inherited: what the daemon was
// started with is nobody's business in a snapshot.

package sandbox

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	containerName = "txupd"
	searchPath    = "/run/txupd/shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// environment returns NAME=VALUE pairs; of two with one name the later wins.
func environment(number uint64, additions ...[]string) ([]string, error) {
	env := []string{
		"PATH=" + searchPath,
		"HOME=/root",
		"USER=root",
		"LOGNAME=root",
		"SHELL=/bin/sh",
		"LANG=C.UTF-8",
		"container=" + containerName,
		"TXUPD_TRANSACTION=" + strconv.FormatUint(number, 10),
		"TRANSACTIONAL_UPDATE=true",
		"SYSTEMD_OFFLINE=1",
		"DISABLE_SNAPPER_ZYPP_PLUGIN=1",
		"DISABLE_RESTART_ON_UPDATE=yes",
		"APT_CONFIG=/run/txupd/apt.conf",
	}
	at := map[string]int{}
	for i, pair := range env {
		at[pair[:strings.IndexByte(pair, '=')]] = i
	}
	for _, list := range additions {
		for _, pair := range list {
			name, _, ok := strings.Cut(pair, "=")
			if !ok || name == "" {
				return nil, fmt.Errorf("environment %q is not of the form NAME=VALUE", pair)
			}
			if strings.ContainsRune(pair, 0) {
				return nil, fmt.Errorf("environment %q holds a NUL", name)
			}
			if i, ok := at[name]; ok {
				env[i] = pair
				continue
			}
			at[name] = len(env)
			env = append(env, pair)
		}
	}
	return env, nil
}

// lookupEnv returns the value of name, "" where it is not set.
func lookupEnv(env []string, name string) string {
	for _, pair := range env {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}
