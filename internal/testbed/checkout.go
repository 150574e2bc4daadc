// Where the checkout is, and the programs built from it.

package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Checkout is the top directory of the project that the working directory is in.
func Checkout() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod in or above " + start)
		}
	}
}

// Programs are the paths of the built programs.
type Programs struct{ Txupd, Txctl string }

// What of the Makefile builds the programs.
const (
	Release    = "build"
	WithRace   = "build-race"      // the race detector is in the daemon
	WithFaults = "build-failpoint" // failpoints are
)

// BuildPrograms builds the daemon and its command into dir with a target of the Makefile.
func BuildPrograms(ctx context.Context, dir, target string) (Programs, error) {
	top, err := Checkout()
	if err != nil {
		return Programs{}, err
	}
	if err := run(ctx, "make", "--no-print-directory", "-C", top, target, "BIN="+dir); err != nil {
		return Programs{}, fmt.Errorf("cannot build: %w", err)
	}
	return Programs{Txupd: filepath.Join(dir, "txupd"), Txctl: filepath.Join(dir, "txctl")}, nil
}

// publicDir makes a temporary directory that every user may enter.
func publicDir(prefix string) (string, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		os.Remove(dir)
		return "", err
	}
	return dir, nil
}
