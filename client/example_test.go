package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/txupd/txupd/client"
)

// Is there something that a reboot would bring?
func Example() {
	ctx := context.Background()
	c, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	status, err := c.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if status.Pending != nil {
		fmt.Printf("snapshot %d boots next: %s\n", status.Pending.Number, status.Pending.Message)
	}
}

// Install a package, show how far it is, and say what was installed.
func ExampleClient_PackageAdd() {
	ctx := context.Background()
	c, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	c.OnProgress(func(number uint64, p client.Progress) {
		if done := p.Known(); done != nil {
			fmt.Printf("%s %.0f %% %s\n", p.Phase, 100**done, p.Text)
		}
	})
	why := "the web team wants it"
	t, err := c.PackageAdd(ctx, []string{"nginx"}, client.About{Message: &why})
	if err != nil {
		log.Fatal(err)
	}
	outcome, err := t.Wait(ctx)
	if err == nil {
		err = outcome.Err()
	}
	if errors.Is(err, client.ErrNoSpace) {
		log.Fatal("delete something first: ", err)
	}
	if err != nil {
		log.Fatal(err) // nothing has changed
	}
	for _, p := range outcome.PackageChanges {
		fmt.Println(p.Change, p.Name, p.New)
	}
}

// Do several things in one transaction, in which either all of them happen or none.
func ExampleClient_Begin() {
	ctx := context.Background()
	c, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	var t *client.Transaction
	// Where another transaction is in progress, it is waited for.
	err = c.WhileBusy(ctx, func() (err error) {
		t, err = c.Begin(ctx, client.About{Tags: []string{"hardening"}})
		return err
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, argv := range [][]string{
		{"rm", "-f", "/etc/motd"},
		{"chmod", "0700", "/root"},
	} {
		i, err := t.Exec(ctx, argv, client.Input{}, false)
		if err != nil {
			log.Fatal(err)
		}
		if exit, err := t.WaitCommand(ctx, i); err != nil || exit != 0 {
			t.Discard(ctx)
			log.Fatalf("%q ended with %d, %v", argv, exit, err)
		}
	}
	if err := t.Commit(ctx, client.About{}); err != nil {
		log.Fatal(err)
	}
	outcome, err := t.Wait(ctx)
	if err == nil {
		err = outcome.Err()
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("snapshot %d boots next\n", outcome.Number)
}

// Follow what others do, until the context ends.
func ExampleClient_Watch() {
	ctx := context.Background()
	c, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	err = c.Watch(ctx, func(e client.Event) {
		fmt.Fprintln(os.Stderr, e.Time, e.Event, e.Number)
	})
	if err != nil {
		log.Fatal(err)
	}
}
