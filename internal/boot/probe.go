// How the machine boots, what follows from it, and what stands in the way.

package boot

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
)

// Mode is how the commit point works on a machine.
type Mode string

// The modes.
const (
	// FollowsDefault: the loader and the kernel both follow the default subvolume.
	FollowsDefault Mode = "default-subvolume"
	// FollowsMenu: what boots next is what our menu says.
	FollowsMenu Mode = "boot-menu"
	// Unsupported: nothing that we can change decides it.
	Unsupported Mode = "unsupported"
)

// Problem is something that an administrator should know.
type Problem struct {
	What string `json:"what"`
	// Remedy says what to do about it.
	Remedy string `json:"remedy"`
	// Blocks: no transaction can begin until then.
	Blocks bool `json:"blocks"`
}

// Facts are what was found. Paths are absolute, as the system itself sees them.
type Facts struct {
	Mode Mode `json:"mode"`
	// Why is one sentence: what follows from what was found.
	Why      string    `json:"why"`
	Problems []Problem `json:"problems"`

	// Loader is "grub", "grub (follows the default subvolume)", "systemd-boot", or "".
	Loader string `json:"loader"`
	// RootFlags is the word of the kernel command line that pins the root, or "".
	RootFlags string `json:"root_flags"`
	// Fstab are the options of "/" in fstab that pin the root, or "".
	Fstab string `json:"fstab"`
	// RootUUID is the uuid of the root's file system.
	RootUUID string `json:"root_uuid"`

	GrubDir        string `json:"grub_dir"`
	GrubConfig     string `json:"grub_config"`
	GrubFilesystem string `json:"grub_filesystem"`
	// Hooked: grub.cfg loads our menu.
	Hooked bool `json:"hooked"`
	// InRoot: GRUB's files are part of a root, so each snapshot would have a copy.
	InRoot bool `json:"in_root"`

	// Counter is where GRUB counts the tries of a trial. It is nil where the
	// loader cannot count in a file; systemd-boot counts in names of files.
	Counter *grubcfg.EnvFile `json:"counter"`
	// CounterFile is where that is here.
	CounterFile string `json:"counter_file"`
	// Counts reports that trial boots can be counted, in whichever way.
	Counts bool `json:"counts"`
	// Once reports that a snapshot can be booted one time.
	Once bool `json:"once"`

	// Boot is a /boot apart from the root, or where systemd-boot's kernels are; nil: kernels are in the root.
	Boot *Partition `json:"boot"`
	// ESP is the EFI system partition, nil where none is mounted.
	ESP *Partition `json:"esp"`
}

// Err is an error of kind ErrNotSupported that says all that keeps a
// transaction from beginning, nil if there is nothing.
func (f Facts) Err() error {
	var words []string
	for _, p := range f.Problems {
		if p.Blocks {
			words = append(words, p.What+"; "+p.Remedy)
		}
	}
	if len(words) == 0 && f.Mode == Unsupported {
		words = append(words, f.Why)
	}
	if len(words) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", fault.ErrNotSupported, strings.Join(words, "; "))
}

// Probe finds out how the machine boots. It reads a few files and the mounts,
// and asks blkid for two or three uuids: cheap enough to be asked each time.
func (b *Boot) Probe(ctx context.Context) (Facts, error) {
	s, err := b.look(ctx)
	if err != nil {
		return Facts{}, err
	}
	defer s.Close()
	f := Facts{RootFlags: pinnedBy(b.host.CommandLine), Problems: []Problem{}}
	if f.Fstab, err = s.pinnedInFstab(); err != nil {
		return Facts{}, err
	}
	f.RootUUID, err = s.uuid(ctx, s.root)
	if err != nil && (s.usesGRUB() || s.usesSystemdBoot()) {
		return Facts{}, err // only entries of a menu need it
	}
	if s.esp != nil {
		if f.ESP, err = s.partition(ctx, s.esp); err != nil {
			return Facts{}, err
		}
	}
	if m := s.kernels(); m != nil {
		if f.Boot, err = s.partition(ctx, m); err != nil {
			return Facts{}, err
		}
	}
	switch {
	case s.usesSystemdBoot():
		err = f.systemdBoot(s)
	case s.usesGRUB():
		err = f.grub(ctx, s)
	default:
		f.noLoader(s)
		err = nil
	}
	return f, err
}

