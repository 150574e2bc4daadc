// Package fleetlocktest is a FleetLock server that follows the protocol, for tests.
package fleetlocktest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"
)

// Server grants so many slots in each group.
type Server struct {
	*httptest.Server
	slots int

	mu   sync.Mutex
	held map[string][]string // by group: the ids
	down bool
}

// New starts one that ends with the test.
func New(t testing.TB, slots int) *Server {
	s := &Server{slots: slots, held: map[string][]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/pre-reboot", s.answer(func(group, id string) bool {
		if slices.Contains(s.held[group], id) {
			return true
		}
		if len(s.held[group]) >= s.slots {
			return false
		}
		s.held[group] = append(s.held[group], id)
		return true
	}))
	mux.HandleFunc("POST /v1/steady-state", s.answer(func(group, id string) bool {
		s.held[group] = slices.DeleteFunc(s.held[group], func(one string) bool { return one == id })
		return true
	}))
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// Held lists who has a slot of a group.
func (s *Server) Held(group string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.held[group])
}

// Take gives a slot to another machine.
func (s *Server) Take(group, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[group] = append(s.held[group], id)
}

// Free takes every slot back.
func (s *Server) Free(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, group)
}

// Down makes it fail, or no more.
func (s *Server) Down(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

var name = regexp.MustCompile(`^[a-zA-Z0-9.-]+$`)

func (s *Server) answer(grant func(group, id string) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		refuse := func(status int, kind, value string) {
			w.Header().Set("content-type", "application/json")
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(map[string]string{"kind": kind, "value": value})
		}
		var body struct {
			Params struct{ Group, ID string } `json:"client_params"`
		}
		switch err := json.NewDecoder(r.Body).Decode(&body); {
		case s.down:
			refuse(http.StatusServiceUnavailable, "down", "come back later")
		case r.Header.Get("fleet-lock-protocol") != "true":
			refuse(http.StatusBadRequest, "bad_header", "this is no request of the protocol")
		case err != nil || !name.MatchString(body.Params.Group) || body.Params.ID == "":
			refuse(http.StatusBadRequest, "bad_params", "the group or the id is wrong")
		case !grant(body.Params.Group, body.Params.ID):
			refuse(http.StatusConflict, "all_slots_full", "all slots are taken")
		default:
			w.WriteHeader(http.StatusOK)
		}
	}
}
