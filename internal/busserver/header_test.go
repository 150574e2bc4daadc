package busserver

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

func encoded(t testing.TB, m dbus.Message, order binary.ByteOrder) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.EncodeTo(&b, order); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sample(signature string) dbus.Message {
	m := dbus.Message{Type: dbus.TypeMethodCall, Flags: dbus.FlagNoAutoStart, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/org/txupd1")), dbus.FieldInterface: dbus.MakeVariant("org.txupd1.Manager"),
		dbus.FieldMember: dbus.MakeVariant("Show"), dbus.FieldSender: dbus.MakeVariant(":1.7"), dbus.FieldDestination: dbus.MakeVariant("org.txupd1"),
		dbus.FieldUnixFDs: dbus.MakeVariant(uint32(0)),
	}}
	if signature != "" {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.ParseSignatureMust(signature))
		m.Body = []any{uint64(1), map[string]dbus.Variant{}}
	}
	return m
}

func TestHeadOfAMessage(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		raw := encoded(t, sample("ta{sv}"), order)
		order.PutUint32(raw[8:], 42)
		fields, body, err := lengths(raw)
		if err != nil || int64(len(raw)) != fixedHeader+fields+body {
			t.Fatalf("lengths %d and %d of %d bytes, %v", fields, body, len(raw), err)
		}
		h, err := readHeader(raw[:fixedHeader+fields])
		want := header{dbus.TypeMethodCall, dbus.FlagNoAutoStart, 42, "/org/txupd1", "org.txupd1.Manager", "Show", ":1.7", "ta{sv}"}
		if err != nil || h != want {
			t.Errorf("%v: head %+v, %v; want %+v", order, h, err, want)
		}
		for n := range fixedHeader + int64(order.Uint32(raw[12:])) {
			if _, err := readHeader(raw[:n]); err == nil {
				t.Errorf("%v: %d bytes of the head are enough", order, n)
			}
		}
	}
}

// TestHeadsThatTheLibraryWrites: what a library puts into a head, in whatever order, is what we read.
func TestHeadsThatTheLibraryWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		m := sample([]string{"", "ta{sv}"}[random.IntN(2)])
		m.Type = []dbus.Type{dbus.TypeMethodCall, dbus.TypeSignal}[random.IntN(2)]
		m.Flags = dbus.Flags(random.IntN(8))
		m.Headers[dbus.FieldMember] = dbus.MakeVariant("M" + strings.Repeat("x", random.IntN(200)))
		m.Headers[dbus.FieldPath] = dbus.MakeVariant(dbus.ObjectPath("/" + strings.Repeat("p", random.IntN(1000))))
		raw := encoded(t, m, []binary.ByteOrder{binary.LittleEndian, binary.BigEndian}[random.IntN(2)])
		fields, _, err := lengths(raw)
		if err != nil {
			t.Fatal(err)
		}
		h, err := readHeader(raw[:fixedHeader+fields])
		if err != nil {
			t.Fatalf("the head of %v: %v", m.Headers, err)
		}
		compareHeads(t, h, &m)
	}
}

func compareHeads(t *testing.T, ours header, theirs *dbus.Message) {
	t.Helper()
	member, _ := theirs.Headers[dbus.FieldMember].Value().(string)
	path, _ := theirs.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	sender, _ := theirs.Headers[dbus.FieldSender].Value().(string)
	signature, _ := theirs.Headers[dbus.FieldSignature].Value().(dbus.Signature)
	if ours.member != member || ours.path != path || ours.sender != sender || ours.signature != signature.String() ||
		ours.kind != theirs.Type || ours.flags != theirs.Flags {
		t.Fatalf("the library has %v, we %+v", theirs.Headers, ours)
	}
}

// FuzzHead: what we read in a head is what the library reads, and nothing makes
// us fall. The library falls over a message that ends early, and takes memory
// for any length that it is told: it gets only whole ones, with a body of zeros.
func FuzzHead(f *testing.F) {
	f.Add(encoded(f, sample(""), binary.LittleEndian))
	f.Add(encoded(f, sample(""), binary.BigEndian))
	f.Add(encoded(f, sample("ta{sv}"), binary.LittleEndian))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < fixedHeader {
			return
		}
		order, err := byteOrder(raw[0])
		if err != nil {
			return
		}
		fields, _, err := lengths(raw)
		if err != nil || fields > int64(len(raw)-fixedHeader) {
			return
		}
		ours, err := readHeader(raw[:fixedHeader+fields])
		if err != nil {
			return
		}
		zeros := 0
		if ours.signature != "" {
			zeros = 8 * 256 // no signature is longer than 255, no zero value of a type than 8
		}
		whole := append(bytes.Clone(raw[:fixedHeader+fields]), make([]byte, zeros)...)
		order.PutUint32(whole[4:], uint32(zeros))
		m, err := dbus.DecodeMessage(bytes.NewReader(whole))
		if err != nil {
			return
		}
		compareHeads(t, ours, m)
	})
}
