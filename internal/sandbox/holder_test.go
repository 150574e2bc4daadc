package sandbox

import (
	"context"
	"fmt"
	"io"
)

// holderArgument makes the test executable a daemon that starts a sandbox and waits to be killed.
const holderArgument = "hold-a-sandbox-in"

func holdSandbox(root string, stdout, stderr io.Writer) int {
	s, err := Start(context.Background(), Config{Root: root})
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
