package bus

import "time"

// When a reboot was asked for.
const (
	RebootNow    = "now"
	RebootAt     = "at"
	RebootWindow = "window"
)

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
}

// RebootStatus is what `reboot` answers, whatever it did; null where none is asked for.
type RebootStatus struct {
	Reboot *Reboot `json:"reboot"`
}
