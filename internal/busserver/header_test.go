package busserver

import (
	"bytes"
	"encoding/binary"
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

// FuzzHead: what the library reads in a head, we read too, and nothing makes us fall.
func FuzzHead(f *testing.F) {
	f.Add(encoded(f, sample(""), binary.LittleEndian))
	f.Add(encoded(f, sample(""), binary.BigEndian))
	f.Add(encoded(f, sample("ta{sv}"), binary.LittleEndian))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < fixedHeader {
			return
		}
		fields, body, err := lengths(raw)
		if err != nil || fields+body > 1<<16 {
			return
		}
		ours, err := readHeader(raw[:min(int64(len(raw)), fixedHeader+fields)])
		m, theirs := dbus.DecodeMessage(bytes.NewReader(raw))
		if theirs != nil {
			return
		}
		// They read fields of types that there are none of.
		if err != nil {
			for _, v := range m.Headers {
				if len(v.Signature().String()) > 1 || v.Signature().String() == "v" {
					return
				}
			}
			t.Fatalf("they read %v, we say %v", m.Headers, err)
		}
		member, _ := m.Headers[dbus.FieldMember].Value().(string)
		path, _ := m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
		sender, _ := m.Headers[dbus.FieldSender].Value().(string)
		signature, _ := m.Headers[dbus.FieldSignature].Value().(dbus.Signature)
		if ours.member != member || ours.path != path || ours.sender != sender || ours.signature != signature.String() || ours.kind != m.Type {
			t.Fatalf("they read %v, we %+v", m.Headers, ours)
		}
	})
}
