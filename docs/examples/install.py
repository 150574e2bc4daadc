#!/usr/bin/python3
"""Installs packages by way of txupd, as a desktop program does: over the bus.

It knows the names of two objects and what it wants; which methods, signals and
properties there are it takes from the introspection data. Ctrl-C cancels.

usage: install.py PACKAGE...        needs python3-gi
"""

import signal
import sys

from gi.repository import Gio, GLib

NAME, PATH = "org.txupd1", "/org/txupd1"


class Thing:
    """One object on the bus, described by itself."""

    def __init__(self, bus, path):
        self.bus, self.path = bus, path
        xml = bus.call_sync(NAME, path, "org.freedesktop.DBus.Introspectable", "Introspect", None,
                            GLib.VariantType("(s)"), Gio.DBusCallFlags.NONE, -1, None).unpack()[0]
        self.interfaces = Gio.DBusNodeInfo.new_for_xml(xml).interfaces

    def _having(self, what, name):
        for interface in self.interfaces:
            if any(one.name == name for one in getattr(interface, what)):
                return interface
        raise LookupError(f"{self.path} has no {name} among its {what}")

    def call(self, method, *arguments):
        """Calls a method with arguments of the types that it says it takes."""
        interface = self._having("methods", method)
        takes = "".join(a.signature for a in interface.lookup_method(method).in_args)
        answer = self.bus.call_sync(NAME, self.path, interface.name, method, GLib.Variant(f"({takes})", arguments),
                                    None, Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION, GLib.MAXINT, None)
        return answer.unpack()

    def property(self, name):
        interface = self._having("properties", name)
        return self.bus.call_sync(NAME, self.path, "org.freedesktop.DBus.Properties", "Get",
                                  GLib.Variant("(ss)", (interface.name, name)), GLib.VariantType("(v)"),
                                  Gio.DBusCallFlags.NONE, -1, None).unpack()[0]

    def on(self, name, do):
        """Calls do with the arguments of each signal of that name."""
        interface = self._having("signals", name)
        self.bus.signal_subscribe(NAME, interface.name, name, self.path, None, Gio.DBusSignalFlags.NONE,
                                  lambda *event: do(*event[5].unpack()))


def show(phase, fraction, text):
    """A program with windows would move its bar here."""
    percent = f"{100 * fraction:3.0f} % " if fraction >= 0 else ""
    print(f"{phase}: {percent}{text}", flush=True)


def main(packages):
    bus = Gio.bus_get_sync(Gio.BusType.SYSTEM, None)
    manager = Thing(bus, PATH)
    loop = GLib.MainLoop()
    # Signals of the transaction may come before we know its path: the end is a property, too.
    path, = manager.call("PackageAdd", packages, {"message": GLib.Variant("s", "asked for by an example")})
    transaction = Thing(bus, path)
    transaction.on("Progress", show)
    transaction.on("Finished", lambda *end: loop.quit())
    signal.signal(signal.SIGINT, lambda *_: transaction.call("Cancel", {}))
    show(*transaction.property("Progress"))
    if not transaction.property("Finished"):
        loop.run()
    phase, error = transaction.property("Phase"), transaction.property("ErrorMessage")
    print(f"{phase}: {error}" if error else phase)
    if manager.property("RebootRequired"):
        print("restart to use it")
    return 0 if phase == "committed" else 1


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1:]))
    except GLib.Error as refused:
        sys.exit(Gio.DBusError.get_remote_error(refused) + ": " + refused.message if Gio.DBusError.is_remote_error(refused) else refused.message)
