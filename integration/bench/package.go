// Installing a package in a transaction, against apt-get in the same root.

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

const benchPackage = "bench-package"

// prepare gives the root a small package to install, in a repository of its own,
// and lets no snapshot go by itself: what is measured decides how many there are.
func (s *stage) prepare(root string) error {
	if err := compile("int main(void) { return 0; }", filepath.Join(root, emptyCommand)); err != nil {
		return err
	}
	settings := filepath.Join(root, config.AdminFile)
	if err := errors.Join(os.MkdirAll(filepath.Dir(settings), 0o755), os.WriteFile(settings, []byte("[gc]\nautomatic = false\n"), 0o644)); err != nil {
		return err
	}
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("/usr/share/%s/file-%d", benchPackage, i)] = strings.Repeat("benchmark\n", 400)
	}
	return testbed.UseDebRepo(s.ctx, root, testbed.Deb{Name: benchPackage, Version: "1.0", Files: files})
}

// packageAdd compares times, and then flushes of the disk under strace.
func (s *stage) packageAdd() error {
	var ours, plain sample
	for i := range s.runs + 1 {
		if err := s.settle(); err != nil {
			return err
		}
		p, err := s.plain(false)
		if err != nil {
			return err
		}
		if err := s.settle(); err != nil {
			return err
		}
		o, err := timed(func() error { return s.addPackage() })
		if err != nil {
			return err
		}
		if err := s.tidy(); err != nil {
			return err
		}
		if i > 0 {
			ours, plain = append(ours, o), append(plain, p.took)
		}
	}
	report("pkg add of a small cached package : plain apt-get install", ours.median(), plain.median(), "bar 1.1")
	var around sample
	for range s.runs {
		if err := s.settle(); err != nil {
			return err
		}
		took, err := timed(func() error { return s.txctl("pkg", "add", benchPackage) })
		if err != nil {
			return err
		}
		inside, err := s.lastTook()
		if err != nil {
			return err
		}
		around = append(around, took-inside)
		if err := s.tidy(); err != nil {
			return err
		}
	}
	value("txctl pkg add, without the transaction itself", ms(around.median()), "bar 50 ms")
	counted, err := s.plain(true)
	if err != nil {
		return err
	}
	inTransaction, err := s.flushes()
	if err != nil {
		return err
	}
	value("disk flushes of plain apt-get install", strconv.Itoa(counted.flushes), "counted in the kernel's write-out")
	value("disk flushes of pkg add, all of txupd's included", strconv.Itoa(inTransaction), "bar: fewer")
	return nil
}

// lastTook is how long the pending snapshot's transaction took, by its record.
func (s *stage) lastTook() (time.Duration, error) {
	st, err := s.client.Status(s.ctx)
	if err != nil {
		return 0, err
	}
	if st.Pending == nil {
		return 0, errors.New("nothing is pending")
	}
	rec, err := s.client.Show(s.ctx, st.Pending.Number)
	if err != nil {
		return 0, err
	}
	return rec.Finished.Sub(rec.Created), nil
}

func (s *stage) addPackage() error {
	t, err := s.client.PackageAdd(s.ctx, []string{benchPackage}, client.About{})
	if err != nil {
		return err
	}
	out, err := t.Wait(s.ctx)
	if err != nil {
		return err
	}
	if out.Phase != record.Committed {
		return errors.New(out.ErrorMessage)
	}
	return nil
}

type plainRun struct {
	took    time.Duration
	flushes int
}

// plain installs the package with apt-get in a writable fork of the same root.
func (s *stage) plain(count bool) (plainRun, error) {
	d := btrfs.Driver{}
	dir := filepath.Join(s.machine.Root, ".snapshots/plain")
	if err := d.Fork(s.machine.Root, dir, false); err != nil {
		return plainRun{}, err
	}
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "sh", "-c",
		`mount --bind "$1" "$1" && mount -t proc proc "$1/proc" && mount -t tmpfs none "$1/run" && mount -t tmpfs none "$1/tmp" && mount --rbind /dev "$1/dev" && exec chroot "$1" apt-get -y -q install `+benchPackage, "sh", dir)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	var r plainRun
	work := func() error {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get: %w: %s", err, out)
		}
		return nil
	}
	var err error
	if count {
		r.flushes, err = s.countFlushes(work)
	} else {
		r.took, err = timed(work)
	}
	info, e := d.Info(dir)
	return r, errors.Join(err, e, d.Delete(dir, info.ID))
}

func (s *stage) flushes() (int, error) {
	n, err := s.countFlushes(s.addPackage)
	return n, errors.Join(err, s.tidy())
}

// countFlushes counts the flush requests that reached the loop device.
func (s *stage) countFlushes(work func() error) (int, error) {
	before, err := deviceFlushes(s.machine.Device)
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := deviceFlushes(s.machine.Device)
	return after - before, err
}

// deviceFlushes reads the flush counter of a block device: Documentation/block/stat.rst, field 16.
func deviceFlushes(device string) (int, error) {
	raw, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 16 {
		return 0, errors.New("this kernel does not count flushes")
	}
	return strconv.Atoi(fields[15])
}
