// What even root does not have in a snapshot: the power over the running kernel.

package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// withheld are the capabilities that change the machine and not the snapshot:
// its kernel, clock, power, network, security policy, audit and kernel log.
var withheld = []uintptr{
	unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_BOOT, unix.CAP_SYS_TIME, unix.CAP_WAKE_ALARM,
	unix.CAP_NET_ADMIN, unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE, unix.CAP_AUDIT_CONTROL, unix.CAP_AUDIT_READ,
	unix.CAP_SYSLOG, unix.CAP_PERFMON, unix.CAP_BPF,
}

// withholdCapabilities removes them from every set of the calling thread, for
// good: what is not in the bounding set no setuid program and no file
// capability gives back. The thread must be locked, and do all the forking.
func withholdCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("cannot read the capabilities: %w", err)
	}
	for _, c := range withheld {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot drop capability %d: %w", c, err)
		}
		set, bit := &sets[c/32], uint32(1)<<(c%32)
		set.Permitted &^= bit
		set.Effective &^= bit
	}
	// Inheritable ones would come back at exec; with none of them, none is ambient either.
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("cannot set the capabilities: %w", err)
	}
	return nil
}
