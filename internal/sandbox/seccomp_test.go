package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"golang.org/x/sys/unix"
)

// verdict runs the filter as the kernel would, for one call.
func verdict(t *testing.T, program []unix.SockFilter, arch, number uint32) uint32 {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		switch i := program[pc]; i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = map[uint32]uint32{dataNumber: number, dataArch: arch}[i.K]
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if a == i.K {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		default:
			t.Fatalf("unknown instruction %x", i.Code)
		}
	}
	t.Fatal("the filter ends without a verdict")
	return 0
}

func TestFilterLetsOnlySyncSucceed(t *testing.T) {
	program := syncFilter(syncABIs)
	for _, a := range syncABIs {
		bits := []uint32{0}
		if a.ignore != 0 {
			bits = append(bits, a.ignore)
		}
		for _, bit := range bits {
			for number := range uint32(1024) {
				want := uint32(unix.SECCOMP_RET_ALLOW)
				if slices.Contains(a.numbers, number) {
					want = unix.SECCOMP_RET_ERRNO
				}
				if got := verdict(t, program, a.arch, number|bit); got != want {
					t.Errorf("architecture %x, call %d: %x, want %x", a.arch, number|bit, got, want)
				}
			}
		}
	}
	if got := verdict(t, program, unix.AUDIT_ARCH_RISCV64, syncABIs[0].numbers[0]); got != unix.SECCOMP_RET_ALLOW {
		t.Errorf("another architecture: %x", got)
	}
}

// flushes counts the cache flushes that the kernel sent to a disk (Documentation/block/stat.rst).
func flushes(t *testing.T, device string) int {
	t.Helper()
	fields := strings.Fields(read(t, filepath.Join("/sys/class/block", filepath.Base(device), "stat")))
	const flushRequests = 15
	if len(fields) <= flushRequests {
		t.Fatalf("the kernel counts no flushes: %v", fields)
	}
	n, err := strconv.Atoi(fields[flushRequests])
	must(t, err)
	return n
}

func TestSyncDoesNotReachTheDisk(t *testing.T) {
	top := testbed.Loop(t, 256)
	device := testbed.Device(t, top)
	root := filepath.Join(top, "snapshot")
	testbed.Run(t, "cp", "-a", smallRoot(t), root)
	count := map[bool]int{}
	for _, keep := range []bool{true, false} {
		must(t, unix.Mount("", top, "", unix.MS_REMOUNT|unix.MS_NOATIME, ""))
		s := open(t, Config{Root: root, KeepSync: keep})
		before := flushes(t, device)
		script(t, s, "for i in 1 2 3 4 5 6 7 8 9 10; do dd if=/dev/zero of=/file$i bs=4096 count=1 conv=fsync status=none; done")
		count[keep] = flushes(t, device) - before
		must(t, s.Close())
	}
	t.Logf("ten files written with fsync: %d flushes as usual, %d in the sandbox", count[true], count[false])
	if count[true] < 10 || count[false] >= count[true]/2 {
		t.Errorf("flushes: %v", count)
	}
	if _, err := os.Stat(filepath.Join(root, "file10")); err != nil {
		t.Error(err)
	}
}
