// Name resolution in the sandbox: the running system's resolv.conf, wherever
// the snapshot keeps its own, without writing to the snapshot.

package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const resolverPath = "/etc/resolv.conf"

// hostResolver reads the running system's file; nil where there is none. Where
// the served system is not the one that runs (a rescue system, --root), its
// file may be a link into a /run that is not mounted: then ours is used.
func hostResolver(host int) []byte {
	if content, err := readFile(host, resolverPath); err == nil {
		return content
	}
	content, err := os.ReadFile(resolverPath)
	if err != nil {
		return nil
	}
	return content
}

// bindResolver gives content to whoever opens /etc/resolv.conf. run is the /run that is already mounted.
func (t *tree) bindResolver(run int, content []byte) error {
	if content == nil {
		return nil
	}
	place, err := canonical(t.root, resolverPath)
	if errors.Is(err, unix.ELOOP) {
		return nil // nobody can open it
	}
	if err != nil {
		return err
	}
	runPlace, err := canonical(t.root, "/run")
	if err != nil {
		return err
	}
	if name, ok := strings.CutPrefix(place, runPlace+"/"); ok {
		if err := makeParents(run, name); err != nil {
			return err
		}
		return writeFile(run, name, content, 0o644)
	}
	present, err := readFile(t.root, place)
	if err != nil || bytes.Equal(present, content) {
		// What is not there cannot be covered without a trace, and what is not a file is not for us.
		return nil
	}
	if err := writeFile(run, "txupd/resolv.conf", content, 0o644); err != nil {
		return err
	}
	cover, err := cloneTree(run, "txupd/resolv.conf", 0)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, cover)
	target, err := resolve(t.root, place, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	t.opened = append(t.opened, target)
	return attach(cover, target, "")
}

// canonical follows every symbolic link of p below root, also a last one that
// dangles, and returns an absolute path without links. Nothing changes the tree meanwhile.
func canonical(root int, p string) (string, error) {
	const maxLinks = 40 // as the kernel
	at, rest := "/", p
	for links := 0; ; {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			return at, nil
		}
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		next := path.Join(at, name) // at holds no links, so ".." is what it seems to be
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(root, "."+next, buf)
		switch {
		case err == nil:
			if links++; links > maxLinks {
				return "", fmt.Errorf("cannot follow %s: %w", p, unix.ELOOP)
			}
			target := string(buf[:n])
			if strings.HasPrefix(target, "/") {
				at = "/"
			}
			rest = target + "/" + rest
		case err == unix.EINVAL || absent(err):
			at = next
		default:
			return "", fmt.Errorf("cannot follow %s: %w", p, err)
		}
	}
}

// makeParents makes the directories that name lies in, below dir.
func makeParents(dir int, name string) error {
	for i, c := range name {
		if c != '/' {
			continue
		}
		if err := unix.Mkdirat(dir, name[:i], 0o755); err != nil && err != unix.EEXIST {
			return fmt.Errorf("cannot make %s: %w", name[:i], err)
		}
	}
	return nil
}
