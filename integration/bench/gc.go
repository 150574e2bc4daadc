// What housekeeping costs with many snapshots.

package main

import (
	"time"
)

// housekeeping asks, with 500 snapshots of ours, what the rules would do with
// each, and lets them do it.
func (s *stage) housekeeping() error {
	for range 500 {
		if _, err := s.transactionOnce(true, emptyCommand); err != nil {
			return err
		}
	}
	explain, err := s.measure(func() (time.Duration, error) {
		return timed(func() error { return s.txctl("gc", "--explain") })
	})
	if err != nil {
		return err
	}
	status, err := s.measure(func() (time.Duration, error) {
		return timed(func() error { return s.txctl("status") })
	})
	if err != nil {
		return err
	}
	report("txctl gc --explain of 500 snapshots : txctl status", explain.median(), status.median(), "bar 200 ms")
	gone, err := timed(func() error { return s.txctl("gc") })
	if err != nil {
		return err
	}
	value("deleting some 480 of them, until their space is free", ms(gone), "no bar")
	return nil
}
