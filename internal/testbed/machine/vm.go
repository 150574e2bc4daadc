// A machine as a test uses it.

package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/txupd/txupd/internal/testbed/machine/wire"
)

// Boot is a boot that reached user space.
type Boot = wire.Boot

// Options of a machine.
type Options struct {
	// Dir is made for the machine's own disks and removed when it is closed; "" is a temporary one.
	Dir string
	// Log gets a line for every boot with the time that it took; nil discards them.
	Log io.Writer
	// WriteLog is a file that gets what the guest writes to the disk with the
	// system from the first start on, until the first cut: see OpenWriteLog.
	WriteLog string

	inPlace                bool // writes to the image itself
	kernel, initrd, append string
}

// VM is a machine that is on or off. Its methods may be called from several goroutines.
type VM struct {
	image Image
	opts  Options
	dir   string
	con   *console

	changes          // guards what follows
	process *process // nil while it is off
	session *session
	monitor *monitor
	boots   []Boot // that have said hello, since the first start
	taken   int    // how many of them WaitBoot has returned
	resets  int
	began   time.Time // of the present boot

	closing sync.Once
	closed  error
}

// Start starts a machine on disks of its own: a saved one goes on where it was,
// within a second or two, any other one begins to boot. The machine is killed
// when Close is called, or when this process ends.
func Start(ctx context.Context, img Image, opts Options) (*VM, error) {
	if opts.Dir == "" {
		dir, err := os.MkdirTemp("", "machine-")
		if err != nil {
			return nil, err
		}
		opts.Dir = dir
	} else if err := os.Mkdir(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	vm := &VM{image: img, opts: opts, dir: opts.Dir, con: &console{}}
	if opts.inPlace {
		vm.dir = img.Dir
	} else if err := overlays(ctx, img, vm.dir); err != nil {
		os.RemoveAll(opts.Dir)
		return nil, err
	}
	var more []string
	if opts.kernel != "" {
		more = []string{"-kernel", opts.kernel, "-initrd", opts.initrd, "-append", opts.append}
	}
	if img.Saved() {
		more = append(more, "-incoming", "exec:cat '"+img.state()+"'")
	}
	if opts.WriteLog != "" {
		if err := os.WriteFile(opts.WriteLog, nil, 0o600); err != nil {
			os.RemoveAll(opts.Dir)
			return nil, err
		}
	}
	err := vm.powerOn(ctx, opts.WriteLog, more)
	if err == nil && img.Saved() {
		err = vm.resume(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start the machine: %w", err), vm.Close())
	}
	return vm, nil
}

// powerOn starts a process on the machine's disks.
func (vm *VM) powerOn(ctx context.Context, writeLog string, more []string) error {
	p, err := startProcess(vm.dir, vm.image.Variant.disks(), writeLog, more)
	if err != nil {
		return err
	}
	s := newSession(p.agent, vm.said)
	vm.con.reset()
	go vm.con.listen(p.console)
	go s.listen(p.agent)
	vm.change(func() { vm.process, vm.session, vm.began = p, s, time.Now() })
	m, err := newMonitor(ctx, p.monitor, func(name, reason string) {
		if name == "RESET" && reason != "host-qmp-system-reset" {
			vm.wasReset(s)
		}
	})
	if err != nil {
		vm.Cut()
		return fmt.Errorf("%w\n%s", err, p.said.String())
	}
	vm.change(func() { vm.monitor = m })
	return nil
}

// resume lets a saved machine go on.
func (vm *VM) resume(ctx context.Context) error {
	if err := vm.monitor.resume(ctx); err != nil {
		return err
	}
	if err := vm.session.greet(); err != nil {
		return err
	}
	if _, err := vm.WaitBoot(ctx); err != nil {
		return err
	}
	return vm.session.setClock(ctx)
}

// said notes a boot that has said hello.
func (vm *VM) said(b Boot) {
	vm.change(func() {
		// A saved machine that goes on is the boot that it was.
		if !slices.ContainsFunc(vm.boots, func(o Boot) bool { return o.ID == b.ID }) {
			fmt.Fprintf(vm.opts.Log, "%s in user space after %.1f s (root %s, kernel %s)\n", b.ID[:8], time.Since(vm.began).Seconds(), b.Root, b.Kernel)
		}
		vm.boots = append(vm.boots, b)
	})
}

func (vm *VM) wasReset(s *session) {
	s.reset()
	vm.con.reset()
	vm.change(func() { vm.resets++; vm.began = time.Now() })
}

// talk is the session of a machine that is on.
func (vm *VM) talk() (*session, error) {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.process == nil {
		return nil, errGone
	}
	return vm.session, nil
}

// WaitBoot returns the next boot that reaches user space. Each boot is returned
// once: one that came up before the call and was not waited for is the next.
func (vm *VM) WaitBoot(ctx context.Context) (Boot, error) {
	var b Boot
	err := vm.until(ctx, func() bool {
		if vm.taken == len(vm.boots) {
			return false
		}
		b = vm.boots[vm.taken]
		vm.taken++
		return true
	})
	if err != nil {
		return Boot{}, fmt.Errorf("the machine does not reach user space: %w", err)
	}
	return b, nil
}

// Boots are all boots that have reached user space since Start, in order.
func (vm *VM) Boots() []Boot {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	return slices.Clone(vm.boots)
}

// Resets counts how often the guest has reset the machine since Start: boots
// that never reached user space count too. Power cuts do not.
func (vm *VM) Resets() int {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	return vm.resets
}

// WaitStarted waits until systemd has started everything in the present boot,
// or in the next one where there is none, and returns the units that have failed.
func (vm *VM) WaitStarted(ctx context.Context) (failed []string, err error) {
	if err := vm.until(ctx, func() bool { return vm.session != nil && vm.session.up() }); err != nil {
		return nil, fmt.Errorf("the machine does not reach user space: %w", err)
	}
	r, err := vm.Run(ctx, "systemctl", "is-system-running", "--wait")
	if err != nil {
		return nil, err
	}
	switch state := strings.TrimSpace(r.Stdout); state {
	case "running":
		return nil, nil
	case "degraded":
	default:
		return nil, fmt.Errorf("the system is %q: %s", state, r.Stderr)
	}
	if r, err = vm.Run(ctx, "systemctl", "list-units", "--failed", "--plain", "--no-legend"); err != nil {
		return nil, err
	}
	for line := range strings.Lines(r.Stdout) {
		failed = append(failed, strings.Fields(line)[0])
	}
	return failed, nil
}

// Run runs a command in the guest to its end. A command that fails is no error: see Exit.
func (vm *VM) Run(ctx context.Context, argv ...string) (Result, error) {
	p, err := vm.Command(Command{Argv: argv})
	if err != nil {
		return Result{}, err
	}
	return p.Wait(ctx)
}

// Command starts a command in the guest.
func (vm *VM) Command(cmd Command) (*Process, error) {
	s, err := vm.talk()
	if err != nil {
		return nil, fmt.Errorf("cannot run %s in the guest: %w", strings.Join(cmd.Argv, " "), err)
	}
	return s.start(cmd)
}

// ReadFile reads a file of the guest; one that is not there is fs.ErrNotExist.
func (vm *VM) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return vm.ask(ctx, "read "+path, wire.Request{Op: wire.Read, Path: path})
}

// WriteFile replaces a file of the guest as a whole, and makes the directories above it.
func (vm *VM) WriteFile(ctx context.Context, path string, data []byte, mode os.FileMode) error {
	_, err := vm.ask(ctx, "write "+path, wire.Request{Op: wire.Write, Path: path, Data: data, Mode: uint32(mode.Perm())})
	return err
}

func (vm *VM) ask(ctx context.Context, what string, r wire.Request) ([]byte, error) {
	s, err := vm.talk()
	if err == nil {
		var data []byte
		if data, err = s.ask(ctx, r); err == nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("cannot %s in the guest: %w", what, err)
}

// Reboot asks systemd for a reboot and returns the next boot that reaches user space.
func (vm *VM) Reboot(ctx context.Context) (Boot, error) {
	if err := vm.BeginReboot(); err != nil {
		return Boot{}, err
	}
	return vm.WaitBoot(ctx)
}

// BeginReboot asks systemd for a reboot and does not wait for it. The console
// belongs to the next boot as soon as that begins; boots before it are not
// returned by WaitBoot any more.
func (vm *VM) BeginReboot() error {
	vm.change(func() { vm.taken = len(vm.boots) })
	_, err := vm.Command(Command{Argv: []string{"systemctl", "reboot"}})
	return err
}

// Cut takes the power away at once. What the guest has not flushed may be lost.
func (vm *VM) Cut() {
	var p *process
	vm.change(func() {
		p = vm.process
		vm.process, vm.monitor = nil, nil
		vm.taken = len(vm.boots)
	})
	if p != nil {
		p.kill()
	}
}

// PowerOn begins to boot a machine that is off.
func (vm *VM) PowerOn(ctx context.Context) error {
	vm.mu.Lock()
	on := vm.process != nil
	vm.mu.Unlock()
	if on {
		return errors.New("the machine is on")
	}
	return vm.powerOn(ctx, "", nil)
}

// Shutdown asks systemd to power off and returns when the machine is off.
func (vm *VM) Shutdown(ctx context.Context) error {
	vm.mu.Lock()
	p := vm.process
	vm.mu.Unlock()
	if p == nil {
		return nil
	}
	if _, err := vm.Command(Command{Argv: []string{"systemctl", "poweroff"}}); err != nil {
		return err
	}
	err := p.wait(ctx)
	vm.Cut()
	return err
}

// Console is everything that has been on the serial console since Start.
func (vm *VM) Console() string { return vm.con.all() }

// WaitConsole waits until the present boot has shown what re matches, and returns the match.
func (vm *VM) WaitConsole(ctx context.Context, re *regexp.Regexp) (string, error) {
	return vm.con.wait(ctx, re)
}

// ChooseEntry waits for the boot menu and boots the first entry whose title
// matches, as a person would with the arrow keys.
func (vm *VM) ChooseEntry(ctx context.Context, title *regexp.Regexp) error {
	return vm.con.choose(ctx, title, func(key string) error { return vm.press(ctx, key) })
}

// press presses a key of the keyboard.
func (vm *VM) press(ctx context.Context, key string) error {
	vm.mu.Lock()
	m := vm.monitor
	vm.mu.Unlock()
	if m == nil {
		return errGone
	}
	return m.press(ctx, key)
}

// Save saves the machine as it runs as an image in dir, which is made, and ends
// it. Nothing may be running that was started by Command.
func (vm *VM) Save(ctx context.Context, dir string) error {
	if err := vm.save(ctx, dir); err != nil {
		return fmt.Errorf("cannot save the machine: %w", err)
	}
	return nil
}

func (vm *VM) save(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	vm.mu.Lock()
	m, p := vm.monitor, vm.process
	vm.mu.Unlock()
	if p == nil {
		return errGone
	}
	img := Image{Variant: vm.image.Variant, Dir: dir}
	if err := m.save(ctx, img.state()); err != nil {
		return err
	}
	if _, err := m.ask(ctx, "quit", nil); err != nil && !errors.Is(err, errGone) {
		return err
	}
	err := p.wait(ctx)
	vm.Cut()
	if err != nil {
		return err
	}
	// Whole disks: an image must not break when another one goes.
	for _, name := range append([]string{"vars"}, img.Variant.disks()...) {
		from, format := Image{Dir: vm.dir}.disk(name)
		if err := runTool(ctx, "qemu-img", "convert", "-q", "-f", format, "-O", "qcow2", from, filepath.Join(dir, name+".qcow2")); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "console"), []byte(vm.Console()), 0o644)
}

// Close cuts the power and removes the machine's disks. A second call does nothing.
func (vm *VM) Close() error {
	vm.closing.Do(func() {
		vm.Cut()
		vm.closed = os.RemoveAll(vm.opts.Dir)
	})
	return vm.closed
}
