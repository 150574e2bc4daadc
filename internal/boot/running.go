// Whether the kernel of a root is the one that runs: the same build, not only the same version.

package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Build is what uname(2) says of a kernel.
type Build struct {
	Release string // "6.12.48+deb13-amd64"
	Version string // "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20)"
}

// RunningBuild is the kernel that runs.
func RunningBuild() (Build, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Build{}, fmt.Errorf("cannot ask which kernel runs: %w", err)
	}
	return Build{unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:])}, nil
}

// BuildOf is the kernel that a root would boot. It is an error where the kernel
// does not say: only those for x86 have it in a header.
func BuildOf(root string) (Build, error) {
	t, err := openTree(root)
	if err != nil {
		return Build{}, fmt.Errorf("cannot find the kernel: %w", err)
	}
	defer t.Close()
	k, err := find(t)
	if err != nil {
		return Build{}, fmt.Errorf("cannot find the kernel: %w", err)
	}
	f, _, err := t.file(k.Kernel)
	if err != nil {
		return Build{}, fmt.Errorf("cannot read the kernel: %w", err)
	}
	defer f.Close()
	// The setup code is at most 64 sectors of 512 bytes, and one before them.
	head := make([]byte, 65*512)
	n, err := f.ReadAt(head, 0)
	if n == 0 {
		return Build{}, fmt.Errorf("cannot read the kernel: %w", err)
	}
	b, ok := parseBuild(head[:n])
	if !ok {
		return Build{}, fmt.Errorf("%s does not say which build it is", k.Kernel)
	}
	return b, nil
}

// parseBuild reads the version in the header of a kernel for x86: "6.12.48
// (who@where) #1 SMP …", at the offset in the field kernel_version.
//
// The format is that of Documentation/arch/x86/boot.rst of Linux.
func parseBuild(head []byte) (Build, bool) {
	const magicAt, pointerAt, setup = 0x202, 0x20e, 0x200
	if len(head) < pointerAt+2 || !bytes.Equal(head[magicAt:magicAt+4], []byte("HdrS")) {
		return Build{}, false
	}
	at := int(binary.LittleEndian.Uint16(head[pointerAt:]))
	if at == 0 || at+setup >= len(head) {
		return Build{}, false
	}
	text, _, ended := bytes.Cut(head[at+setup:], []byte{0})
	release, rest, ok := strings.Cut(string(text), " (")
	builder, version, told := strings.Cut(rest, ") ")
	if !ended || !ok || !told || release == "" || version == "" || !strings.Contains(builder, "@") {
		return Build{}, false
	}
	return Build{release, version}, true
}
