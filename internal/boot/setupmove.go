// Moving GRUB's files out of the root: each snapshot has a copy of what is in
// the root, and GRUB reads only one of them.

package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/fault"
)

// grubSubvolume is the name of the subvolume of GRUB's files, at the top level.
const grubSubvolume = "@txupd-grub"

// grubMove is all that has to be known before anything is changed.
type grubMove struct {
	*site
	dir      string // where GRUB's files are, relative to the root
	fstab    []byte // what it will be
	installs [][]string
}

// moved reports whether GRUB's files are mounted from the subvolume that they
// are moved to.
func (s *site) moved() bool {
	return s.grub != nil && s.grub.mount.FSType == "btrfs" && path.Base(s.grub.mount.Root) == grubSubvolume
}

// moveUnfinished reports whether a move was interrupted: GRUB may not read what is mounted.
func (s *site) moveUnfinished(ctx context.Context) (bool, error) {
	if !s.moved() {
		return false, nil
	}
	text, err := s.tree.read("etc/fstab")
	if err != nil && !absent(err) {
		return false, err
	}
	if !inFstab(text, "/"+s.grub.dir) {
		return true, nil
	}
	elsewhere, err := s.elsewhere(ctx)
	return elsewhere != nil, err
}

// inFstab reports whether fstab mounts the subvolume there.
func inFstab(text []byte, point string) bool {
	l, ok := parseFstab(text).at(point)
	return ok && strings.Contains(","+l.options+",", ",subvol="+grubSubvolume+",")
}

func (s *site) planMove(ctx context.Context) (*grubMove, error) {
	m := &grubMove{site: s, dir: s.grub.dir}
	if base := path.Base(m.dir); base != "grub" && base != "grub2" {
		return nil, fmt.Errorf("%w: GRUB cannot be installed into /%s", fault.ErrNotSupported, m.dir)
	}
	if s.root.FSType != "btrfs" || s.root.Root == "/" {
		return nil, fmt.Errorf("%w: the root is no subvolume beside which GRUB's files could have one of their own", fault.ErrNotSupported)
	}
	var err error
	if m.installs, err = s.planInstall(ctx); err != nil {
		return nil, err
	}
	old, err := s.tree.read("etc/fstab")
	if err != nil {
		return nil, err
	}
	id, err := s.uuid(ctx, s.root)
	if err != nil {
		return nil, err
	}
	m.fstab = withGRUB(old, "/"+m.dir, id)
	return m, nil
}

// withGRUB is fstab with a line for the subvolume, mounted like the root.
func withGRUB(old []byte, point, uuid string) []byte {
	if inFstab(old, point) {
		return old
	}
	device, options := "UUID="+uuid, []string{}
	if l, ok := parseFstab(old).at("/"); ok {
		device = l.device
		for option := range strings.SplitSeq(l.options, ",") {
			if subvolumeOptions(option) == "" && option != "" && option != "defaults" && option != "ro" && !strings.HasPrefix(option, "x-") {
				options = append(options, option)
			}
		}
	}
	options = append(options, "subvol="+grubSubvolume)
	text := string(old)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return []byte(text + fmt.Sprintf("# GRUB's files are in no snapshot (txctl setup).\n%s %s btrfs %s 0 0\n", device, point, strings.Join(options, ",")))
}

// do moves the files. Until GRUB is led to them a failure is undone; after that
// the subvolume stays, because nobody knows which place GRUB reads: each has a
// whole menu. The mount goes in any case, and fstab comes last: what is mounted
// there is taken to be what GRUB reads.
func (m *grubMove) do(ctx context.Context, mkconfig string, say func(string)) error {
	created, err := m.fill(say)
	if err != nil {
		return err
	}
	unmount, err := m.mount(say)
	if err != nil {
		if created {
			err = errors.Join(err, m.drop())
		}
		return err
	}
	if err := m.lead(ctx, mkconfig, say); err != nil {
		err = fmt.Errorf("%w; GRUB reads /%s or the subvolume %s now, and can boot from either; run \"txctl setup\" again when this is solved", err, m.dir, grubSubvolume)
		return errors.Join(err, unmount())
	}
	return nil
}

