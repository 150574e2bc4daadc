// `txctl reboot`: when the machine boots what boots next.

package main

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) rebootCommand() *cobra.Command {
	var now, inWindow, cancel, status bool
	var in, at, method string
	c := &cobra.Command{
		Use:   "reboot [--now | --in DURATION | --at TIME | --window | --cancel | --status] [--method METHOD]",
		Short: "Reboot now, at a time, or when it disturbs nobody",
		Long: "reboot asks for a reboot: now, after it asked on the terminal, unless an option says otherwise. It waits for\n" +
			"whatever it would break off: a transaction at work, and programs that keep the machine from shutting down.\n" +
			"--window also waits for a time at which the configuration ([[reboot.window]]) lets the machine reboot, and\n" +
			"until nobody is logged in. Those who are logged in are told. One request stands at a time: of two the\n" +
			"earlier one counts.\n\n" +
			"Where the kernel and its command line stay the same, and systemd is 254 or newer, the machine soft-reboots: user\n" +
			"space begins anew in what boots next, without firmware and boot loader. --status says which it is, and why;\n" +
			"--method and the configuration (reboot.method) choose.",
		Example:    "  txctl reboot\n  txctl reboot --window -m \"the new kernel\"\n  txctl reboot --at 22:30\n  txctl reboot --status",
		SuggestFor: []string{"restart", "shutdown"},
		Args:       noArguments,
		RunE: func(*cobra.Command, []string) error {
			chosen := 0
			for _, given := range []bool{now, inWindow, cancel, status, in != "", at != ""} {
				if given {
					chosen++
				}
			}
			if chosen > 1 {
				return usagef("--now, --in, --at, --window, --cancel and --status exclude each other", "txctl reboot: more than one of its options is given")
			}
			if (a.message != nil || method != "") && (cancel || status) {
				return usagef("both go with a request", "txctl reboot: -m and --method are not accepted with --cancel and --status")
			}
			methods := []string{bus.RebootAuto, bus.RebootFull, bus.RebootSoft}
			if method != "" && !slices.Contains(methods, method) {
				return usagef("accepted are "+strings.Join(methods, ", "), "--method: there is no %s", short(method))
			}
			switch {
			case cancel:
				return a.cancelReboot()
			case status:
				return a.rebootStatus()
			case inWindow:
				return a.reboot(bus.RebootWindow, time.Time{}, method)
			case in != "":
				seconds, err := duration("--in", in)
				if err != nil {
					return err
				}
				if seconds == 0 {
					return usagef("accepted are for example 90m, 36h, 2d and 1w", "--in: %s is no time to wait", short(in))
				}
				return a.reboot(bus.RebootAt, a.now().Add(time.Duration(seconds)*time.Second), method)
			case at != "":
				t, err := a.coming("--at", at)
				if err != nil {
					return err
				}
				return a.reboot(bus.RebootAt, t, method)
			case !now:
				if err := a.confirm("reboot", "reboot this machine now?"); err != nil {
					return err
				}
			}
			return a.reboot(bus.RebootNow, time.Time{}, method)
		},
	}
	c.Flags().BoolVar(&now, "now", false, "at once, without asking")
	c.Flags().StringVar(&in, "in", "", "after a `DURATION`: 90m, 8h")
	c.Flags().StringVar(&at, "at", "", "at a `TIME`: 22:30, \"2026-03-14 03:00\"")
	c.Flags().BoolVar(&inWindow, "window", false, "in a window of the configuration, when nobody is logged in")
	c.Flags().StringVar(&method, "method", "", "how: `METHOD` is auto, reboot or soft-reboot")
	c.Flags().BoolVar(&cancel, "cancel", false, "take the request back")
	c.Flags().BoolVar(&status, "status", false, "say which reboot is asked for, and what it waits for")
	return c
}

func (a *app) reboot(when string, at time.Time, method string) error {
	reason := ""
	if a.message != nil {
		reason = *a.message
	}
	d, err := a.daemon()
	if err != nil {
		return err
	}
	doc, err := d.Reboot(a.urged, when, at, method, reason)
	if err != nil {
		return err
	}
	return a.rebootResult(doc)
}

func (a *app) cancelReboot() error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	if err := d.CancelReboot(a.urged); err != nil {
		return err
	}
	return a.result(bus.RebootStatus{}, func(present.Screen) string { return "the reboot is no longer asked for\n" })
}

func (a *app) rebootStatus() error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	doc, err := d.RebootStatus(a.asked)
	if err != nil {
		return err
	}
	return a.rebootResult(doc)
}

func (a *app) rebootResult(doc bus.RebootStatus) error {
	return a.result(doc, func(s present.Screen) string {
		if doc.Marked != "" {
			return s.Paragraph("This machine is not rebooted by txupd (reboot.method is none): " + doc.Marked + " says that it has to be. \"--method reboot\" does it nevertheless.")
		}
		if doc.Reboot == nil {
			return "no reboot is asked for\n"
		}
		return s.Reboot(*doc.Reboot)
	})
}
