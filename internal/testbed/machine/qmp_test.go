package machine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

// fakeMonitor answers each command with what answer gives, after the greeting.
func fakeMonitor(conn net.Conn, answer func(command string, id int) string) {
	fmt.Fprintln(conn, `{"QMP": {"version": {}, "capabilities": []}}`)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		var r struct {
			Execute string
			ID      int
		}
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			return
		}
		fmt.Fprintln(conn, answer(r.Execute, r.ID))
	}
}

func TestMonitorTellsAnswersEventsAndRefusalsApart(t *testing.T) {
	ours, theirs := net.Pipe()
	polls := 0
	go fakeMonitor(theirs, func(command string, id int) string {
		done := fmt.Sprintf(`{"return": {}, "id": %d}`, id)
		switch command {
		case "query-status":
			polls++
			return fmt.Sprintf(`{"return": {"status": %q}, "id": %d}`, []string{"inmigrate", "paused"}[min(polls-1, 1)], id)
		case "cont":
			return `{"event": "RESUME", "data": {}}` + "\n" + done + "\n" + `{"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}`
		case "migrate":
			return fmt.Sprintf(`{"error": {"class": "GenericError", "desc": "no room"}, "id": %d}`, id)
		}
		return done
	})
	events := make(chan string, 4)
	m, err := newMonitor(limited(t), ours, func(name, reason string) { events <- name + " " + reason })
	if err != nil {
		t.Fatal(err)
	}
	if err := m.resume(limited(t)); err != nil {
		t.Error(err)
	}
	if first, second := <-events, <-events; first != "RESUME " || second != "RESET guest-reset" {
		t.Errorf("the events were %q and %q", first, second)
	}
	if err := m.save(limited(t), "/x"); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a refused command gave %v", err)
	}
	theirs.Close()
	if _, err := m.ask(limited(t), "cont", nil); err == nil {
		t.Error("a monitor that is gone has answered")
	}
}

func TestMonitorDoesNotTakeALateAnswerForAnother(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	held := make(chan struct{})
	go fakeMonitor(theirs, func(command string, id int) string {
		if command == "slow" {
			<-held
			return fmt.Sprintf(`{"return": {"status": "late"}, "id": %d}`, id)
		}
		return fmt.Sprintf(`{"return": {"status": %q}, "id": %d}`, command, id)
	})
	m, err := newMonitor(limited(t), ours, func(string, string) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.ask(ctx, "slow", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
	close(held)
	answer, err := m.ask(limited(t), "quick", nil)
	if err != nil || !strings.Contains(string(answer), "quick") {
		t.Errorf("the next command was answered with %s, %v", answer, err)
	}
}
