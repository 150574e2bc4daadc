// The benchmarks: what txupd costs, as ratios to what it has to do at least and
// to what people would do without it, all in one run on one file system. The
// times beside them are of this machine and say little by themselves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/testbed"
)

func main() {
	runs := flag.Int("n", 31, "runs of each measurement; medians are printed")
	only := flag.String("only", "", "only the benchmarks whose name contains this")
	flag.Parse()
	if images := os.Getenv(compareIn); images != "" {
		if err := (&stage{ctx: context.Background()}).tellMemory(images); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, *runs, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// stage is the system that is measured.
type stage struct {
	ctx      context.Context
	runs     int
	machine  *testbed.Machine
	bus      *testbed.Bus
	programs testbed.Programs
	client   *client.Client
	// bareProgram does the least that a transaction can do.
	bareProgram string
}

func bench(ctx context.Context, runs int, only string) (err error) {
	bin, err := os.MkdirTemp("", "txupd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	s := &stage{ctx: ctx, runs: runs, bareProgram: filepath.Join(bin, "bare")}
	if err := compile(bareSource, s.bareProgram); err != nil {
		return err
	}
	if s.programs, err = testbed.BuildPrograms(ctx, bin, testbed.Release); err != nil {
		return err
	}
	tarball, err := testbed.BuildRoot(ctx, testbed.Debian(), io.Discard)
	if err != nil {
		return err
	}
	if s.machine, err = testbed.MountRoot(ctx, tarball, "opensuse", testbed.MachineOptions{Prepare: s.prepare}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.machine.Close()) }()
	s.bus, err = testbed.StartBus(context.WithoutCancel(ctx), testbed.BusOptions{
		Daemon: []string{s.programs.Txupd, "--root", s.machine.Root, "--idle", "0"}, Log: os.Stderr,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.bus.Close()) }()
	if err := os.Setenv("DBUS_SYSTEM_BUS_ADDRESS", s.bus.Address); err != nil {
		return err
	}
	if s.client, err = client.Connect(ctx); err != nil {
		return err
	}
	defer s.client.Close()
	for _, b := range []struct {
		name string
		run  func() error
	}{
		{"status", s.status}, {"memory", s.memory}, {"transaction", s.transaction}, {"package", s.packageAdd},
		{"etc", s.etc}, {"files", s.manyFiles}, {"compare", s.compare}, {"journal", s.history}, {"snapshots", s.manySnapshots}, {"gc", s.housekeeping},
	} {
		if !strings.Contains(b.name, only) {
			continue
		}
		if err := b.run(); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}

// sample is what one measurement gave.
type sample []time.Duration

func (s sample) median() time.Duration {
	slices.Sort(s)
	return s[len(s)/2]
}

// measure runs fn once to warm up and then as often as asked.
func (s *stage) measure(fn func() (time.Duration, error)) (sample, error) {
	return s.measureN(s.runs, fn)
}

func (s *stage) measureN(n int, fn func() (time.Duration, error)) (sample, error) {
	var all sample
	for i := range n + 1 {
		if err := s.ctx.Err(); err != nil {
			return nil, err
		}
		d, err := fn()
		if err != nil {
			return nil, err
		}
		if i > 0 {
			all = append(all, d)
		}
	}
	return all, nil
}

func timed(fn func() error) (time.Duration, error) {
	began := time.Now()
	err := fn()
	return time.Since(began), err
}

// report prints one line: what was compared, the ratio, the bar, the two medians.
func report(what string, ours, other time.Duration, bar string) {
	fmt.Printf("%-58s %6.2f×  (%s; %s to %s)\n", what, float64(ours)/float64(other), bar, ms(ours), ms(other))
}

func value(what, figure, bar string) { fmt.Printf("%-58s %7s  (%s)\n", what, figure, bar) }

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func output(argv ...string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return string(out), nil
}