func (f *Facts) problem(blocks bool, what, remedy string) {
	f.Problems = append(f.Problems, Problem{What: what, Remedy: remedy, Blocks: blocks})
}

// pinned is why the kernel does not follow the default subvolume, "" where it does.
func (f *Facts) pinned() (what, remedy string) {
	switch {
	case f.RootFlags != "":
		return fmt.Sprintf("the kernel command line pins the root (%s), so the default subvolume does not decide what boots", f.RootFlags),
			"remove it from the boot loader's configuration"
	case f.Fstab != "":
		return fmt.Sprintf("/etc/fstab pins the root (%s), so the default subvolume does not decide what boots", f.Fstab),
			"remove that option of / there"
	}
	return "", ""
}

// followDefault is the mode of a loader that has no menu of ours.
func (f *Facts) followDefault(why string) {
	if what, remedy := f.pinned(); what != "" {
		f.Mode, f.Why = Unsupported, what
		f.problem(true, what, remedy)
		return
	}
	f.Mode, f.Why = FollowsDefault, why
}

func (f *Facts) noLoader(s *site) {
	if strings.HasPrefix(s.loaderInfo, "systemd-boot") {
		f.Mode, f.Why = Unsupported, "systemd-boot booted this system, and its partition is not mounted, so nothing here decides what boots"
		f.problem(true, f.Why, "mount it at /efi, /boot or /boot/efi")
		return
	}
	f.followDefault("the kernel is told no subvolume, so it mounts the default one; no boot loader was found that could do otherwise")
	if f.Mode == FollowsDefault {
		f.problem(false, "no boot loader was found (no grub.cfg in /boot/grub2, /boot/grub or on an EFI system partition, no systemd-boot), so nothing shows that the default subvolume is what boots, and trial boots cannot be counted",
			"where there is one, mount its partition")
	}
}

func (f *Facts) grub(ctx context.Context, s *site) error {
	g := s.grub
	f.Loader = "grub"
	f.GrubDir, f.GrubConfig = "/"+g.dir, "/"+g.dir+"/grub.cfg"
	f.GrubFilesystem, f.Hooked, f.InRoot = g.mount.FSType, g.hooked(), s.inRoot()
	if s.grub.relative {
		f.Loader = "grub (follows the default subvolume)"
		f.followDefault("GRUB and the kernel both follow the default subvolume; GRUB cannot count trial boots then, so a snapshot that does not come up has to be left by hand")
		return nil
	}
	f.Mode, f.Why = FollowsMenu, "GRUB boots what the menu says"
	if err := f.grubCounter(ctx, s); err != nil {
		return err
	}
	return f.grubProblems(ctx, s)
}

func (f *Facts) grubCounter(ctx context.Context, s *site) error {
	file, m, why := s.counterAt()
	if m == nil {
		f.Why += "; trial boots cannot be counted (" + why + "), so a snapshot that does not come up has to be left by hand"
		return nil
	}
	id, err := s.uuid(ctx, m)
	if err != nil {
		return err
	}
	f.Counter = &grubcfg.EnvFile{UUID: id, Path: inside(m, s.abs(file))}
	if err := f.Counter.Validate(); err != nil {
		f.Why += fmt.Sprintf("; trial boots cannot be counted (%v), so a snapshot that does not come up has to be left by hand", err)
		f.Counter = nil
		return nil
	}
	f.CounterFile, f.Counts, f.Once = "/"+file, true, true
	f.Why += "; it counts trial boots in " + f.CounterFile
	return nil
}

