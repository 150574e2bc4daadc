// Package machine is a virtual machine that really boots: firmware, GRUB,
// kernel, systemd. Tests talk to it through an agent in the guest and over the
// serial console, cut its power, and save it as it runs, so that a boot that
// many tests begin with is paid for once.
//
// It needs root and what `scripts/deps machine` installs. The processor is
// emulated: a boot takes half a minute, so count boots.
package machine

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/testbed"
)

// Variant is a way in which a machine is installed.
type Variant struct {
	// BootMiB is the size of a separate ext4 /boot; 0: /boot is in the root.
	BootMiB int
}

func (v Variant) String() string {
	if v.BootMiB > 0 {
		return fmt.Sprintf("boot%dM", v.BootMiB)
	}
	return "plain"
}

// disks are the names of the images, in the order in which the guest sees them:
// vda, vdb, vdc.
func (v Variant) disks() []string {
	if v.BootMiB > 0 {
		return []string{"esp", "system", "boot"}
	}
	return []string{"esp", "system"}
}

// Image is a machine that is off, or saved as it ran. It is never written:
// every machine started from it has disks of its own on top.
type Image struct {
	Variant Variant
	// Dir holds the disks, the firmware's variables, and the memory of a saved machine.
	Dir string
}

// state is the memory of a saved machine.
func (i Image) state() string { return filepath.Join(i.Dir, "state") }

// Saved reports whether the machine was saved as it ran.
func (i Image) Saved() bool {
	_, err := os.Stat(i.state())
	return err == nil
}

// disk is the path of one disk and its format.
func (i Image) disk(name string) (path, format string) {
	path = filepath.Join(i.Dir, name+".raw")
	if _, err := os.Stat(path); err == nil {
		return path, "raw"
	}
	return filepath.Join(i.Dir, name+".qcow2"), "qcow2"
}

// key tells images apart: it is part of the name of the directory.
func (i Image) key() string { return filepath.Base(i.Dir) }

//go:embed assemble.sh
var assembleScript string

//go:embed inject.sh
var injectScript string

const systemMiB = 6144

// firstBoot installs the boot loader as Debian's installer does.
var firstBoot = [][]string{
	{"grub-install", "--target=x86_64-efi", "--efi-directory=/boot/efi", "--bootloader-id=debian", "--recheck"},
	{"update-grub"},
	{"sync"},
}

// Base is a Debian with GRUB, kernel and systemd, and nothing of txupd. It is
// built once, in some minutes, and kept; what the building says goes to log.
func Base(ctx context.Context, v Variant, log io.Writer) (Image, error) {
	if err := needed("qemu-system-x86_64", "qemu-img", "mformat", "sfdisk", "mkfs.ext4", "mkfs.btrfs", "dpkg-scanpackages", "unshare"); err != nil {
		return Image{}, err
	}
	tarball, err := testbed.BuildRoot(ctx, rootSpec(), log)
	if err != nil {
		return Image{}, err
	}
	inputs := []string{
		filepath.Base(tarball), assembleScript, fmt.Sprint(systemMiB, v.BootMiB, masked(), files(v), links), fmt.Sprint(firstBoot),
		SystemUUID, BootUUID, espSerial,
	}
	dir, err := testbed.Cached(ctx, "machine-base-"+v.String(), inputs, func(ctx context.Context, path, scratch string) error {
		return assemble(ctx, v, tarball, path, scratch, log)
	})
	return Image{Variant: v, Dir: dir}, err
}

