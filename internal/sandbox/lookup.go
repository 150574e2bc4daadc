// Finds the program of a command, and says why not, with the status that a shell would give.

package sandbox

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Exit statuses of shells: POSIX, 2.8.2.
const (
	statusNotExecutable = 126
	statusNotFound      = 127
)

// refusal says why a command did not start.
type refusal struct {
	status uint64
	text   string
}

// findProgram resolves argv[0] as execvp does, with the PATH of env and names relative to dir.
func findProgram(name, dir string, env []string) (string, *refusal) {
	if strings.Contains(name, "/") {
		file := name
		if !path.IsAbs(file) {
			file = path.Join(dir, file)
		}
		if why := executable(file); why != nil {
			return "", &refusal{why.status, fmt.Sprintf("%s: %s", name, why.text)}
		}
		return name, nil
	}
	best := &refusal{statusNotFound, "command not found"}
	for entry := range strings.SplitSeq(lookupEnv(env, "PATH"), ":") {
		file := path.Join(entry, name)
		if !path.IsAbs(file) {
			file = path.Join(dir, file)
		}
		why := executable(file)
		if why == nil {
			return file, nil
		}
		if why.status == statusNotExecutable {
			best = why
		}
	}
	return "", &refusal{best.status, fmt.Sprintf("%s: %s", name, best.text)}
}

// executable returns nil for what can be executed, as far as the file's mode tells.
func executable(file string) *refusal {
	st, err := os.Stat(file)
	if err != nil {
		if absent(err) {
			return &refusal{statusNotFound, "no such file or directory"}
		}
		return &refusal{statusNotExecutable, reason(err)}
	}
	if st.IsDir() {
		return &refusal{statusNotExecutable, "is a directory"}
	}
	if st.Mode()&0o111 == 0 {
		return &refusal{statusNotExecutable, "permission denied"}
	}
	return nil
}

// execRefusal is what the kernel's refusal of an executable means, nil where it is not about the command.
func execRefusal(name string, errno syscall.Errno) *refusal {
	switch errno {
	case syscall.ENOENT:
		return &refusal{statusNotFound, name + ": cannot execute: its interpreter or loader does not exist"}
	case syscall.EAGAIN, syscall.ENOMEM:
		return nil
	}
	return &refusal{statusNotExecutable, fmt.Sprintf("%s: cannot execute: %s", name, errno.Error())}
}

// reason is the innermost word of a path error.
func reason(err error) string {
	if e, ok := err.(*fs.PathError); ok {
		return e.Err.Error()
	}
	return err.Error()
}
