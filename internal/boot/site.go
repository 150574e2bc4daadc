// Where the loader's files are on this machine: what is asked of disks and
// mounts, before anything is concluded from it.

package boot

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/txupd/txupd/pkg/grubcfg"
)

// site is one look at the machine. Close it.
type site struct {
	*Boot
	tree   *tree
	mounts mountTable
	root   *mountinfo.Info // what the root lies on
	// boot is what a separate /boot lies on, esp the EFI system partition; nil where there is none.
	boot, esp *mountinfo.Info
	grub      *grubSite // nil without a grub.cfg
	systemd   *systemdSite
	// loaderInfo is what the running loader called itself, "" where it did not.
	loaderInfo string
}

// grubSite is the grub.cfg that GRUB reads.
type grubSite struct {
	dir    string // of grub.cfg, relative to the root
	mount  *mountinfo.Info
	config []byte
	// relative: GRUB resolves paths from the default subvolume, as SUSE's does.
	relative bool
}

// espPaths are where bootctl looks for the EFI system partition, in its order.
var espPaths = []string{"efi", "boot", "boot/efi"}

// look finds the loader's files. It runs no command unless the only grub.cfg
// to be found says that GRUB reads another one.
func (b *Boot) look(ctx context.Context) (*site, error) {
	t, err := openTree(b.host.Root)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the system: %w", err)
	}
	s := &site{Boot: b, tree: t}
	if err := s.find(ctx); err != nil {
		t.Close()
		return nil, fmt.Errorf("cannot look for the boot loader: %w", err)
	}
	return s, nil
}

func (s *site) Close() { s.tree.Close() }

func (s *site) find(ctx context.Context) error {
	for _, dir := range espPaths {
		// An automount is mounted by looking into it.
		if _, err := s.tree.names(dir); err != nil && !isNotDir(err) {
			return err
		}
	}
	mounts, err := s.host.Mounts()
	if err != nil {
		return fmt.Errorf("cannot read the mounts: %w", err)
	}
	s.mounts = mounts
	if s.root = s.mounts.over(s.host.Root); s.root == nil {
		return fmt.Errorf("nothing is mounted at %s", s.host.Root)
	}
	if m := s.at("boot"); m != nil && m.Mountpoint == s.abs("boot") {
		s.boot = m
	}
	for _, dir := range espPaths {
		if m := s.at(dir); m != nil && m.Mountpoint == s.abs(dir) && isFAT(m) && s.tree.isDir(dir+"/EFI") {
			s.esp = m
			break
		}
	}
	s.loaderInfo = s.readLoaderInfo()
	if err := s.findSystemdBoot(); err != nil {
		return err
	}
	return s.findGRUB(ctx)
}

// at is what a path below the root lies on. A path that does not exist lies on nothing.
func (s *site) at(rel string) *mountinfo.Info {
	real, err := s.tree.resolve(rel)
	if err != nil {
		return nil
	}
	return s.mounts.over(s.abs(real))
}

func (s *site) abs(rel string) string { return filepath.Join(s.host.Root, rel) }

// rel is an absolute path below the root without it.
func (s *site) rel(abs string) string { return strings.TrimPrefix(s.seen(abs), "/") }

// findGRUB looks for the directory of the grub.cfg that GRUB reads: the
// configured one, those that grub-install uses, and the EFI partition.
func (s *site) findGRUB(ctx context.Context) error {
	candidates := []string{"boot/grub2", "boot/grub"}
	if s.host.GrubDir != "" {
		candidates = []string{strings.Trim(s.host.GrubDir, "/")}
	}
	for _, dir := range candidates {
		found, err := s.grubAt(dir)
		if err != nil || found {
			return err
		}
	}
	if s.host.GrubDir != "" {
		return fmt.Errorf("the configured directory of GRUB, %s, holds no grub.cfg", s.host.GrubDir)
	}
	stubs, err := s.stubs()
	if err != nil {
		return err
	}
	for _, stub := range stubs {
		dir := stub.dir
		if stub.next != nil {
			dir = s.follow(ctx, *stub.next)
		}
		if dir == "" {
			continue
		}
		if found, err := s.grubAt(dir); err != nil || found {
			return err
		}
	}
	return nil
}

