// Metrics over HTTP on a socket that systemd listens on.

package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/txupd/txupd/internal/metrics"
)

// ServeMetrics answers GET /metrics with what ask says, until nobody has asked
// for the time idle. It asks for each answer anew, one at a time.
func ServeMetrics(ctx context.Context, l net.Listener, idle time.Duration, log *slog.Logger, ask func(*http.Request) (string, error)) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	var asked atomic.Int64 // requests under way
	turn := make(chan struct{}, 1)
	timer := time.AfterFunc(idle, leave)
	defer timer.Stop()
	answer := func(w http.ResponseWriter, r *http.Request) {
		timer.Stop()
		asked.Add(1)
		defer func() {
			if asked.Add(-1) == 0 {
				timer.Reset(idle)
			}
		}()
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-r.Context().Done():
			return
		}
		text, err := ask(r)
		if err != nil {
			log.Warn("the metrics cannot be told", "error", err)
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", metrics.ContentType)
		if _, err := io.WriteString(w, text); err != nil {
			log.Debug("who asked for metrics has gone", "error", err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", answer)
	server := http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: idle, MaxHeaderBytes: 16 << 10}
	go func() {
		<-ctx.Done()
		// Who is being answered gets it. What comes meanwhile waits at systemd's end of the socket.
		if err := server.Shutdown(context.Background()); err != nil {
			log.Debug("the socket does not close", "error", err)
		}
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
