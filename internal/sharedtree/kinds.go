package sharedtree

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// lower are the local file systems that overlayfs shows.
var lower = map[string]bool{
	"btrfs": true, "ext2": true, "ext3": true, "ext4": true, "xfs": true, "f2fs": true, "jfs": true, "reiserfs": true,
	"nilfs2": true, "bcachefs": true, "zfs": true, "squashfs": true, "erofs": true, "iso9660": true, "udf": true,
}

// remote are the file systems behind a network, or behind another machine.
var remote = map[string]bool{
	"nfs": true, "nfs4": true, "cifs": true, "smb3": true, "smbfs": true, "ceph": true, "afs": true, "9p": true, "virtiofs": true,
	"lustre": true, "gfs2": true, "ocfs2": true, "coda": true, "orangefs": true,
}

// foreign are the file systems of other systems; names in them are not told
// apart as overlayfs needs it.
var foreign = map[string]bool{
	"vfat": true, "msdos": true, "exfat": true, "ntfs": true, "ntfs3": true, "fuseblk": true, "hfs": true, "hfsplus": true,
}

// engines are file systems in user space that container engines and desktops mount for themselves.
var engines = map[string]bool{"fuse.lxcfs": true, "fuse.fuse-overlayfs": true, "fuse.portal": true, "fuse.gvfsd-fuse": true}

// kindOf decides by path and type of file system whether a mount is shown. A
// reason is given where somebody may miss it; the kernel's own file systems,
// those in memory and the mounts of containers nobody does.
func kindOf(path, kind string) (reason string, shown bool) {
	switch {
	case within(path, "/mnt") || within(path, "/media"):
		return "what is mounted for a while is nothing that packages work with", false
	case lower[kind]:
		return "", true
	case remote[kind]:
		return "a network file system (" + kind + ") may be away when its changes are to be handed over", false
	case (kind == "fuse" || strings.HasPrefix(kind, "fuse.")) && !engines[kind]:
		return "a file system in user space (" + kind + ") may be away when its changes are to be handed over", false
	case foreign[kind]:
		return "overlayfs cannot show the file system " + kind, false
	case kind == "autofs":
		return "it is mounted when it is used, and is not now", false
	}
	return "", false
}

// systemUUID asks for the uuid of a file system, "" where the kernel does not
// tell (before Linux 6.9 but for btrfs, and for some file systems).
func systemUUID(dir string) (string, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("cannot open %s: %w", dir, err)
	}
	defer unix.Close(fd)
	// FS_IOC_GETFSUUID of linux/fs.h: _IOR(0x15, 0, struct fsuuid2).
	var general struct {
		length byte
		uuid   [16]byte
	}
	known, err := ask(fd, 2<<30|unsafe.Sizeof(general)<<16|0x15<<8, unsafe.Pointer(&general))
	if err != nil {
		return "", fmt.Errorf("cannot read the uuid of the file system of %s: %w", dir, err)
	}
	if known && int(general.length) == len(general.uuid) {
		return uuid.UUID(general.uuid).String(), nil
	}
	// BTRFS_IOC_FS_INFO of linux/btrfs.h: _IOR(0x94, 31, struct btrfs_ioctl_fs_info_args).
	var btrfs struct {
		_    [2]uint64
		uuid [16]byte
		_    [992]byte
	}
	known, err = ask(fd, 2<<30|unsafe.Sizeof(btrfs)<<16|0x94<<8|31, unsafe.Pointer(&btrfs))
	if err != nil || !known {
		return "", err
	}
	return uuid.UUID(btrfs.uuid).String(), nil
}

// ask reports whether the file system knows the question.
func ask(fd int, request uintptr, answer unsafe.Pointer) (bool, error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(answer))
	switch {
	case errno == 0:
		return true, nil
	case errors.Is(errno, unix.ENOTTY), errors.Is(errno, unix.EOPNOTSUPP), errors.Is(errno, unix.ENOSYS):
		return false, nil
	}
	return false, errno
}
