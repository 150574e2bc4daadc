package sandbox

import "golang.org/x/sys/unix"

// Numbers: arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl. x32 has
// the architecture and, for these, the numbers of x86-64, with bit 30 set.
var syncABIs = []abi{
	{arch: unix.AUDIT_ARCH_X86_64, ignore: 1 << 30, numbers: []uint32{
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_MSYNC, unix.SYS_SYNC_FILE_RANGE}},
	{arch: unix.AUDIT_ARCH_I386, numbers: []uint32{118, 148, 36, 344, 144, 314}},
}
