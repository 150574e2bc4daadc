// What takes long to build is built once a machine and kept outside the
// checkout, under the hash of what it was built from.

package testbed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CacheDir is where built roots are kept: $TXUPD_CACHE, else "txupd-testbed" in
// the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("TXUPD_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		// No HOME, as in some CI runners: still one place a user.
		base = filepath.Join("/var/tmp", fmt.Sprintf("cache-%d", os.Getuid()))
	}
	return filepath.Join(base, "txupd-testbed"), nil
}

const (
	// staleAfter: other keys' files that are older than this go when a new one is built.
	staleAfter = 30 * 24 * time.Hour
	// lockPoll is how often a lock that somebody else holds is tried again.
	lockPoll = 200 * time.Millisecond
)

// cached is one file or directory of the cache. The name is for people, the inputs make the key.
type cached struct {
	name   string // "debian.tar"
	inputs []string
	// maxAge: an older file is built anew, and served all the same where that fails. 0 is for ever.
	maxAge time.Duration
	// build writes the file at path; scratch is a directory that is removed afterwards.
	build func(ctx context.Context, path, scratch string) error
}

// Cached returns the path of what build made of inputs, a file or a directory,
// building it where it is missing. The name is for people and made anew for
// other inputs; build puts its result at path, and scratch is removed afterwards.
func Cached(ctx context.Context, name string, inputs []string, build func(ctx context.Context, path, scratch string) error) (string, error) {
	return cached{name: name, inputs: inputs, build: build}.get(ctx)
}

// get returns the path of the file, building it where it is missing. Processes
// that want the same name wait for each other.
func (c cached) get(ctx context.Context) (string, error) {
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the cache: %w", err)
	}
	path := filepath.Join(dir, c.key()+"-"+c.name)
	if c.fresh(path) {
		return path, nil
	}
	unlock, err := lock(ctx, filepath.Join(dir, c.name+".lock"))
	if err != nil {
		return "", fmt.Errorf("cannot lock the cache for %s: %w", c.name, err)
	}
	defer unlock()
	if c.fresh(path) { // whoever held the lock built it
		return path, nil
	}
	if err := c.rebuild(ctx, dir, path); err != nil {
		if _, missing := os.Stat(path); missing == nil && ctx.Err() == nil {
			return path, nil
		}
		return "", err
	}
	return path, c.prune(dir, path)
}

func (c cached) key() string {
	hash := sha256.New()
	for _, input := range c.inputs {
		fmt.Fprintf(hash, "%d:%s\n", len(input), input)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

func (c cached) fresh(path string) bool {
	info, err := os.Stat(path)
	return err == nil && (c.maxAge == 0 || time.Since(info.ModTime()) < c.maxAge)
}

// rebuild runs build in a scratch directory and puts its result at path.
func (c cached) rebuild(ctx context.Context, dir, path string) error {
	// A build that was killed left this; we hold the lock, so nobody uses it.
	scratch := filepath.Join(dir, "building-"+c.name)
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	if err := os.Mkdir(scratch, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	result := filepath.Join(scratch, c.name)
	if err := c.build(ctx, result, scratch); err != nil {
		return fmt.Errorf("cannot build %s: %w", c.name, err)
	}
	return os.Rename(result, path)
}

// prune removes what former versions of the recipe left, when it is old enough
// that no other checkout is likely to use it.
func (c cached) prune(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := entry.Info()
		if err != nil || path == keep || !strings.HasSuffix(entry.Name(), "-"+c.name) || time.Since(info.ModTime()) < staleAfter {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("cannot prune the cache: %w", err)
		}
	}
	return nil
}

// lock takes an exclusive flock, waiting for it until ctx ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			file.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}
