package sandbox

import (
	"context"
	"testing"
)

// BenchmarkTrue is the whole life of a sandbox: start, one command, close.
func BenchmarkTrue(b *testing.B) {
	root := smallRoot(b)
	for b.Loop() {
		s, err := Start(context.Background(), Config{Root: root})
		must(b, err)
		p, err := s.Start(context.Background(), Command{Argv: []string{"true"}})
		must(b, err)
		_, err = p.Wait()
		must(b, err)
		must(b, s.Close())
	}
}

// BenchmarkCommand is one more command in a sandbox that is there.
func BenchmarkCommand(b *testing.B) {
	s := open(b, Config{Root: smallRoot(b)})
	for b.Loop() {
		p, err := s.Start(context.Background(), Command{Argv: []string{"true"}})
		must(b, err)
		_, err = p.Wait()
		must(b, err)
	}
}
