package bus

import "time"

// When a reboot was asked for.
const (
	RebootNow    = "now"
	RebootAt     = "at"
	RebootWindow = "window"
)

// How a machine is rebooted.
const (
	RebootAuto = "auto"        // softly where that is possible
	RebootFull = "reboot"      // through firmware and boot loader
	RebootSoft = "soft-reboot" // user space only, in the root that boots next
	RebootNone = "none"        // not by us
)

// RebootMark is the file that says that the machine has to be rebooted, as on Debian.
const RebootMark = "/run/reboot-required"

// Reboot is the document of `reboot --status`: one that was asked for.
type Reboot struct {
	Requested time.Time `json:"requested"`
	// By is who asked first, Reasons what everybody said who did.
	By      string   `json:"by"`
	Reasons []string `json:"reasons"`
	// When is now, at or window; At is set for at.
	When string     `json:"when"`
	At   *time.Time `json:"at"`
	// Deadline: then it takes place in any case.
	Deadline *time.Time `json:"deadline"`
	// Next is when it is to take place, if nothing keeps it from that.
	Next time.Time `json:"next"`
	// Waits says what keeps it, "" where only its time has not come.
	Waits string `json:"waits"`
	// Method is reboot or soft-reboot, as it would be now, and Why says why it is that.
	Method string `json:"method"`
	Why    string `json:"why"`
}

// RebootStatus is what `reboot` answers, whatever it did; null where none is asked for.
type RebootStatus struct {
	Reboot *Reboot `json:"reboot"`
	// Marked is the file that says that the machine has to be rebooted, where that is all that is done (reboot.method is none); else "".
	Marked string `json:"marked"`
}
