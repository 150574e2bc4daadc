package sandbox

import (
	"os/exec"
	"syscall"
	"testing"
)

// TestEndLeavesNoProcess: what a killed daemon would leave in a snapshot is ended, and nothing else.
func TestEndLeavesNoProcess(t *testing.T) {
	root := smallRoot(t)
	inside := exec.Command("/bin/sh", "-c", "sleep 1000 & sleep 1000")
	inside.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	inside.Dir = "/"
	must(t, inside.Start())
	outside := exec.Command("sleep", "1000")
	must(t, outside.Start())
	defer func() {
		must(t, outside.Process.Kill())
		outside.Wait()
	}()
	ended := make(chan error, 1)
	go func() { ended <- inside.Wait() }()
	must(t, End(root))
	if err := <-ended; err == nil {
		t.Error("the process in the root ended by itself")
	}
	var st syscall.Stat_t
	must(t, syscall.Lstat(root, &st))
	if left, err := rootedIn(st.Dev, st.Ino); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := outside.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a process elsewhere was ended: %v", err)
	}
	must(t, End(root+"/missing"))
	if err := End("/"); err == nil {
		t.Error("the processes of the running system may be killed")
	}
}
