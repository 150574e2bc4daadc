package bus

import "time"

// Event is one line of `watch`.
type Event struct {
	Time time.Time `json:"time"`
	// Event is one of those below.
	Event string `json:"event"`
	// Number is that of the transaction, or of the snapshot.
	Number uint64 `json:"number"`
	// Kind and Message are of a transaction that begins, Message also of a snapshot that is new.
	Kind    string `json:"kind,omitempty"`
	Message string `json:"message,omitempty"`
	// Phase is what a transaction or snapshot is in.
	Phase string `json:"phase,omitempty"`
	// Fraction and Text are progress.
	Fraction *float64 `json:"fraction,omitempty"`
	Text     string   `json:"text,omitempty"`
	// Exit is the exit status of a command.
	Exit *int32 `json:"exit,omitempty"`
	// Error and ErrorMessage are why a transaction failed.
	Error        string `json:"error,omitempty"`
	ErrorMessage string `json:"error_message,omitempty"`
}

// What happens.
const (
	EventWatching = "watching" // the first one: nothing is missed from now on; the number is of what boots next
	EventBegan    = "transaction-began"
	EventProgress = "progress"
	EventCommand  = "command-ended"
	EventEnded    = "transaction-ended"
	EventAdded    = "snapshot-added"
	EventRemoved  = "snapshot-removed"
	EventNext     = "boots-next"
	EventReboot   = "reboot-soon" // the message is what people are told
)
