// Command oracle looks at the system mounted at a directory and judges it, as
// package oracle does, where no Go is: in a guest. It prints JSON; the exit
// status is 0 also where something is wrong.
//
//	oracle [--expect FILE] [--before FILE] [--fingerprint PATH,…] ROOT
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/txupd/txupd/integration/oracle"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("oracle", flag.ContinueOnError)
	flags.SetOutput(stderr)
	expect := flags.String("expect", "", "`file` with what is expected (oracle.Expect as JSON); without one nothing is judged")
	before := flags.String("before", "", "`file` with what was printed before, to compare with")
	prints := flags.String("fingerprint", "", "`paths` below the root to take the fingerprint of, with commas between")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(stderr, "oracle: name the directory at which the system is mounted")
		return 2
	}
	if err := judge(stdout, flags.Arg(0), *expect, *before, *prints); err != nil {
		fmt.Fprintln(stderr, "oracle:", err)
		return 1
	}
	return 0
}

func judge(stdout io.Writer, root, expect, before, prints string) error {
	o := oracle.Options{Root: root}
	if prints != "" {
		o.Fingerprint, o.FingerprintOf = true, strings.Split(prints, ",")
	}
	var doc oracle.Report
	var err error
	if doc.Facts, err = oracle.Look(o); err != nil {
		return err
	}
	if expect != "" {
		var e oracle.Expect
		if err := read(expect, &e); err != nil {
			return err
		}
		var was oracle.Report
		if before != "" {
			if err := read(before, &was); err != nil {
				return err
			}
		}
		doc.Findings = oracle.Judge(was.Facts, doc.Facts, e)
	}
	return json.NewEncoder(stdout).Encode(doc)
}

func read(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}
