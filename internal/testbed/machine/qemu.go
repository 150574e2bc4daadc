// The process that is the machine.

package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed/machine/wire"
)

// hardware is the same for every machine: a saved one goes on in no other.
//
// One processor, because two emulated ones on shared cores mostly wait for each
// other; without LA57, SMAP and SMEP, whose emulation doubles the time of a boot.
func hardware() []string {
	return []string{
		"-no-user-config", "-nodefaults", "-display", "none", "-vga", "none",
		"-machine", "q35,accel=tcg,smm=off,vmport=off", "-cpu", "max,-la57,-smap,-smep", "-smp", "1", "-m", "1536",
		"-rtc", "base=utc", "-device", "virtio-serial-pci",
	}
}

// firmware finds OVMF: the small one, which Debian has had until 12, starts a little sooner.
func firmware() (code, vars string, err error) {
	for _, size := range []string{"", "_4M"} {
		code, vars = "/usr/share/OVMF/OVMF_CODE"+size+".fd", "/usr/share/OVMF/OVMF_VARS"+size+".fd"
		if _, err = os.Stat(code); err == nil {
			_, err = os.Stat(vars)
		}
		if err == nil {
			return code, vars, nil
		}
	}
	return "", "", fmt.Errorf("a machine needs the firmware OVMF (scripts/deps machine installs it): %w", err)
}

// process is a running QEMU. Its console, agent and monitor are connected to us
// by pairs of sockets, so that nothing has a name that others could find.
type process struct {
	cmd                     *exec.Cmd
	console, agent, monitor net.Conn
	said                    bytes.Buffer

	exited chan struct{}
	err    error // once exited is closed
}

// startProcess starts QEMU with the disks in dir. What the guest writes to the
// one that is called logged is also recorded in a file, where that is named.
func startProcess(dir string, disks []string, writeLog string, more []string) (*process, error) {
	code, _, err := firmware()
	if err != nil {
		return nil, err
	}
	args := append(hardware(),
		"-drive", "if=pflash,format=raw,readonly=on,file="+code,
		"-drive", "if=pflash,format=qcow2,file="+filepath.Join(dir, "vars.qcow2"))
	for _, name := range disks {
		path, format := Image{Dir: dir}.disk(name)
		if name == logged && writeLog != "" {
			args = append(args, loggedDisk(path, format, writeLog)...)
			continue
		}
		// What the guest has flushed is with our kernel, which no cut takes down;
		// what it has not flushed may be lost with the process.
		args = append(args, "-drive", fmt.Sprintf("if=none,id=%s,format=%s,cache=unsafe,discard=unmap,file=%s", name, format, path),
			"-device", "virtio-blk-pci,drive="+name+",serial="+name)
	}
	p := &process{exited: make(chan struct{})}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	for i, one := range []struct {
		name string
		ours *net.Conn
	}{{"console", &p.console}, {"agent", &p.agent}, {"monitor", &p.monitor}} {
		conn, file, err := pair()
		if err != nil {
			p.hangUp()
			return nil, err
		}
		*one.ours, theirs = conn, append(theirs, file)
		args = append(args, "-chardev", fmt.Sprintf("socket,id=%s,fd=%d", one.name, 3+i))
	}
	args = append(args, "-serial", "chardev:console", "-mon", "chardev=monitor,mode=control",
		"-device", "virtserialport,chardev=agent,name="+wire.Port)
	p.cmd = exec.Command("qemu-system-x86_64", append(args, more...)...)
	p.cmd.ExtraFiles = theirs
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	// The machine ends with us, whatever ends us.
	p.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	started := make(chan error)
	go p.live(started)
	if err := <-started; err != nil {
		p.hangUp()
		return nil, err
	}
	return p, nil
}

// logged is the disk that Options.WriteLog is about.
const logged = "system"

// loggedDisk is the same disk to the guest, with a record of what it writes.
// The record has flushes only where a node above it is not told to drop them.
func loggedDisk(path, format, writeLog string) []string {
	node := func(settings string) []string { return []string{"-blockdev", settings} }
	disk := fmt.Sprintf(`{"driver":%q,"node-name":"disk","discard":"unmap","cache":{"no-flush":true},`+
		`"file":{"driver":"file","filename":%q,"discard":"unmap","cache":{"no-flush":true}}}`, format, path)
	record := fmt.Sprintf(`{"driver":"file","node-name":"record","filename":%q,"cache":{"no-flush":true}}`, writeLog)
	both := fmt.Sprintf(`{"driver":"blklogwrites","node-name":%q,"discard":"unmap","file":"disk","log":"record"}`, logged)
	return slices.Concat(node(disk), node(record), node(both),
		[]string{"-device", "virtio-blk-pci,drive=" + logged + ",serial=" + logged + ",write-cache=on"})
}

// live starts the process and waits for it, on a thread of its own: the kernel
// takes the end of the thread that started it for the death of the parent.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	p.err = p.cmd.Wait()
	close(p.exited)
}

// kill is the power cut.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have exited
	<-p.exited
	p.hangUp()
}

// wait returns when the process has exited by itself.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("the machine is still on: %w", ctx.Err())
	case <-p.exited:
	}
	p.hangUp()
	if p.err != nil {
		return fmt.Errorf("qemu: %w\n%s", p.err, strings.TrimSpace(p.said.String()))
	}
	return nil
}

func (p *process) hangUp() {
	for _, conn := range []net.Conn{p.console, p.agent, p.monitor} {
		if conn != nil {
			conn.Close()
		}
	}
}

// pair makes two connected sockets: ours, and a file for the process.
func pair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// overlays makes disks on top of an image's in dir.
func overlays(ctx context.Context, img Image, dir string) error {
	for _, name := range append([]string{"vars"}, img.Variant.disks()...) {
		backing, format := img.disk(name)
		if err := runTool(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b", backing, filepath.Join(dir, name+".qcow2")); err != nil {
			return err
		}
	}
	return nil
}

// errGone: the machine went away while something was asked of it.
var errGone = errors.New("the machine was reset or is off")
