// Command oracle looks at the system mounted at a directory, as package oracle
// does, where no Go is: in a guest. It prints the facts as JSON; whoever reads
// them judges.
//
//	oracle [--fingerprint PATH,…] [--former UUID] ROOT
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
	prints := flags.String("fingerprint", "", "`paths` below the root to take the fingerprint of, with commas between")
	former := flags.String("former", "", "`uuid` of another root to take the fingerprint of, too")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(stderr, "oracle: name the directory at which the system is mounted")
		return 2
	}
	o := oracle.Options{Root: flags.Arg(0), Former: *former}
	if *prints != "" {
		o.Fingerprint, o.FingerprintOf = true, strings.Split(*prints, ",")
	}
	facts, err := oracle.Look(o)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(facts)
	}
	if err != nil {
		fmt.Fprintln(stderr, "oracle:", err)
		return 1
	}
	return 0
}