// grubAt takes a directory if it holds a grub.cfg.
func (s *site) grubAt(dir string) (bool, error) {
	dir, err := s.tree.resolve(dir)
	if absent(err) || isNotDir(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	text, err := s.tree.read(dir + "/grub.cfg")
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.grub = &grubSite{dir: dir, mount: s.mounts.over(s.abs(dir)), config: text, relative: followsDefault(text)}
	stubs, err := s.stubs()
	for _, stub := range stubs {
		if stub.next != nil && stub.next.Relative && path.Dir(stub.next.Path) == "/"+dir {
			s.grub.relative = true
		}
	}
	return true, err
}

// stubFile is a grub.cfg on the EFI partition.
type stubFile struct {
	dir  string // relative to the root
	next *reference
}

// stubs are the grub.cfg files in the vendors' directories of the EFI partition.
func (s *site) stubs() ([]stubFile, error) {
	if s.esp == nil {
		return nil, nil
	}
	base := s.rel(s.esp.Mountpoint) + "/EFI"
	vendors, err := s.tree.names(base)
	if err != nil {
		return nil, err
	}
	var found []stubFile
	for _, vendor := range vendors {
		dir := path.Join(base, vendor)
		text, err := s.tree.read(dir + "/grub.cfg")
		if absent(err) || isNotDir(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, stubFile{dir: dir, next: parseStub(text)})
	}
	return found, nil
}

// follow is where the directory that a stub names is mounted, "" where it is
// not. A path of a GRUB that starts at the default subvolume is one of the root.
func (s *site) follow(ctx context.Context, r reference) string {
	dir := path.Dir(r.Path)
	for _, m := range s.mounts {
		if !within(m.Mountpoint, s.host.Root) || !r.Relative && !within(dir, m.Root) || r.Relative && m != s.root {
			continue
		}
		if s.mounts.over(m.Mountpoint) != m || m.Source == "" || m.Source[0] != '/' {
			continue // covered by another, or no disk
		}
		// What has no uuid is not what was searched for.
		if id, err := s.uuid(ctx, m); err != nil || !strings.EqualFold(id, r.UUID) {
			continue
		}
		if r.Relative {
			return strings.TrimPrefix(dir, "/")
		}
		return s.rel(filepath.Join(m.Mountpoint, strings.TrimPrefix(dir, m.Root)))
	}
	return ""
}

// inRoot reports whether GRUB's files are a part of a root, which every
// snapshot of it then has a copy of.
func (s *site) inRoot() bool {
	return s.grub != nil && s.grub.mount.Mountpoint == s.root.Mountpoint
}

// counterAt is the environment block that GRUB can write: its path relative to
// the root, what it lies on, and why there is none.
func (s *site) counterAt() (file string, m *mountinfo.Info, why string) {
	why = "GRUB cannot write its files"
	if s.esp != nil {
		if !readOnly(s.esp) {
			return path.Join(s.rel(s.esp.Mountpoint), "EFI/txupd/grubenv"), s.esp, ""
		}
		why = "the EFI system partition is mounted read-only"
	}
	switch m := s.grub.mount; {
	case !isFAT(m) && !isExt(m):
		if s.esp == nil {
			why = fmt.Sprintf("GRUB cannot write to %s, and no EFI system partition is mounted", m.FSType)
		}
	case readOnly(m):
		why = fmt.Sprintf("%s is mounted read-only", s.seen(m.Mountpoint))
	case mapped(m):
		why = fmt.Sprintf("GRUB cannot write to %s, which is on LVM, RAID or encrypted", s.seen(m.Mountpoint))
	default:
		return path.Join(s.grub.dir, "txupd.env"), m, ""
	}
	return "", nil, why
}

// usesGRUB and usesSystemdBoot tell which loader is ours to write for: the one
// that says it booted this system, else GRUB, whose menu nobody leaves behind by accident.
func (s *site) usesSystemdBoot() bool {
	return s.systemd != nil && (s.grub == nil || strings.HasPrefix(s.loaderInfo, "systemd-boot"))
}

func (s *site) usesGRUB() bool { return s.grub != nil && !s.usesSystemdBoot() }

// menu is the path of our menu relative to the root.
func (g *grubSite) menu() string { return path.Join(g.dir, grubcfg.MenuName) }

func (g *grubSite) hooked() bool { return grubcfg.Hooked(g.config) }

// followsDefault reports whether a grub.cfg says that GRUB resolves paths from
// the default subvolume.
func followsDefault(text []byte) bool {
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		if len(words) < 2 || words[0] != "set" {
			continue
		}
		value, ok := strings.CutPrefix(words[1], "btrfs_relative_path=")
		if ok && strings.HasPrefix(strings.Trim(value, `"'`), "y") {
			return true
		}
	}
	return false
}
