// Package fleetlock asks a server for the permission to reboot, so that of a
// fleet never more than the server allows reboot at the same time.
//
// The protocol is FleetLock, as Zincati of Fedora CoreOS describes it: two POST
// requests, no lease. Who got a slot has it until it says that it is steady again.
package fleetlock

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Client speaks with one server.
type Client struct {
	URL   string // of the server, without /v1
	Group string
	ID    string // of this machine, see ID
}

// RefusedError is an answer that is no permission: the server's own words.
type RefusedError struct{ Kind, Value string }

func (e *RefusedError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("the reboot server refuses: %s: %s", e.Kind, e.Value), ": ")
}

// timeout is for one request.
const timeout = 30 * time.Second

// most is how much of an answer is read, in bytes.
const most = 64 << 10

var group = regexp.MustCompile(`^[a-zA-Z0-9.-]+$`)

// Check says what is wrong with the address of a server and a group.
func Check(server, name string) error {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is no address of a server such as https://locks.example.com", server)
	}
	if !group.MatchString(name) {
		return fmt.Errorf("%q is no group: letters, digits, dots and hyphens are accepted", name)
	}
	return nil
}

// ID is what a machine is called: the same every time, and the id of the machine cannot be told from it.
func ID(machineID string) string {
	h := hmac.New(sha256.New, []byte(machineID))
	io.WriteString(h, "org.txupd1 fleetlock")
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Lock asks for a slot. Asked again by the machine that has it, it is granted again.
func (c Client) Lock(ctx context.Context) error { return c.post(ctx, "pre-reboot") }

// Unlock gives the slot back. Asked by a machine that has none it is granted, too.
func (c Client) Unlock(ctx context.Context) error { return c.post(ctx, "steady-state") }

func (c Client) post(ctx context.Context, what string) error {
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	body, err := json.Marshal(map[string]any{"client_params": map[string]string{"group": c.Group, "id": c.ID}})
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.URL, "/")+"/v1/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("fleet-lock-protocol", "true")
	q.Header.Set("content-type", "application/json")
	client := http.Client{
		// A redirect would make a GET of it, and its success would be no permission.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(q)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address stands in the configuration
		}
		return fmt.Errorf("cannot ask the reboot server: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, most))
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	var refused RefusedError
	if err != nil || json.Unmarshal(text, &refused) != nil || refused.Kind == "" {
		refused = RefusedError{Kind: "HTTP status " + answer.Status}
	}
	return &refused
}
