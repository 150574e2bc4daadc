// What is mounted where, and what can be said of the file systems.

package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Partition is a file system that a loader reads.
type Partition struct {
	// Mount is where it is mounted, as the system itself sees it ("/boot/efi").
	Mount  string `json:"mount"`
	UUID   string `json:"uuid"`
	Type   string `json:"type"`
	Device string `json:"device"`
	// Free and Size are in bytes.
	Free uint64 `json:"free"`
	Size uint64 `json:"size"`
}

type mountTable []*mountinfo.Info

// over is the mount that an absolute path lies on, nil if there is none.
func (t mountTable) over(path string) *mountinfo.Info {
	var best *mountinfo.Info
	for _, m := range t {
		// Of two on one place the later one covers the other.
		if within(path, m.Mountpoint) && (best == nil || len(m.Mountpoint) >= len(best.Mountpoint)) {
			best = m
		}
	}
	return best
}

// within reports whether an absolute path is dir or lies in it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// inside is the path, from the top of its file system, of an absolute path on the mount.
func inside(m *mountinfo.Info, at string) string {
	return path.Join(m.Root, strings.TrimPrefix(at, m.Mountpoint))
}

func readOnly(m *mountinfo.Info) bool {
	for _, options := range []string{m.Options, m.VFSOptions} {
		for option := range strings.SplitSeq(options, ",") {
			if option == "ro" {
				return true
			}
		}
	}
	return false
}

func isFAT(m *mountinfo.Info) bool { return m.FSType == "vfat" || m.FSType == "msdos" }

// isExt: ext3 and ext2 are usually mounted by the driver of ext4 and have the same layout for GRUB.
func isExt(m *mountinfo.Info) bool {
	return m.FSType == "ext4" || m.FSType == "ext3" || m.FSType == "ext2"
}

// mapped reports whether the device is one that GRUB only reads: it refuses to
// write through LVM, RAID and encryption.
func mapped(m *mountinfo.Info) bool {
	block := fmt.Sprintf("/sys/dev/block/%d:%d/", m.Major, m.Minor)
	for _, kind := range []string{"dm", "md"} {
		if _, err := os.Stat(block + kind); err == nil {
			return true
		}
	}
	return false
}

// mounted tells one mount from another, also one that took its place.
type mounted struct {
	id, major, minor int
	source           string
}

type knownUUID struct {
	id string
	at time.Time
}

// uuidKnownFor bounds how long an answer is believed: a mounted file system keeps
// its uuid, but the kernel uses the numbers of mounts again.
const uuidKnownFor = time.Minute

// uuid is that of a mounted file system, as GRUB's search command knows it.
func (b *Boot) uuid(ctx context.Context, m *mountinfo.Info) (string, error) {
	key := mounted{m.ID, m.Major, m.Minor, m.Source}
	if k, ok := b.uuids.Load(key); ok && time.Since(k.(knownUUID).at) < uuidKnownFor {
		return k.(knownUUID).id, nil
	}
	out, err := b.host.Run(ctx, "blkid", "--probe", "--match-tag", "UUID", "--output", "value", m.Source)
	if err != nil {
		return "", fmt.Errorf("cannot find the uuid of %s, mounted at %s: %w", m.Source, m.Mountpoint, err)
	}
	id := strings.TrimSpace(string(out))
	if id == "" {
		return "", fmt.Errorf("cannot find the uuid of %s, mounted at %s: it has none", m.Source, m.Mountpoint)
	}
	b.uuids.Store(key, knownUUID{id, time.Now()})
	return id, nil
}

// partition describes a mount.
func (b *Boot) partition(ctx context.Context, m *mountinfo.Info) (*Partition, error) {
	id, err := b.uuid(ctx, m)
	if err != nil {
		return nil, err
	}
	p := &Partition{Mount: b.seen(m.Mountpoint), UUID: id, Type: m.FSType, Device: m.Source}
	if p.Free, p.Size, err = space(m.Mountpoint); err != nil {
		return nil, err
	}
	return p, nil
}

// seen is an absolute path as the system at Root sees it.
func (b *Boot) seen(at string) string {
	rel, err := filepath.Rel(b.host.Root, at)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return at
	}
	return path.Join("/", rel)
}

// space is how many bytes are free for us, and how many there are.
func space(dir string) (free, size uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("cannot see how much room %s has: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

func isNotDir(err error) bool { return errors.Is(err, unix.ENOTDIR) }
