// Who calls: as the bus says, which cannot be forged; what /proc adds is for
// people to read and decides nothing.

package busserver

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

type credentials struct{ uid, pid uint32 }

// credentials asks the bus, once a connection: they stay the same.
func (s *Server) credentials(c *caller) (credentials, error) {
	c.asking.Lock()
	defer c.asking.Unlock()
	if known := c.known.Load(); known != nil {
		return *known, nil
	}
	var all map[string]dbus.Variant
	err := s.conn.BusObject().CallWithContext(c.ctx, "org.freedesktop.DBus.GetConnectionCredentials", 0, c.name).Store(&all)
	if err != nil {
		return credentials{}, fmt.Errorf("%w: the bus does not know who called: %w", fault.ErrNotAuthorized, err)
	}
	uid, ok := all["UnixUserID"].Value().(uint32)
	if !ok {
		return credentials{}, fmt.Errorf("%w: the bus does not know who called", fault.ErrNotAuthorized)
	}
	pid, _ := all["ProcessID"].Value().(uint32)
	c.known.Store(&credentials{uid, pid})
	return credentials{uid, pid}, nil
}

// actor describes the caller for the record.
func (s *Server) actor(c *call) (record.Actor, error) {
	creds, err := s.credentials(c.from)
	if err != nil {
		return record.Actor{}, err
	}
	a := record.Actor{UID: creds.uid, Name: userName(creds.uid), BusName: c.from.name}
	if creds.pid == 0 {
		return a, nil
	}
	proc := fmt.Sprintf("/proc/%d/", creds.pid)
	// 4294967295 is "nobody logged in": a service.
	if login, err := readUint(proc + "loginuid"); err == nil && login != ^uint32(0) && login != creds.uid {
		a.Login = userName(login)
	}
	if id, err := readUint(proc + "sessionid"); err == nil && id != ^uint32(0) {
		a.Session = strconv.FormatUint(uint64(id), 10)
	}
	if groups, err := os.ReadFile(proc + "cgroup"); err == nil {
		a.Unit = unitIn(string(groups))
	}
	return a, nil
}

func userName(uid uint32) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return u.Username
}

func readUint(path string) (uint32, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 32)
	return uint32(n), err
}

// unitIn finds the innermost systemd unit in the contents of /proc/PID/cgroup.
func unitIn(groups string) string {
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "name=systemd" {
			continue
		}
		unit := ""
		for part := range strings.SplitSeq(parts[2], "/") {
			if strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
				unit = part
			}
		}
		if unit != "" {
			return unit
		}
	}
	return ""
}
