#!/bin/sh
# Disables the units when txupd goes, not when it is updated. Snapshots stay.
set -e
case $1 in
remove | 0) ;;
*) exit 0 ;;
esac
command -v systemctl >/dev/null || exit 0
systemctl --no-reload disable @UNITS@
if [ -d /run/systemd/system ]; then
	systemctl stop txupd.service
fi
