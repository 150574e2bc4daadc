// Trees of files that go into a guest, and the tools that put them there.

package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/testbed"
)

// buildAgent builds the agent from the checkout.
func buildAgent(ctx context.Context, path string) error {
	top, err := testbed.Checkout()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "./internal/testbed/machine/agent")
	cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the agent: %w\n%s", err, out)
	}
	return nil
}

// hashTree hashes names, modes, contents and targets of links, not times.
func hashTree(top string) (string, error) {
	hash := sha256.New()
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, top)
		fmt.Fprintf(hash, "%d:%s %v %d\n", len(name), name, info.Mode(), info.Size())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			fmt.Fprintf(hash, "%d:%s\n", len(target), target)
			return err
		case info.Mode().IsRegular():
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = io.Copy(hash, file)
			return err
		}
		return nil
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}

func writeFiles(tree string, files map[string]string) error {
	for path, text := range files {
		full := filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func makeLinks(tree string, links map[string]string) error {
	for path, target := range links {
		full := filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, full); err != nil {
			return err
		}
	}
	return nil
}

// isolated runs a script in a mount namespace of its own.
func isolated(ctx context.Context, env []string, script string, args ...string) error {
	argv := append([]string{"--mount", "--propagation=private", "sh", "-c", script, "sh"}, args...)
	cmd := exec.CommandContext(ctx, "unshare", argv...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot make the disks: %w\n%s", err, out)
	}
	return nil
}

func runTool(ctx context.Context, argv ...string) error {
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// needed names what is missing.
func needed(tools ...string) error {
	missing := slices.DeleteFunc(tools, func(tool string) bool { _, err := exec.LookPath(tool); return err == nil })
	if len(missing) > 0 {
		return fmt.Errorf("a machine needs %s (scripts/deps machine installs them)", strings.Join(missing, ", "))
	}
	return nil
}
