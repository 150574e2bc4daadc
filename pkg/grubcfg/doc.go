// Package grubcfg writes what boot loaders read: GRUB's menu of snapshots with
// the counting of trial boots, GRUB's environment block, the hook that loads
// the menu, and Boot Loader Specification entries for systemd-boot. It only
// turns values into bytes and back; files, flushing and mounts are its
// caller's.
package grubcfg
