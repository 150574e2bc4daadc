package update

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAskedForIsMarkedAndStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reboot-required")
	u := &Updater{Deps: Deps{RebootMark: path}}
	if err := u.markAsked("a new\nkernel"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "*** txupd: a reboot is asked for: a new kernel ***\n" {
		t.Errorf("the mark says %q (%v)", got, err)
	}
}

func TestParametersThatMatter(t *testing.T) {
	line := "BOOT_IMAGE=/boot/vmlinuz root=UUID=1 ro rootflags=subvol=@,compress=zstd quiet panic=10 rd.shell=0 mitigations=off"
	if got := parameters(line); !slices.Equal(got, []string{"ro", "rootflags=compress=zstd", "quiet", "mitigations=off"}) {
		t.Errorf("they are %q", got)
	}
}
