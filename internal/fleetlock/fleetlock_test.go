package fleetlock

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/fleetlock/fleetlocktest"
)

func TestSlotsAreGrantedOneAfterTheOther(t *testing.T) {
	server := fleetlocktest.New(t, 1)
	ctx := t.Context()
	a, b := Client{server.URL, "workers", ID("a")}, Client{server.URL + "/", "workers", ID("b")}
	other := Client{server.URL, "controllers", ID("b")}
	if err := a.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Lock(ctx); err != nil {
		t.Errorf("asked again: %v", err)
	}
	var refused *RefusedError
	if err := b.Lock(ctx); !errors.As(err, &refused) || refused.Kind != "all_slots_full" {
		t.Errorf("the second machine: %v", err)
	}
	if err := other.Lock(ctx); err != nil {
		t.Errorf("another group: %v", err)
	}
	for range 2 {
		if err := a.Unlock(ctx); err != nil {
			t.Errorf("given back: %v", err)
		}
	}
	if err := b.Lock(ctx); err != nil {
		t.Errorf("after it was given back: %v", err)
	}
}

// TestNoPermissionWithoutAnAnswer: whatever a server or a network does, only 200 is a permission.
func TestNoPermissionWithoutAnAnswer(t *testing.T) {
	for words, handler := range map[string]http.HandlerFunc{
		"busy: later": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"kind":"busy","value":"later"}`, http.StatusConflict)
		},
		"HTTP status 500": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>oops", http.StatusInternalServerError)
		},
		"HTTP status 404": http.NotFound,
		"HTTP status 302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
		"HTTP status 204": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"EOF":             func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"HTTP status 418": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			w.Write(make([]byte, 2*most))
		},
		"deadline exceeded": func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // only then it is seen that the other side went
			<-r.Context().Done()
		},
	} {
		server := httptest.NewServer(handler)
		ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if err := (Client{server.URL, "g", "i"}).Lock(ctx); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
		stop()
		server.CloseClientConnections()
		server.Close()
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if err := (Client{gone.URL, "g", "i"}).Lock(t.Context()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody is there: %v", err)
	}
}

func TestCheck(t *testing.T) {
	if err := Check("https://locks.example.com/fleet", "web.servers-1"); err != nil {
		t.Error(err)
	}
	for server, name := range map[string]string{
		"": "g", "locks.example.com": "g", "ftp://locks.example.com": "g", "https://": "g", "https://x/?a": "g", "http://x": "", "http://y": "a b", "http://z": "ä",
	} {
		if Check(server, name) == nil {
			t.Errorf("%q and %q are accepted", server, name)
		}
	}
	if ID("a") == ID("b") || ID("a") != ID("a") || len(ID("a")) != 32 {
		t.Errorf("machines are called %s and %s", ID("a"), ID("b"))
	}
}
