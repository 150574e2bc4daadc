// Kernels on a boot partition: copied there under the hash of their content, so
// that snapshots share them and a rollback needs no new room.

package boot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"path"
	"regexp"
	"strings"

	"github.com/txupd/txupd/internal/fault"
)

// stagedDir is the directory of our files on the boot partition.
const stagedDir = "txupd"

// stagedName: nothing else in the directory is ever removed.
var stagedName = regexp.MustCompile(`^[0-9a-f]{64}-(vmlinuz|initrd)$`)

// slack is what is left free on the boot partition beside kernels, for the menu
// and for what file systems need themselves.
const slack = 2 << 20

// stagedFile is one file that has to be on the boot partition.
type stagedFile struct {
	from string // relative to the snapshot
	name string // in the directory
	size int64
}

// Stage puts a snapshot's kernel where the loader reads it, and returns it with
// the paths there. Where the loader reads it in the snapshot nothing is copied.
// What is there already, with the same content, serves again. It is durable when
// Stage returns, and fault.ErrNoSpace, with nothing copied, if it does not fit.
func (b *Boot) Stage(ctx context.Context, root string, k Kernel) (Kernel, error) {
	s, err := b.look(ctx)
	if err != nil {
		return Kernel{}, err
	}
	defer s.Close()
	m := s.kernels()
	if m == nil {
		return k, nil
	}
	from, err := openTree(root)
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot copy the kernel: %w", err)
	}
	defer from.Close()
	staged, err := s.stage(ctx, from, k)
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot copy kernel %s to %s: %w", k.Version, s.seen(m.Mountpoint), err)
	}
	staged.BootUUID, err = s.uuid(ctx, m)
	return staged, err
}

func (s *site) stage(ctx context.Context, from *tree, k Kernel) (Kernel, error) {
	dir := s.stagedDir()
	files := append([]string{k.Kernel}, k.Initrd...)
	// A file may claim any size, and reading one that could never fit takes its time.
	_, most, err := space(s.kernels().Mountpoint)
	if err != nil {
		return Kernel{}, err
	}
	var missing []stagedFile
	for i, file := range files {
		role := "initrd"
		if i == 0 {
			role = "vmlinuz"
		}
		sum, size, err := digest(ctx, from, file, most)
		if err != nil {
			return Kernel{}, err
		}
		f := stagedFile{from: file, name: sum + "-" + role, size: size}
		// A file of that name may be older than a flush that never came.
		if found, _, err := digest(ctx, s.tree, path.Join(dir, f.name), math.MaxInt64); err != nil && !absent(err) {
			return Kernel{}, err
		} else if found != sum {
			missing = append(missing, f)
		}
		files[i] = inside(s.kernels(), s.abs(path.Join(dir, f.name)))
	}
	k.Kernel, k.Initrd = files[0], files[1:]
	if len(missing) == 0 {
		return k, nil
	}
	need := int64(0)
	for _, f := range missing {
		need += f.size
	}
	if err := s.room(uint64(need), "this kernel with its initial ramdisk"); err != nil {
		return Kernel{}, err
	}
	return k, s.copy(ctx, from, missing)
}

// copy puts files on the boot partition. What was copied before one failed
// stays for Sweep.
func (s *site) copy(ctx context.Context, from *tree, files []stagedFile) error {
	w, err := s.settler(s.stagedDir())
	if err != nil {
		return err
	}
	defer w.Close()
	for _, f := range files {
		if err := s.copyStaged(ctx, from, f); err != nil {
			return err
		}
	}
	return w.settle()
}

func (s *site) copyStaged(ctx context.Context, from *tree, f stagedFile) error {
	source, _, err := from.file(f.from)
	if err != nil {
		return err
	}
	defer source.Close()
	h := sha256.New()
	return s.replace(path.Join(s.stagedDir(), f.name), io.TeeReader(patient{ctx, source}, h), 0o644, func(string) error {
		if hex.EncodeToString(h.Sum(nil)) != f.name[:64] {
			return fmt.Errorf("%s changed while it was copied", source.Name())
		}
		return nil
	})
}

// stagedDir is the directory of our kernels relative to the root.
func (s *site) stagedDir() string {
	return path.Join(s.rel(s.kernels().Mountpoint), stagedDir)
}

// patient is a reader that heeds a context.
type patient struct {
	ctx context.Context
	io.Reader
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.Reader.Read(b)
}

