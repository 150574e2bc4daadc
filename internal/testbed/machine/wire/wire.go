// Package wire is what the machine harness and its agent in the guest say to
// each other: JSON lines over a virtio-serial port, which has no end of file
// and survives reboots. So each side may find the end of a line of a former
// boot, and each request says which boot it is meant for.
package wire

// Port is the name of the virtio-serial port.
const Port = "org.txupd.testbed"

// Op is what a request asks for.
type Op string

// The requests. Hello is answered by a Boot, the others by Events of their id.
const (
	Hello Op = "hello" // of any boot: says who is there
	Run   Op = "run"
	Kill  Op = "kill" // ends the command that has the same id
	Read  Op = "read"
	Write Op = "write" // replaces a file: all of it or nothing
	Clock Op = "clock" // sets the clock, which stands still while a machine is saved
)

// Request is a line from the harness.
type Request struct {
	Boot string `json:"boot,omitempty"` // the boot id it is meant for
	ID   uint64 `json:"id,omitempty"`
	Op   Op     `json:"op"`

	Argv  []string `json:"argv,omitempty"`
	Env   []string `json:"env,omitempty"` // beyond a plain root's
	Dir   string   `json:"dir,omitempty"`
	Stdin []byte   `json:"stdin,omitempty"`

	Path string `json:"path,omitempty"`
	Mode uint32 `json:"mode,omitempty"`
	Data []byte `json:"data,omitempty"`

	UnixNano int64 `json:"unix_nano,omitempty"`
}

// Boot is a boot that reached user space.
type Boot struct {
	ID          string `json:"id"`           // of the kernel's boot, and Root
	Kernel      string `json:"kernel"`       // uname -r
	CommandLine string `json:"command_line"` // /proc/cmdline
	Root        string `json:"root"`         // the subvolume mounted at /, as mountinfo has it
}

// Event is a line from the agent.
type Event struct {
	Boot *Boot  `json:"boot,omitempty"`
	ID   uint64 `json:"id,omitempty"`

	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	Data   []byte `json:"data,omitempty"` // of Read

	// Done ends the answer. Exit is that of a command, -1 where a signal ended it.
	Done    bool   `json:"done,omitempty"`
	Exit    int    `json:"exit,omitempty"`
	Signal  string `json:"signal,omitempty"`
	Error   string `json:"error,omitempty"`
	Missing bool   `json:"missing,omitempty"` // the error is that there is no such file
}
