package etcmerge

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// BenchmarkMerge merges an /etc of 5,000 files of which 50 were changed, half
// on each side and five of them on both, on btrfs and between forks, as in life.
func BenchmarkMerge(b *testing.B) {
	var suspects []string
	for i := range 25 {
		suspects = append(suspects, benchName(100*i), benchName(100*i+1))
	}
	for name, opts := range map[string]Options{
		"everything-disposable": {Disposable: true},
		"everything-durable":    {},
		"suspects-disposable":   {Disposable: true, Suspects: suspects},
		"suspects-durable":      {Suspects: suspects},
	} {
		opts.Number = 7
		b.Run(name, func(b *testing.B) {
			top := testbed.Loop(b, 512)
			trees := benchTrees(b, top)
			b.ResetTimer()
			var spent time.Duration
			for i := range b.N {
				b.StopTimer()
				target := filepath.Join(top, fmt.Sprint("target", i))
				testbed.Run(b, "btrfs", "subvolume", "snapshot", trees["ours"], target)
				opened := openTrees(b, filepath.Join(trees["ancestor"], "etc"), filepath.Join(target, "etc"), filepath.Join(trees["theirs"], "etc"))
				cpu := cpuTime()
				b.StartTimer()
				plan, err := Merge(b.Context(), opened, opts)
				if err != nil {
					b.Fatal(err)
				}
				if len(plan.Decisions) != 25 {
					b.Fatalf("%d decisions", len(plan.Decisions))
				}
				spent += cpuTime() - cpu
			}
			b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// BenchmarkRsync is what it costs to carry one tree over another without merging
// anything, and to compare content as the merge does.
func BenchmarkRsync(b *testing.B) {
	for name, options := range map[string]string{"by-time": "-aHAX", "by-content": "-aHAXc"} {
		b.Run(name, func(b *testing.B) {
			testbed.NeedTools(b, "rsync")
			top := testbed.Loop(b, 512)
			trees := benchTrees(b, top)
			b.ResetTimer()
			for i := range b.N {
				b.StopTimer()
				target := filepath.Join(top, fmt.Sprint("target", i))
				testbed.Run(b, "btrfs", "subvolume", "snapshot", trees["ours"], target)
				b.StartTimer()
				testbed.Run(b, "rsync", options, "--delete", filepath.Join(trees["theirs"], "etc")+"/", filepath.Join(target, "etc")+"/")
			}
		})
	}
}

// BenchmarkPlan is the reading alone, where nothing is to be done.
func BenchmarkPlan(b *testing.B) {
	top := testbed.Loop(b, 512)
	trees := benchTrees(b, top)
	opened := openTrees(b, filepath.Join(trees["ancestor"], "etc"), filepath.Join(trees["ours"], "etc"), filepath.Join(trees["theirs"], "etc"))
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		if _, err := New(b.Context(), opened, Options{Number: 7}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime()-cpu).Milliseconds())/float64(b.N), "cpu-ms/op")
}

// cpuTime is what this process has used of all processors: on a busy machine it
// says more than the time that went by.
func cpuTime() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchTrees makes a root with an /etc and forks it.
func benchTrees(b *testing.B, top string) map[string]string {
	b.Helper()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	at := map[string]string{}
	for _, name := range []string{"ancestor", "ours", "theirs"} {
		at[name] = filepath.Join(top, name)
	}
	testbed.Run(b, "btrfs", "subvolume", "create", at["ancestor"])
	// As in a real one: most files are small, a few are not, one in ten is a link.
	for i := range 5000 {
		full := filepath.Join(at["ancestor"], "etc", benchName(i))
		check(os.MkdirAll(filepath.Dir(full), 0o755))
		if i%10 == 9 {
			check(os.Symlink(fmt.Sprint("../target", i), full))
			continue
		}
		check(os.WriteFile(full, benchText(i, 20+i*37%150), 0o644))
	}
	for _, side := range []string{"ours", "theirs"} {
		testbed.Run(b, "btrfs", "subvolume", "snapshot", at["ancestor"], at[side])
	}
	edit := func(side string, i, line int) {
		text := benchText(i, 20+i*37%150)
		text[line*24] = 'X' // same size, and on these machines often the same second
		check(os.WriteFile(filepath.Join(at[side], "etc", benchName(i)), text, 0o644))
	}
	for i := range 25 {
		edit("ours", 100*i, 2)
		if i < 5 {
			edit("theirs", 100*i, 10)
		} else {
			edit("theirs", 100*i+1, 10)
		}
	}
	return at
}

func benchName(i int) string { return fmt.Sprintf("d%d/s%d/file%d.conf", i%40, i%7, i) }

// benchText has lines of 24 bytes.
func benchText(file, lines int) []byte {
	var text []byte
	for i := range lines {
		text = fmt.Appendf(text, "option%04d = value%05d \n", i, file)
	}
	return text
}
