// Freezing a file system, and the process that thaws it if ours dies between
// the two: nobody could write there any more.

package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	thawName = "txupd-thaw" // argv[0]
	thawWord = "wait"       // argv[1]: a program that does not ask IsThaw takes it for a mistake

	// Descriptors of the process.
	thawOrders = 0 // from us: one byte "nothing to do"; the end of it is our death
	thawReady  = 1 // to us: one byte
	thawTarget = 3 // a directory of the file system
)

// longestFreeze is after how long the file system is thawed in any case.
const longestFreeze = 20 * time.Second

// ioctls of linux/fs.h: _IOWR('X', 119, int) and _IOWR('X', 120, int).
const (
	iocFreeze = 0xc0045877
	iocThaw   = 0xc0045878
)

// IsThaw reports whether this process was started to thaw a file system. main
// and TestMain ask before anything else, and then do nothing but Thaw.
func IsThaw() bool {
	return len(os.Args) == 2 && os.Args[0] == thawName && os.Args[1] == thawWord
}

// Thaw waits until the process that started us is done, and thaws the file
// system if it died or takes too long; it returns the status to exit with.
func Thaw() int {
	// Whoever stops the daemon's processes shall not leave a frozen file system.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	if _, err := os.NewFile(thawReady, "ready").Write([]byte{1}); err != nil {
		return 1
	}
	done := make(chan bool, 1)
	go func() {
		n, _ := os.NewFile(thawOrders, "orders").Read(make([]byte, 1))
		done <- n == 1
	}()
	select {
	case finished := <-done:
		if finished {
			return 0
		}
	case <-stop:
	case <-time.After(longestFreeze):
	}
	// Not frozen is an error that says all is well.
	_ = unix.IoctlSetInt(thawTarget, iocThaw, 0)
	return 0
}

// thawer is the process that Thaw runs in.
type thawer struct {
	dir    *os.File
	orders *os.File
	child  *os.Process
}

// startThawer returns when the process is ready to thaw the file system of dir.
func startThawer(self string, dir *os.File) (*thawer, error) {
	t, err := launchThawer(self, dir)
	if err != nil {
		return nil, fmt.Errorf("cannot start the process that thaws %s: %w", dir.Name(), err)
	}
	return t, nil
}

func launchThawer(self string, dir *os.File) (*thawer, error) {
	theirs, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	ready, said, err := os.Pipe()
	if err != nil {
		orders.Close()
		return nil, err
	}
	defer ready.Close()
	child, err := os.StartProcess(self, []string{thawName, thawWord}, &os.ProcAttr{
		Env:   []string{},
		Files: []*os.File{theirs, said, nil, dir},
		// A signal for our process group is not for it.
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	said.Close()
	if err != nil {
		orders.Close()
		return nil, err
	}
	t := &thawer{dir: dir, orders: orders, child: child}
	err = ready.SetReadDeadline(time.Now().Add(longestFreeze))
	if err == nil {
		_, err = io.ReadFull(ready, make([]byte, 1))
	}
	if err != nil {
		_ = child.Kill() // whatever it is, it is not what we wanted
		t.end()
		return nil, fmt.Errorf("it does not answer: %w", err)
	}
	return t, nil
}

// freeze empties the journal of the file system by freezing and thawing it.
func (t *thawer) freeze() error {
	fd := int(t.dir.Fd())
	if err := unix.IoctlSetInt(fd, iocFreeze, 0); err != nil {
		return fmt.Errorf("cannot freeze the file system of %s: %w", t.dir.Name(), err)
	}
	// EINVAL: it is thawed already, which a signal to the other process does.
	if err := unix.IoctlSetInt(fd, iocThaw, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("cannot thaw the file system of %s: %w", t.dir.Name(), err)
	}
	return nil
}

// end lets the process go without thawing anything.
func (t *thawer) end() {
	_, _ = t.orders.Write([]byte{1})
	_ = t.orders.Close()
	_, _ = t.child.Wait()
}
