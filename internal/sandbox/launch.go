// The first process of a sandbox, started before there is a snapshot to enter:
// starting a process costs about as much as making the snapshot, and both can
// go on at the same time.

package sandbox

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Launch is a first process that waits, in namespaces of its own, to be told
// which snapshot to enter. Give it to Config, or Close it.
type Launch struct {
	init    *os.Process
	channel *channel
	closing sync.Once
}

// NewLaunch starts self ("" is this executable) as the first process.
func NewLaunch(self string) (*Launch, error) {
	if self == "" {
		self = "/proc/self/exe"
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	l := &Launch{channel: ours}
	if l.init, err = startInit(self, theirs); err != nil {
		_ = ours.close()
		return nil, err
	}
	return l, nil
}

func startInit(self string, theirs *os.File) (*os.Process, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	// Standard error stays, for a crash of pid 1; commands have their own.
	return os.StartProcess(self, []string{initName}, &os.ProcAttr{
		Env:   []string{"container=" + containerName},
		Files: []*os.File{null, null, os.Stderr, theirs},
		Sys: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			Setsid:     true,
		},
	})
}

// Close ends a process that no sandbox has taken over.
func (l *Launch) Close() {
	l.closing.Do(func() {
		_ = l.init.Kill()
		_, _ = l.init.Wait()
		_ = l.channel.close()
	})
}

// take hands the process over: closing the launch does nothing from then on.
func (l *Launch) take() (init *os.Process, c *channel) {
	l.closing.Do(func() { init, c = l.init, l.channel })
	return init, c
}