// digest reads a file, unless that is larger than most.
func digest(ctx context.Context, t *tree, name string, most uint64) (sum string, size int64, err error) {
	f, info, err := t.file(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	if uint64(info.Size()) > most {
		return "", 0, fmt.Errorf("%w: %s has %d bytes, and all of the boot partition %d", fault.ErrNoSpace, f.Name(), info.Size(), most)
	}
	h := sha256.New()
	if size, err = io.Copy(h, patient{ctx, f}); err != nil {
		return "", 0, fmt.Errorf("cannot read %s: %w", f.Name(), err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// Room reports, before anything is changed, whether the boot partition could
// take one more kernel and initial ramdisk as large as the largest in root. It
// is fault.ErrNoSpace where not, and nil where no partition is separate.
func (b *Boot) Room(ctx context.Context, root string) error {
	s, err := b.look(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.kernels() == nil {
		return nil
	}
	kernel, initrd, err := largest(root)
	if err != nil {
		return err
	}
	if kernel == 0 || initrd == 0 {
		// A snapshot whose /boot is only the place to mount the partition at.
		k, i, err := largest(b.host.Root)
		if err != nil {
			return err
		}
		kernel, initrd = max(kernel, k), max(initrd, i)
	}
	// The next version is a little larger than the last.
	return s.room(uint64(kernel+initrd)*11/10, "one more kernel with its initial ramdisk")
}

// room is fault.ErrNoSpace unless the boot partition has so many bytes to spare.
func (s *site) room(need uint64, what string) error {
	m := s.kernels()
	free, _, err := space(m.Mountpoint)
	if err != nil {
		return err
	}
	if need += slack; free < need {
		const mib = 1 << 20
		return fmt.Errorf("%w: %s (%s, %s) has %d MiB free, and %s needs %d MiB; delete snapshots whose kernels nobody needs, or other files there",
			fault.ErrNoSpace, s.seen(m.Mountpoint), m.Source, m.FSType, free/mib, what, (need+mib-1)/mib)
	}
	return nil
}

// largest are the sizes of the largest kernel and initial ramdisk in root/boot.
func largest(root string) (kernel, initrd int64, err error) {
	t, err := openTree(root)
	if err != nil {
		return 0, 0, err
	}
	defer t.Close()
	found, err := images(t)
	if err != nil {
		return 0, 0, err
	}
	size := func(name string) int64 {
		f, info, err := t.file(name)
		if err != nil {
			return 0 // it is not there, or no file that a kernel is
		}
		defer f.Close()
		return info.Size()
	}
	for version, image := range found {
		kernel = max(kernel, size(image))
		for _, name := range initrdNames(version) {
			initrd = max(initrd, size("boot/"+name))
		}
	}
	return kernel, initrd, nil
}

// Sweep removes the staged files that none of the kernels refers to, and what
// an interrupted write left. What the menu on disk names stays in any case.
func (b *Boot) Sweep(ctx context.Context, keep []Kernel) error {
	s, err := b.look(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.sweepAsides(); err != nil {
		return fmt.Errorf("cannot remove what was not written to its end: %w", err)
	}
	if s.kernels() == nil {
		return nil
	}
	if err := s.sweep(keep); err != nil {
		return fmt.Errorf("cannot remove old kernels from %s: %w", s.seen(s.kernels().Mountpoint), err)
	}
	return nil
}

func (s *site) sweep(keep []Kernel) error {
	names, err := s.tree.names(s.stagedDir())
	if err != nil || len(names) == 0 {
		return err
	}
	menus, err := s.menuTexts()
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, k := range keep {
		for _, file := range append([]string{k.Kernel}, k.Initrd...) {
			needed[path.Base(file)] = true
		}
	}
	d, err := s.directory(s.stagedDir())
	if err != nil {
		return err
	}
	defer d.Close()
	removed := false
	for _, name := range names {
		old := stagedName.MatchString(name) && !needed[name] && !strings.Contains(menus, name)
		if complete, ok := strings.CutSuffix(strings.TrimPrefix(name, "."), asideSuffix); ok {
			old = stagedName.MatchString(complete)
		}
		if !old {
			continue
		}
		if err := remove(d, name); err != nil {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return d.Sync()
}

// menuTexts is all that the loader's files of ours say.
func (s *site) menuTexts() (string, error) {
	if s.usesSystemdBoot() {
		return s.entryTexts()
	}
	if !s.usesGRUB() {
		return "", nil
	}
	text, err := s.tree.read(s.grub.menu())
	if absent(err) {
		return "", nil
	}
	return string(text), err
}
