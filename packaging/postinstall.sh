#!/bin/sh
# Enables the units as the presets of this system say, when txupd comes; an
# update leaves them as somebody has set them. In a snapshot there is no systemd
# to tell: then only links are made.
set -e
first=no
case $1 in
configure) [ -n "$2" ] || first=yes ;; # deb
1) first=yes ;;                        # rpm
esac
command -v systemctl >/dev/null || exit 0
if [ $first = yes ]; then
	systemctl --no-reload preset @UNITS@
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
