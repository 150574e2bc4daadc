package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// additions are what a next release may add to the schema of the journal: a
// minor version, and a member of every record of a new transaction.
var additions = []struct{ file, was, is string }{
	{"pkg/journal/schema.go", "schemaMinor = 0", "schemaMinor = 1"},
	{"pkg/journal/record/record.go", "type Record struct {\n", "type Record struct {\n\tRisk string `json:\"risk,omitempty\"`\n"},
	{"internal/update/transaction.go", "Kind: q.Kind, Message:", "Risk: \"low\", Kind: q.Kind, Message:"},
}

// BuildNextRelease builds the programs as a release after this one could be,
// with additions to the schema: `show --json` has "risk": "low" of what it made.
func BuildNextRelease(ctx context.Context, dir string) (Programs, error) {
	top, err := Checkout()
	if err != nil {
		return Programs{}, err
	}
	replace := map[string]string{}
	for i, a := range additions {
		at := filepath.Join(top, a.file)
		text, err := os.ReadFile(at)
		if err != nil {
			return Programs{}, err
		}
		if strings.Count(string(text), a.was) != 1 {
			return Programs{}, fmt.Errorf("%s has not once %q", a.file, a.was)
		}
		replace[at] = filepath.Join(dir, fmt.Sprintf("overlay%d.go", i))
		if err := os.WriteFile(replace[at], []byte(strings.Replace(string(text), a.was, a.is, 1)), 0o644); err != nil {
			return Programs{}, err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return Programs{}, err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o644); err != nil {
		return Programs{}, err
	}
	built := Programs{Txupd: filepath.Join(dir, "txupd"), Txctl: filepath.Join(dir, "txctl")}
	for cgo, to := range map[string]string{"1": built.Txupd, "0": built.Txctl} {
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-overlay", list, "-ldflags", "-X main.version=next", "-o", to, "./cmd/"+filepath.Base(to))
		cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED="+cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return Programs{}, fmt.Errorf("cannot build the next release: %w\n%s", err, out)
		}
	}
	return built, nil
}
