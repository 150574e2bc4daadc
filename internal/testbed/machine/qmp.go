// The monitor of QEMU: JSON lines. Protocol: docs/interop/qmp-spec of QEMU.

package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

type monitor struct {
	out     io.Writer
	asking  sync.Mutex
	asked   int
	answers chan reply
	done    chan struct{} // the connection has ended
}

type reply struct {
	ID     int             `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class, Desc string
	} `json:"error"`
	Event string `json:"event"`
	Data  struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
	} `json:"data"`
}

// newMonitor talks over conn and calls event for every event, until conn ends.
func newMonitor(ctx context.Context, conn io.ReadWriter, event func(name, reason string)) (*monitor, error) {
	m := &monitor{out: conn, answers: make(chan reply, 1), done: make(chan struct{})}
	go m.listen(conn, event)
	if _, err := m.ask(ctx, "qmp_capabilities", nil); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *monitor) listen(in io.Reader, event func(name, reason string)) {
	defer close(m.done)
	for decoder := json.NewDecoder(in); ; {
		var r reply
		if err := decoder.Decode(&r); err != nil {
			return
		}
		switch {
		case r.Event != "":
			event(r.Event, r.Data.Reason)
		case r.Return != nil || r.Error != nil: // and not the greeting
			m.answers <- r
		}
	}
}

// ask runs one command of the monitor.
func (m *monitor) ask(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	m.asking.Lock()
	defer m.asking.Unlock()
	m.asked++
	message := map[string]any{"execute": command, "id": m.asked}
	if arguments != nil {
		message["arguments"] = arguments
	}
	line, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	if _, err := m.out.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("cannot ask the monitor for %s: %w", command, err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-m.done:
			return nil, fmt.Errorf("cannot ask the monitor for %s: %w", command, errGone)
		case r := <-m.answers:
			switch {
			case r.ID != m.asked: // somebody has not waited for it
			case r.Error != nil:
				return nil, fmt.Errorf("the monitor refused %s: %s", command, r.Error.Desc)
			default:
				return r.Return, nil
			}
		}
	}
}

// poll is how often the progress of saving and resuming is looked at: QEMU tells
// the end of neither by itself.
const poll = 20 * time.Millisecond

// status asks command until its status is one of those wanted, which it returns.
func (m *monitor) status(ctx context.Context, command string, wanted func(status string) bool) (string, error) {
	for {
		answer, err := m.ask(ctx, command, nil)
		if err != nil {
			return "", err
		}
		var s struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal(answer, &s); err != nil {
			return "", err
		}
		if wanted(s.Status) {
			return s.Status, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s says %q: %w", command, s.Status, ctx.Err())
		case <-time.After(poll):
		}
	}
}

// press presses and releases a key.
func (m *monitor) press(ctx context.Context, key string) error {
	_, err := m.ask(ctx, "send-key", map[string]any{"keys": []map[string]string{{"type": "qcode", "data": key}}})
	return err
}

// save writes the memory of the stopped machine to a file.
func (m *monitor) save(ctx context.Context, path string) error {
	if _, err := m.ask(ctx, "stop", nil); err != nil {
		return err
	}
	if _, err := m.ask(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": 10 << 30}); err != nil {
		return err
	}
	if _, err := m.ask(ctx, "migrate", map[string]any{"uri": "exec:cat >'" + path + "'"}); err != nil {
		return err
	}
	ended := func(s string) bool { return s == "completed" || s == "failed" || s == "cancelled" }
	status, err := m.status(ctx, "query-migrate", ended)
	if err == nil && status != "completed" {
		err = fmt.Errorf("saving the memory %s", status)
	}
	return err
}

// resume lets a machine go on that was started from saved memory.
func (m *monitor) resume(ctx context.Context) error {
	if _, err := m.status(ctx, "query-status", func(s string) bool { return s == "paused" || s == "running" }); err != nil {
		return err
	}
	_, err := m.ask(ctx, "cont", nil)
	return err
}