// mount mounts the subvolume over GRUB's files.
func (m *grubMove) mount(say func(string)) (unmount func() error, err error) {
	if m.moved() {
		return func() error { return nil }, nil
	}
	say(fmt.Sprintf("mounting the subvolume %s at /%s", grubSubvolume, m.dir))
	target := m.abs(m.dir)
	if err := unix.Mount(m.root.Source, target, "btrfs", unix.MS_NOATIME, "subvol="+grubSubvolume); err != nil {
		return nil, fmt.Errorf("cannot mount the subvolume %s at %s: %w", grubSubvolume, target, err)
	}
	return func() error {
		if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("cannot unmount %s: %w", target, err)
		}
		return nil
	}, nil
}

// lead makes GRUB read what is mounted, with our menu, and the next boot mount it.
func (m *grubMove) lead(ctx context.Context, mkconfig string, say func(string)) error {
	for _, argv := range m.installs {
		say("running " + strings.Join(argv, " "))
		if _, err := m.host.Run(ctx, argv...); err != nil {
			return fmt.Errorf("%s failed: %w", argv[0], err)
		}
	}
	// Looked at anew: what is mounted has changed.
	s, err := m.look(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.syncAll(m.dir); err != nil {
		return err
	}
	if err := s.regenerate(ctx, m.dir, mkconfig, say); err != nil {
		return err
	}
	say("writing its mount into /etc/fstab")
	return s.put("etc/fstab", m.fstab, s.tree.mode("etc/fstab").Perm(), nil)
}

// fill makes the subvolume with a copy of GRUB's files, under another name until
// it is complete. One that is there is complete, and may be what GRUB reads: it stays.
func (m *grubMove) fill(say func(string)) (created bool, err error) {
	const unfinished = grubSubvolume + ".new"
	top, err := openTop(m.root.Source)
	if err != nil {
		return false, err
	}
	defer top.Close()
	if _, err := os.Lstat(beneath(top, grubSubvolume)); err == nil {
		say(fmt.Sprintf("the subvolume %s with GRUB's files is there already", grubSubvolume))
		return false, nil
	}
	say(fmt.Sprintf("copying /%s into a new subvolume %s beside the root", m.dir, grubSubvolume))
	if err := destroySubvolume(top, unfinished); err != nil && !absent(err) {
		return false, err
	}
	if err := createSubvolume(top, unfinished); err != nil {
		return false, err
	}
	err = copyTree(m.abs(m.dir), beneath(top, unfinished))
	if err == nil {
		err = unix.Syncfs(int(top.Fd()))
	}
	if err == nil {
		err = failpoint.Around("boot/move", func() error {
			return unix.Renameat2(int(top.Fd()), unfinished, int(top.Fd()), grubSubvolume, unix.RENAME_NOREPLACE)
		})
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("cannot copy GRUB's files: %w", err), destroySubvolume(top, unfinished))
	}
	return true, unix.Syncfs(int(top.Fd()))
}

// drop removes the subvolume that fill made.
func (m *grubMove) drop() error {
	top, err := openTop(m.root.Source)
	if err != nil {
		return err
	}
	defer top.Close()
	return destroySubvolume(top, grubSubvolume)
}

// syncAll flushes what GRUB's installer wrote: its directory and the EFI partition.
func (s *site) syncAll(dir string) error {
	dirs := []string{dir}
	if s.esp != nil {
		dirs = append(dirs, s.rel(s.esp.Mountpoint))
	}
	for _, dir := range dirs {
		w, err := s.settler(dir)
		if err != nil {
			return err
		}
		err = w.settle()
		w.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// beneath is a path below an open directory, wherever that is mounted.
func beneath(d *os.File, name string) string {
	return filepath.Join("/proc/self/fd", fmt.Sprint(d.Fd()), name)
}

// copyTree copies directories, regular files and links, with their modes and
// times, into a directory that is there.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		target := path.Join(to, strings.TrimPrefix(name, from))
		switch {
		case info.IsDir():
			if err := os.Mkdir(target, info.Mode().Perm()); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
			return os.Chmod(target, info.Mode().Perm())
		case info.Mode()&os.ModeSymlink != 0:
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case info.Mode().IsRegular():
			return copyFile(name, target, info)
		}
		return fmt.Errorf("%s is no file, directory or link", name)
	})
}

func copyFile(from, to string, info os.FileInfo) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = target.ReadFrom(source)
	if err = errors.Join(err, target.Chmod(info.Mode().Perm()), target.Close()); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}
