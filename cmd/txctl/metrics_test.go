package main

import (
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/fault"
)

func TestMetricsArePrinted(t *testing.T) {
	f := newFake(t)
	if got := f.txctl(nil, "metrics"); got.code != 0 || !strings.HasSuffix(got.stdout, "# TYPE txupd_warnings gauge\ntxupd_warnings 2\n") {
		t.Errorf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got := f.txctl(nil, "metrics", "--json"); got.code != 0 || !strings.Contains(got.stdout, `"txupd_warnings"`) {
		t.Errorf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	f.refuse = fault.ErrNotSupported
	if got := f.txctl(nil, "metrics"); got.code == 0 || got.stdout != "" {
		t.Errorf("refused, and yet exit %d: %s", got.code, got.stdout)
	}
}
