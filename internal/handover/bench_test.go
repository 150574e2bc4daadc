package handover

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkGive hands over 5,000 files of 4 KiB, every second of which replaces one.
func BenchmarkGive(b *testing.B) {
	const files = 5_000
	name := func(dir string, i int) string { return fmt.Sprintf("%s/d%d/f%d", dir, i%50, i) }
	content := make([]byte, 4096)
	s := newScene(b, func(live string) {
		for i := 0; i < files; i += 2 {
			write(b, name(live, i), string(content))
		}
	})
	s.sandbox(b, func(view string) {
		for i := range files {
			must(b, os.MkdirAll(filepath.Dir(name(view, i)), 0o755))
			must(b, os.WriteFile(name(view, i), append(content[:4095:4095], byte(i), 1), 0o644))
		}
	})
	live := s.live
	n := 0
	for b.Loop() {
		b.StopTimer()
		s.live = fmt.Sprintf("%s-%d", live, n)
		n++
		fork(b, live, s.live, false)
		b.StartTimer()
		if rows := s.give(b, 0); len(rows) < files {
			b.Fatalf("%d rows", len(rows))
		}
	}
}
