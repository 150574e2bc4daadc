package boot

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// image is the head of a kernel that says text.
func image(text string) []byte {
	head := make([]byte, 0x400, 0x400+len(text)+1)
	copy(head[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(head[0x20e:], 0x200)
	return append(append(head, text...), 0)
}

func TestTheBuildOfAKernel(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"boot", "lib/modules/6.12.48+deb13-amd64"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(content []byte) {
		for _, name := range []string{"vmlinuz-6.12.48+deb13-amd64", "initrd.img-6.12.48+deb13-amd64"} {
			if err := os.WriteFile(filepath.Join(root, "boot", name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	const said = "6.12.48+deb13-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20)"
	write(image(said))
	want := Build{"6.12.48+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20)"}
	if got, err := BuildOf(root); err != nil || got != want {
		t.Errorf("the build is %+v (%v)", got, err)
	}
	cut := image(said)
	beyond := image(said)
	binary.LittleEndian.PutUint16(beyond[0x20e:], 0xffff)
	for name, content := range map[string][]byte{
		"of another kind": []byte("MZ zimg"), "cut off": cut[:0x420], "pointing beyond": beyond,
		"without words": image(""), "with other words": image("6.12.48"), "with half of them": image("6.12.48 (a@b)"),
	} {
		write(content)
		if got, err := BuildOf(root); err == nil || !strings.Contains(err.Error(), "boot/vmlinuz-6.12.48+deb13-amd64") {
			t.Errorf("a kernel %s: %+v (%v)", name, got, err)
		}
	}
	if _, err := BuildOf(t.TempDir()); err == nil {
		t.Error("a root without a kernel has one")
	}
	if b, err := RunningBuild(); err != nil || b.Release == "" || b.Version == "" {
		t.Errorf("what runs is %+v (%v)", b, err)
	}
}

// FuzzParseBuild: a kernel comes from a snapshot, which anybody may have filled.
func FuzzParseBuild(f *testing.F) {
	f.Add(image("6.12.48 (a@b) #1 SMP"))
	f.Add(image("6.12.48 (a@b) ")[:0x40f])
	f.Add([]byte("HdrS"))
	f.Fuzz(func(t *testing.T, head []byte) {
		b, ok := parseBuild(head)
		if ok && (b.Release == "" || b.Version == "" || !strings.Contains(string(head), b.Release+" (") || !strings.Contains(string(head), ") "+b.Version)) {
			t.Errorf("read %+v", b)
		}
	})
}
