package sandbox

import "golang.org/x/sys/unix"

// Numbers of 32-bit programs: arch/arm/tools/syscall.tbl, where the last is sync_file_range2.
var syncABIs = []abi{
	{arch: unix.AUDIT_ARCH_AARCH64, numbers: []uint32{
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_MSYNC, unix.SYS_SYNC_FILE_RANGE}},
	{arch: unix.AUDIT_ARCH_ARM, numbers: []uint32{118, 148, 36, 373, 144, 341}},
}
