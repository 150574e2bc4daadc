package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/metrics"
)

func TestMetricsAreServedUntilNobodyAsks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	fails := false
	ended := make(chan error, 1)
	go func() {
		ended <- ServeMetrics(t.Context(), l, 300*time.Millisecond, slog.New(slog.DiscardHandler), func(*http.Request) (string, error) {
			if fails {
				return "", errors.New("no daemon")
			}
			return "txupd_warnings 0\n", nil
		})
	}()
	over := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	get := func(method, where string) (int, string, string) {
		q, err := http.NewRequestWithContext(t.Context(), method, "http://any"+where, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := over.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, r.Header.Get("Content-Type"), string(text)
	}
	if code, kind, text := get(http.MethodGet, "/metrics"); code != http.StatusOK || kind != metrics.ContentType || text != "txupd_warnings 0\n" {
		t.Errorf("%d, %s: %q", code, kind, text)
	}
	if code, _, _ := get(http.MethodPost, "/metrics"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", code)
	}
	if code, _, _ := get(http.MethodGet, "/"); code != http.StatusNotFound {
		t.Errorf("another path: %d", code)
	}
	fails = true
	if code, _, text := get(http.MethodGet, "/metrics"); code != http.StatusServiceUnavailable || text != "no daemon\n" {
		t.Errorf("without a daemon: %d, %q", code, text)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it does not leave")
	}
}
