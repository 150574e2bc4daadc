// A system call filter that lets fsync and its kin succeed without doing
// anything. A snapshot is disposable until the transaction commits, and the
// commit flushes it as a whole: each flush before that is waste.

package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// abi is one way to call the kernel on this machine: what the kernel calls its
// architecture, a bit of the number to ignore, and the numbers of fsync,
// fdatasync, sync, syncfs, msync and sync_file_range.
type abi struct {
	arch    uint32
	ignore  uint32
	numbers []uint32
}

// Offsets in struct seccomp_data, linux/seccomp.h.
const (
	dataNumber = 0
	dataArch   = 4
)

// syncFilter assembles the program: one block an ABI, everything else allowed.
func syncFilter(abis []abi) []unix.SockFilter {
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		and  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		jump = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
	)
	allow := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}
	succeed := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO} // with error 0
	program := []unix.SockFilter{{Code: load, K: dataArch}}
	for _, a := range abis {
		block := []unix.SockFilter{{Code: load, K: dataNumber}}
		if a.ignore != 0 {
			block = append(block, unix.SockFilter{Code: and, K: ^a.ignore})
		}
		for i, number := range a.numbers {
			// Over the other comparisons and "allow".
			block = append(block, unix.SockFilter{Code: jump, K: number, Jt: uint8(len(a.numbers) - i)})
		}
		block = append(block, allow, succeed)
		program = append(program, unix.SockFilter{Code: jump, K: a.arch, Jf: uint8(len(block))})
		program = append(program, block...)
	}
	return append(program, allow)
}

// suppressSync sets the filter for the calling thread and what it forks. It
// takes CAP_SYS_ADMIN instead of no-new-privileges, which would break setuid programs.
func suppressSync() error {
	program := syncFilter(syncABIs)
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// The filter is no sandbox for hostile code: no need to slow the processor down for it.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("cannot set the system call filter: %w", errno)
	}
	return nil
}
