// Whether what boots next needs another kernel than the one that runs.

package update

import (
	"fmt"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/pkg/grubcfg"
	"github.com/txupd/txupd/pkg/snapshot"
)

// SameKernel is the subvolume of what boots next, where it boots the kernel that
// runs, with the same command line. Else it is an error that says what differs.
func (u *Updater) SameKernel() (subvolume uint64, err error) {
	r, err := u.roles()
	if err != nil {
		return 0, err
	}
	v, ok := r.pending()
	if !ok {
		return 0, fmt.Errorf("snapshot %d, which runs, also boots next", r.booted.number)
	}
	if once, err := u.Boot.OnceIs(); err != nil || once != nil {
		if err == nil {
			err = fmt.Errorf("the boot loader is to boot snapshot %d once", *once)
		}
		return 0, err
	}
	if v.rec.BootEntry == nil || u.CommandLine == "" {
		return 0, fmt.Errorf("with which kernel command line snapshot %d boots is the boot loader's", v.number)
	}
	running, err := boot.RunningBuild()
	if err != nil {
		return 0, err
	}
	next, err := boot.BuildOf(u.Store.Path(v.number, snapshot.RoleSnapshot))
	if err != nil {
		return 0, fmt.Errorf("whether the kernel of snapshot %d is the one that runs cannot be told: %w", v.number, err)
	}
	if next.Release != running.Release {
		return 0, fmt.Errorf("the kernel changes from %s to %s", running.Release, next.Release)
	}
	if next != running {
		return 0, fmt.Errorf("kernel %s is another build of its version", next.Release)
	}
	if now, then := parameters(u.CommandLine), parameters(v.rec.BootEntry.CommandLine); !slices.Equal(now, then) {
		return 0, fmt.Errorf("the kernel command line changes from %q to %q", strings.Join(now, " "), strings.Join(then, " "))
	}
	return uint64(v.subvolume.ID), nil
}

// parameters are those of a kernel command line that neither choose a root nor
// were added to the entry of a menu by us.
func parameters(line string) []string {
	return slices.DeleteFunc(strings.Fields(grubcfg.CommandLine(line)), func(word string) bool {
		name, _, _ := strings.Cut(word, "=")
		return name == "panic" || word == "rd.shell=0" || word == "rd.emergency=reboot"
	})
}