// assemble makes the disks in dir and boots them once to install the boot loader.
func assemble(ctx context.Context, v Variant, tarball, dir, scratch string, log io.Writer) error {
	began := time.Now()
	tree := filepath.Join(scratch, "files")
	if err := writeFiles(tree, files(v)); err != nil {
		return err
	}
	all := map[string]string{}
	for _, path := range masked() {
		all[path] = "/dev/null"
	}
	for path, target := range links {
		all[path] = target
	}
	if err := makeLinks(tree, all); err != nil {
		return err
	}
	if err := buildAgent(ctx, filepath.Join(tree, agentPath)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	env := []string{"SYSTEM_UUID=" + SystemUUID, "BOOT_UUID=" + BootUUID, "ESP_SERIAL=" + espSerial}
	if err := isolated(ctx, env, assembleScript, dir, tarball, tree, fmt.Sprint(systemMiB), fmt.Sprint(v.BootMiB)); err != nil {
		return err
	}
	_, vars, err := firmware()
	if err != nil {
		return err
	}
	if err := runTool(ctx, "qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", vars, filepath.Join(dir, "vars.qcow2")); err != nil {
		return err
	}
	fmt.Fprintf(log, "the disks of %s were made in %.0f s\n", v, time.Since(began).Seconds())
	return installLoader(ctx, Image{Variant: v, Dir: dir}, scratch, log)
}

// installLoader boots the disks without a boot loader and lets Debian's own
// tools install theirs.
func installLoader(ctx context.Context, img Image, scratch string, log io.Writer) error {
	began := time.Now()
	kernel, initrd := filepath.Join(img.Dir, "kernel"), filepath.Join(img.Dir, "initrd")
	vm, err := Start(ctx, img, Options{
		Dir: filepath.Join(scratch, "vm"), inPlace: true,
		kernel: kernel, initrd: initrd, append: "root=UUID=" + SystemUUID + " rootflags=subvol=@rootfs ro " + commandLine,
	})
	if err != nil {
		return err
	}
	defer vm.Close()
	err = func() error {
		if err := started(ctx, vm); err != nil {
			return err
		}
		for _, argv := range firstBoot {
			r, err := vm.Run(ctx, argv...)
			if err != nil {
				return err
			}
			if r.Exit != 0 {
				return fmt.Errorf("%s: exit %d\n%s%s", strings.Join(argv, " "), r.Exit, r.Stdout, r.Stderr)
			}
		}
		return vm.Shutdown(ctx)
	}()
	if err != nil {
		return fmt.Errorf("%w\nthe console said:\n%s", err, vm.Console())
	}
	if err := errors.Join(os.Remove(kernel), os.Remove(initrd)); err != nil {
		return err
	}
	fmt.Fprintf(log, "the boot loader of %s was installed in %.0f s\n", img.Variant, time.Since(began).Seconds())
	return nil
}

// Install is Base with a tree of files copied over its root and the present
// agent, booted once from cold and saved when all units have started. What the
// boot showed on the console is beside it (Image.FirstConsole).
//
// Our own files are put on the disk and not into Base, so that a change of ours
// costs one boot and not the building of a system; and saved as it runs, so that
// it is one boot for all tests.
func Install(ctx context.Context, v Variant, tree string, log io.Writer) (Image, error) {
	base, err := Base(ctx, v, log)
	if err != nil {
		return Image{}, err
	}
	scratch, err := os.MkdirTemp("", "machine-agent-")
	if err != nil {
		return Image{}, err
	}
	defer os.RemoveAll(scratch)
	// The mode of a tree's top becomes that of the root.
	agent := filepath.Join(scratch, "root")
	if err := buildAgent(ctx, filepath.Join(agent, agentPath)); err != nil {
		return Image{}, err
	}
	trees := []string{tree, agent}
	inputs := []string{base.key(), injectScript}
	for _, t := range trees {
		hash, err := hashTree(t)
		if err != nil {
			return Image{}, err
		}
		inputs = append(inputs, hash)
	}
	return derived(ctx, "installed", base, inputs, log, func(ctx context.Context, disks Image) error {
		for _, t := range trees {
			if err := isolated(ctx, nil, injectScript, filepath.Join(disks.Dir, "system.raw"), t); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// Derive starts a machine from an image, runs work in it and saves it as it
// runs then. The result is kept under the image's key and inputs, which must
// name everything that decides what work does.
func Derive(ctx context.Context, name string, from Image, inputs []string, log io.Writer, work func(ctx context.Context, vm *VM) error) (Image, error) {
	return derived(ctx, name, from, append([]string{from.key()}, inputs...), log, nil, work)
}

// derived copies and changes the disks where change is given, boots or resumes
// the machine, runs work, and saves it.
func derived(ctx context.Context, name string, from Image, inputs []string, log io.Writer,
	change func(context.Context, Image) error, work func(context.Context, *VM) error,
) (Image, error) {
	version, err := exec.CommandContext(ctx, "qemu-system-x86_64", "--version").Output()
	if err != nil {
		return Image{}, err
	}
	inputs = append(inputs, string(version), strings.Join(hardware(), " "), runtime.GOARCH)
	dir, err := testbed.Cached(ctx, "machine-"+name+"-"+from.Variant.String(), inputs, func(ctx context.Context, path, scratch string) error {
		began := time.Now()
		if change != nil {
			disks := Image{Variant: from.Variant, Dir: filepath.Join(scratch, "disks")}
			if err := runTool(ctx, "cp", "-r", "--sparse=always", from.Dir, disks.Dir); err != nil {
				return err
			}
			if err := change(ctx, disks); err != nil {
				return err
			}
			from = disks
		}
		vm, err := Start(ctx, from, Options{Dir: filepath.Join(scratch, "vm")})
		if err != nil {
			return err
		}
		defer vm.Close()
		err = started(ctx, vm)
		if err == nil && work != nil {
			err = work(ctx, vm)
		}
		if err == nil {
			err = vm.Save(ctx, path)
		}
		if err != nil {
			return fmt.Errorf("%w\nthe console said:\n%s", err, vm.Console())
		}
		fmt.Fprintf(log, "the machine %s (%s) was made in %.0f s\n", name, from.Variant, time.Since(began).Seconds())
		return nil
	})
	if err != nil {
		return Image{}, err
	}
	return Image{Variant: from.Variant, Dir: dir}, forget(dir)
}

// started waits for a boot without failures. Where one has failed, the journal says why.
func started(ctx context.Context, vm *VM) error {
	failed, err := vm.WaitStarted(ctx)
	if err != nil || len(failed) == 0 {
		return err
	}
	args := []string{"journalctl", "--boot", "--no-pager", "--quiet", "--lines=50"}
	for _, unit := range failed {
		args = append(args, "--unit="+unit)
	}
	journal, err := vm.Run(ctx, args...)
	if err != nil {
		return err
	}
	return fmt.Errorf("units have failed: %s\n%s", strings.Join(failed, ", "), journal.Stdout)
}

// keptFor is how long images with other files of ours are kept: a gigabyte each.
const keptFor = 2 * time.Hour

// forget removes the images that were made before in the place of dir.
func forget(dir string) error {
	_, name, _ := strings.Cut(filepath.Base(dir), "-")
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(filepath.Dir(dir), entry.Name())
		if path == dir || !entry.IsDir() || !strings.HasSuffix(entry.Name(), "-"+name) {
			continue
		}
		info, err := entry.Info()
		if err != nil || time.Since(info.ModTime()) < keptFor {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// FirstConsole is what the console showed until the machine was saved.
func (i Image) FirstConsole() (string, error) {
	text, err := os.ReadFile(filepath.Join(i.Dir, "console"))
	return string(text), err
}
