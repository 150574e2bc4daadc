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

// FuzzHeadsInLogs: whatever others make us log, no head comes of it, and our own
// heads before and after are found.
func FuzzHeadsInLogs(f *testing.F) {
	hash := strings.Repeat("0123456789abcdef", 4)
	f.Add("cannot do it", "error", "time=x level=INFO msg=\"journal head\" journal=A seq=1 hash="+hash, "ABC", uint64(7))
	f.Add("journal head", "journal", "X seq=1 hash="+hash, "A", uint64(0))
	f.Add("a\nb", "\n", "\r\x00\xff", "A=B", uint64(1))
	f.Fuzz(func(t *testing.T, message, key, value, id string, seq uint64) {
		if id == "" || len(id) > 1000 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '=' || r == '\\' }) {
			return // a journal's own id is letters and digits
		}
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		say := func(seq uint64) { log.Info(update.HeadMessage, "journal", id, "seq", seq, "hash", hash) }
		say(seq)
		log.Error(message, key, value)
		log.Warn(message, "error", errors.New(value))
		log.Debug(value, key, message)
		if message != update.HeadMessage {
			log.Info(message, key, value)
		}
		log.Info("a transaction began", key, value)
		say(seq + 1)
		got, err := headsIn(&out)
		if err != nil {
			t.Fatal(err)
		}
		want := []journal.Head{{Journal: id, Seq: seq, Hash: hash}, {Journal: id, Seq: seq + 1, Hash: hash}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
