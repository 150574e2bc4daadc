// The heads of the journal that the system journal has.

package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal"
)

// printedHead is a line of our own log. What others say in it is quoted and cannot look like one.
var printedHead = regexp.MustCompile(`^time=\S+ level=INFO msg="` + update.HeadMessage + `" journal=(\S+) seq=(\d+) hash=([0-9a-f]{64})$`)

// systemHeads asks the system journal for the heads that the unit printed as
// root; other users cannot make entries that look like that.
func systemHeads(ctx context.Context) ([]journal.Head, error) {
	cmd := exec.CommandContext(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat", "--system", "_SYSTEMD_UNIT=txupd.service", "_UID=0")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot read the system journal: %w", err)
	}
	heads, err := headsIn(out)
	if err == nil {
		err = cmd.Wait()
	} else {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // why it ended is known
	}
	if err != nil {
		return heads, fmt.Errorf("cannot read the system journal: %w", err)
	}
	return heads, nil
}

// headsIn finds the heads in lines of the log.
func headsIn(r io.Reader) ([]journal.Head, error) {
	var heads []journal.Head
	lines := bufio.NewReader(r)
	for {
		line, long, err := lines.ReadLine()
		if err == io.EOF {
			return heads, nil
		}
		if err != nil {
			return heads, err
		}
		m := printedHead.FindSubmatch(line)
		if m == nil || long {
			continue
		}
		if seq, err := strconv.ParseUint(string(m[2]), 10, 64); err == nil {
			heads = append(heads, journal.Head{Journal: string(m[1]), Seq: seq, Hash: string(m[3])})
		}
	}
}
