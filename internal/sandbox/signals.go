// Signals that are ignored stay so across exec: what somebody up to the
// daemon's first ancestor ignores, every command of a transaction would ignore.

package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastSignal is _NSIG of the kernel.
const lastSignal = 64

// kernelAction is struct kernel_sigaction, alike on the machines that we serve.
type kernelAction struct {
	handler, flags, restorer, mask uint64
}

// heedSignals sets every ignored signal to its default. It asks the kernel
// itself, because libraries hide the signals that they keep for their own use.
func heedSignals() {
	const ignored = 1 // SIG_IGN
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		var now, byDefault kernelAction
		size := unsafe.Sizeof(now.mask)
		_, _, failed := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&now)), size, 0, 0)
		if failed == 0 && now.handler == ignored {
			// SIGKILL and SIGSTOP cannot be ignored, so none of these can fail.
			_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&byDefault)), 0, size, 0, 0)
		}
	}
}
