package sandbox

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// fsyncNothing is a program that calls fsync(-1) and exits with the error
// number: the smallest ELF file that does it, because no compiler for the
// other ABIs is needed then. Layout: elf(5).
func fsyncNothing(bits int, number uint32) []byte {
	le := binary.LittleEndian
	header := []byte{0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	header = le.AppendUint16(header, 2) // executable
	var code []byte
	if bits == 32 {
		code = le.AppendUint32([]byte{0xb8}, number)                  // mov eax, number
		code = append(code, 0xbb, 0xff, 0xff, 0xff, 0xff)             // mov ebx, -1
		code = append(code, 0xcd, 0x80, 0x89, 0xc3, 0xf7, 0xdb)       // int 0x80; mov ebx, eax; neg ebx
		code = append(code, 0xb8, 0x01, 0x00, 0x00, 0x00)             // mov eax, exit
		code = append(code, 0xcd, 0x80)                               // int 0x80
		const address, size = 0x08048000, 52 + 32                     // of both headers
		header = le.AppendUint16(header, 3)                           // i386
		header = le.AppendUint32(header, 1)                           //
		header = le.AppendUint32(header, address+size)                // entry
		header = le.AppendUint32(header, 52)                          // program header
		header = append(header, 0, 0, 0, 0, 0, 0, 0, 0)               // no sections, no flags
		header = append(header, 52, 0, 32, 0, 1, 0, 0, 0, 0, 0, 0, 0) // sizes and counts
		length := uint32(size + len(code))
		for _, v := range []uint32{1, 0, address, address, length, length, 5, 0x1000} {
			header = le.AppendUint32(header, v)
		}
		return append(header, code...)
	}
	header[4] = 2                                                 // 64 bits
	code = le.AppendUint32([]byte{0xb8}, number)                  // mov eax, number
	code = append(code, 0x48, 0xc7, 0xc7, 0xff, 0xff, 0xff, 0xff) // mov rdi, -1
	code = append(code, 0x0f, 0x05)                               // syscall
	code = append(code, 0x48, 0x89, 0xc7, 0x48, 0xf7, 0xdf)       // mov rdi, rax; neg rdi
	code = append(code, 0xb8, 0x3c, 0x00, 0x00, 0x00, 0x0f, 0x05) // mov eax, exit; syscall
	const address, size = 0x400000, 64 + 56                       // of both headers
	header = le.AppendUint16(header, 62)                          // x86-64
	header = le.AppendUint32(header, 1)                           //
	header = le.AppendUint64(header, address+size)                // entry
	header = le.AppendUint64(header, 64)                          // program header
	header = append(header, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)   // no sections, no flags
	header = append(header, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0) // sizes and counts
	header = le.AppendUint32(le.AppendUint32(header, 1), 5)       // load, readable and executable
	for _, v := range []uint64{0, address, address, uint64(size + len(code)), uint64(size + len(code)), 0x1000} {
		header = le.AppendUint64(header, v)
	}
	return append(header, code...)
}

func TestFsyncSucceedsInEveryABI(t *testing.T) {
	root := smallRoot(t)
	for name, program := range map[string][]byte{
		"x86-64": fsyncNothing(64, unix.SYS_FSYNC),
		"x32":    fsyncNothing(64, unix.SYS_FSYNC|1<<30),
		"i386":   fsyncNothing(32, 118),
	} {
		must(t, os.WriteFile(filepath.Join(root, "usr/bin", name), program, 0o755))
	}
	plain, filtered := open(t, Config{Root: root, KeepSync: true}), open(t, Config{Root: root})
	for _, name := range []string{"x86-64", "x32", "i386"} {
		t.Run(name, func(t *testing.T) {
			o := try(t, plain, Command{Argv: []string{name}})
			switch syscallError := unix.Errno(o.exit.Status); {
			case !o.exit.Started:
				// Then no program can call it on this machine.
				t.Logf("this kernel runs no %s programs: %s", name, o.exit.Message)
				return
			case syscallError != unix.EBADF && syscallError != unix.ENOSYS:
				t.Fatalf("without the filter fsync(-1) says %v", syscallError)
			default:
				t.Logf("without the filter: %v", syscallError)
			}
			if o := try(t, filtered, Command{Argv: []string{name}}); o.exit.Status != 0 {
				t.Errorf("with the filter fsync(-1) says %v", unix.Errno(o.exit.Status))
			}
		})
	}
}
