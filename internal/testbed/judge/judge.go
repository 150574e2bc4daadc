// Package judge gets a second opinion from other programs in tests that fuzz:
// such a test runs thousands of times a second, and a program does not.
package judge

import (
	"flag"
	"hash/fnv"
	"os"
	"os/exec"
	"testing"
)

// Tool finds a program. It is "" where there is none, and nobody is asked then;
// under CI=true, which lets nothing be left out, that fails.
func Tool(t testing.TB, name string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and CI=true lets nothing be left out", name)
	}
	return file
}

// sample is one of how many inputs is judged.
const sample = 256

// Asked tells whether to ask about an input: always where seeds are run as
// tests, about one in many while fuzzing, and the same ones each time.
func Asked(input ...string) bool {
	if fuzzing := flag.Lookup("test.fuzz"); fuzzing == nil || fuzzing.Value.String() == "" {
		return true
	}
	h := fnv.New64a()
	for _, part := range input {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return h.Sum64()%sample == 0
}
