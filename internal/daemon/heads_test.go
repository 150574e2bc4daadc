package daemon

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/journal"
)

func TestHeadsAreFoundInOurLogAndNowhereElse(t *testing.T) {
	hash := strings.Repeat("0123456789abcdef", 4)
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	say := func(seq int) { log.Info(update.HeadMessage, "journal", "ABC", "seq", seq, "hash", hash) }
	say(1)
	forged := strings.TrimSpace(out.String())
	log.Error("cannot do it", "error", errors.New(forged))
	log.Error(forged)
	log.Error("two lines\n" + forged)
	log.Warn(update.HeadMessage, "journal", "ABC", "seq", 7, "hash", hash)
	out.WriteString(strings.Repeat("x", 100_000) + "\n" + "hello " + forged + "\n")
	say(12)
	got, err := headsIn(&out)
	if err != nil {
		t.Fatal(err)
	}
	want := []journal.Head{{Journal: "ABC", Seq: 1, Hash: hash}, {Journal: "ABC", Seq: 12, Hash: hash}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