func (f *Facts) grubProblems(ctx context.Context, s *site) error {
	const setup = `run "txctl setup"`
	elsewhere, err := s.elsewhere(ctx)
	if err != nil {
		return err
	}
	unfinished, err := s.moveUnfinished(ctx)
	if err != nil {
		return err
	}
	switch {
	case f.InRoot:
		f.problem(true, fmt.Sprintf("GRUB's files (%s) are part of the root, so each snapshot has a copy that GRUB does not read", f.GrubDir), setup)
	case elsewhere != nil && unfinished:
		f.problem(true, fmt.Sprintf("GRUB reads %s of its file system, and %s is another file", elsewhere.Path, f.GrubConfig), setup)
	case elsewhere != nil:
		f.problem(true, fmt.Sprintf("GRUB reads %s of its file system, and %s is another file", elsewhere.Path, f.GrubConfig),
			"mount what GRUB reads, or name its directory in the configuration (boot.grub-directory)")
	case unfinished:
		f.problem(true, fmt.Sprintf("GRUB's files were not moved to %s completely: /etc/fstab does not mount them", f.GrubDir), setup)
	case !f.Hooked:
		f.problem(true, fmt.Sprintf("%s does not load the boot menu of txupd", f.GrubConfig), setup)
	}
	if readOnly(s.grub.mount) && !f.InRoot {
		f.problem(true, fmt.Sprintf("%s, which holds GRUB's menu, is mounted read-only", s.seen(s.grub.mount.Mountpoint)), "mount it writable")
	}
	if f.Boot != nil && readOnly(s.kernels()) {
		f.problem(true, fmt.Sprintf("%s, which kernels are copied to, is mounted read-only", f.Boot.Mount), "mount it writable")
	}
	return nil
}

// elsewhere is the grub.cfg that the files on the EFI partition send GRUB to,
// where that is another one of the same file system than the one found. One that
// leads to ours is enough: the others belong to other systems.
func (s *site) elsewhere(ctx context.Context) (*reference, error) {
	stubs, err := s.stubs()
	if err != nil || len(stubs) == 0 {
		return nil, err
	}
	ours, err := s.uuid(ctx, s.grub.mount)
	if err != nil {
		return nil, err
	}
	want := path.Join(inside(s.grub.mount, s.abs(s.grub.dir)), "grub.cfg")
	var found *reference
	for _, stub := range stubs {
		switch r := stub.next; {
		case s.grub.dir == stub.dir || r != nil && strings.EqualFold(r.UUID, ours) && r.Path == want:
			return nil, nil
		case r != nil && strings.EqualFold(r.UUID, ours):
			found = r
		}
	}
	return found, nil
}

// kernels is what kernels have to be copied to, nil where the loader reads them in the root.
func (s *site) kernels() *mountinfo.Info {
	if s.usesSystemdBoot() {
		return s.systemd.boot
	}
	return s.boot
}

// pinnedBy is the word of a kernel command line that names a subvolume.
func pinnedBy(commandLine string) string {
	flags, _ := grubcfg.Parameter(commandLine, "rootflags")
	if subvolumeOptions(flags) == "" {
		return ""
	}
	return "rootflags=" + flags
}

// subvolumeOptions are the mount options that name a subvolume.
func subvolumeOptions(options string) string {
	var found []string
	for option := range strings.SplitSeq(options, ",") {
		if strings.HasPrefix(option, "subvol=") || strings.HasPrefix(option, "subvolid=") {
			found = append(found, option)
		}
	}
	return strings.Join(found, ",")
}

func (s *site) pinnedInFstab() (string, error) {
	text, err := s.tree.read("etc/fstab")
	if absent(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read how the root is mounted: %w", err)
	}
	line, ok := parseFstab(text).at("/")
	if !ok {
		return "", nil
	}
	return subvolumeOptions(line.options), nil
}
