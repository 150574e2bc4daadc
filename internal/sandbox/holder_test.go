package sandbox

import (
	"context"
	"fmt"
	"io"
)

// holderArgument makes the test executable a daemon that starts a sandbox and waits to be killed.
const holderArgument = "hold-a-sandbox-in"

// holdSandbox takes the root, and the lower, upper and work directories of a /var where there is one.
func holdSandbox(dirs []string, stdout, stderr io.Writer) int {
	cfg := Config{Root: dirs[0]}
	if len(dirs) == 4 {
		cfg.Shared = []Shared{{Path: "/var", Lower: dirs[1:2], Upper: dirs[2], Work: dirs[3]}}
	}
	s, err := Start(context.Background(), cfg)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	p, err := s.Start(context.Background(), Command{Argv: []string{"sh", "-c", "setsid sleep 1000 & sleep 1001"}})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, s.init.Pid)
	_, _ = p.Wait()
	return 1
}
