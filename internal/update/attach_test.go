package update

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/fault"
)

// TestReadersThatLeaveMakeRoom: where nothing is printed nobody would notice that
// they have gone, and a transaction may stay open for a day.
func TestReadersThatLeaveMakeRoom(t *testing.T) {
	tr := &Transaction{output: outputIn(t.TempDir())}
	before, files := runtime.NumGoroutine(), openFiles(t)
	leave := func(a Attachment) { a.Stdin.Close(); a.Stdout.Close(); a.Stderr.Close() }
	var attached []Attachment
	for range maxReaders / 2 {
		a, err := tr.Attach(Everything)
		if err != nil {
			t.Fatal(err)
		}
		attached = append(attached, a)
	}
	if _, err := tr.Attach(Everything); !errors.Is(err, fault.ErrBusy) {
		t.Errorf("one more than there is room for: %v", err)
	}
	for _, a := range attached {
		leave(a)
	}
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before || openFiles(t) > files; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d files; before %d and %d", runtime.NumGoroutine(), openFiles(t), before, files)
		}
	}
	a, err := tr.Attach(Everything)
	if err != nil {
		t.Fatal(err)
	}
	tr.output.finish()
	leave(a)
}

func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
