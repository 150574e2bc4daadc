package bus

import (
	"time"

	"github.com/txupd/txupd/pkg/journal/record"
)

// What unattended updates may do.
const (
	AutoCheck = "check" // look whether there is one
	AutoStage = "stage" // make it what boots next
	AutoApply = "apply" // and ask for a reboot in a window
)

// What came of an unattended update.
const (
	AutoCurrent   = "current"   // nothing is to be updated
	AutoAvailable = "available" // there is one, which the policy leaves alone
	AutoHeld      = "held"      // it holds what went bad before
	AutoStaged    = "staged"    // it boots next
	AutoFailed    = "failed"
	AutoMetered   = "metered" // the network costs money: nothing was done
)

// AutoResults are all of them.
var AutoResults = []string{AutoCurrent, AutoAvailable, AutoHeld, AutoStaged, AutoFailed, AutoMetered}

// Auto is the document of `auto`.
type Auto struct {
	Time   time.Time `json:"time"`
	Policy string    `json:"policy"`
	Result string    `json:"result"`
	// Snapshot is the transaction, null where none came to its number.
	Snapshot *uint64 `json:"snapshot"`
	// Packages are what changes, or would change.
	Packages []record.PackageChange `json:"packages"`
	// HeldFor is the snapshot that went bad with what this update would bring again.
	HeldFor *uint64 `json:"held_for"`
	// Message is why it failed.
	Message string `json:"message"`
	// Failures is how many runs in a row failed.
	Failures int `json:"failures"`
	// LastSuccess is when the last one began that looked for updates, and found none or did with them what the policy says; null where there was none.
	LastSuccess *time.Time `json:"last_success"`
	// Reboot is the one that is asked for.
	Reboot *Reboot `json:"reboot"`
}
