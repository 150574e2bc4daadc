// The head of a message, read without the library: who calls what with how much
// has to be known before anything of the rest is looked at.

package busserver

import (
	"encoding/binary"
	"errors"

	"github.com/godbus/dbus/v5"
)

// fixedHeader is what every message begins with (bytes): byte order, type,
// flags, version, length of the body, serial, length of the fields.
//
// Layout: D-Bus Specification, "Message Format".
const fixedHeader = 16

// header is the head of a message.
type header struct {
	kind   dbus.Type
	flags  dbus.Flags
	serial uint32

	path                  dbus.ObjectPath
	iface, member, sender string
	signature             string
}

// lengths reads how long the fields, with their padding, and the body are (bytes).
func lengths(fixed []byte) (fields, body int64, err error) {
	order, err := byteOrder(fixed[0])
	if err != nil {
		return 0, 0, err
	}
	fields = int64(order.Uint32(fixed[12:]))
	return (fields + 7) &^ 7, int64(order.Uint32(fixed[4:])), nil
}

func byteOrder(mark byte) (binary.ByteOrder, error) {
	switch mark {
	case 'l':
		return binary.LittleEndian, nil
	case 'B':
		return binary.BigEndian, nil
	}
	return nil, errors.New("the message has no byte order")
}

// errHeader: the bus passes on nothing of that kind.
var errHeader = errors.New("the head of the message cannot be read")

// readHeader reads the head of a message from its bytes up to the body.
func readHeader(raw []byte) (header, error) {
	if len(raw) < fixedHeader {
		return header{}, errHeader
	}
	order, err := byteOrder(raw[0])
	if err != nil {
		return header{}, err
	}
	h := header{kind: dbus.Type(raw[1]), flags: dbus.Flags(raw[2]), serial: order.Uint32(raw[8:])}
	length := int64(order.Uint32(raw[12:]))
	if length > int64(len(raw)-fixedHeader) {
		return header{}, errHeader
	}
	r := fieldReader{order: order, raw: raw[:fixedHeader+int(length)], at: fixedHeader}
	for r.at < len(r.raw) {
		r.align(8)
		code := r.byte()
		value := r.variant()
		if r.failed {
			return header{}, errHeader
		}
		text, _ := value.(string)
		switch dbus.HeaderField(code) {
		case dbus.FieldPath:
			h.path = dbus.ObjectPath(text)
		case dbus.FieldInterface:
			h.iface = text
		case dbus.FieldMember:
			h.member = text
		case dbus.FieldSender:
			h.sender = text
		case dbus.FieldSignature:
			h.signature = text
		}
	}
	return h, nil
}

// fieldReader reads header fields. Once something is missing it has failed and reads zeros.
type fieldReader struct {
	order  binary.ByteOrder
	raw    []byte
	at     int
	failed bool
}

func (r *fieldReader) take(n int) []byte {
	if r.failed || n < 0 || n > len(r.raw)-r.at {
		r.failed = true
		return make([]byte, min(max(n, 0), 8))
	}
	r.at += n
	return r.raw[r.at-n : r.at]
}

func (r *fieldReader) align(n int) { r.take((n - r.at%n) % n) }
func (r *fieldReader) byte() byte  { return r.take(1)[0] }

func (r *fieldReader) uint32() uint32 {
	r.align(4)
	return r.order.Uint32(r.take(4))
}

// text reads so many bytes and the NUL after them.
func (r *fieldReader) text(length uint32) string {
	if int64(length) >= int64(len(r.raw)-r.at) {
		r.failed = true
		return ""
	}
	s := string(r.take(int(length)))
	r.byte()
	return s
}

// variant reads a value of a basic type; fields of others, of which there are
// none, fail. Numbers are of no interest here.
func (r *fieldReader) variant() any {
	switch r.text(uint32(r.byte())) {
	case "s", "o":
		return r.text(r.uint32())
	case "g":
		return r.text(uint32(r.byte()))
	case "y":
		r.byte()
	case "n", "q":
		r.align(2)
		r.take(2)
	case "b", "i", "u", "h":
		r.uint32()
	case "x", "t", "d":
		r.align(8)
		r.take(8)
	default:
		r.failed = true
	}
	return nil
}
