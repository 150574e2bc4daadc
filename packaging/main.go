// Makes packages of an installed tree: a .deb and an .rpm.
//
// It is a module of its own, so that what builds packages is nothing that txupd
// itself depends on.
package main

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/files"

	_ "github.com/goreleaser/nfpm/v2/deb"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

func main() {
	tree := flag.String("tree", "", "the `directory` that scripts/install installed into, with ENABLE=no")
	version := flag.String("version", "", "as git describe has it")
	out := flag.String("out", "", "the `directory` for the packages")
	arch := flag.String("arch", "amd64", "as Go calls it")
	scripts := flag.String("scripts", "", "the `directory` of the scripts")
	flag.Parse()
	if err := build(*tree, *version, *out, *arch, *scripts); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func build(tree, version, out, arch, scripts string) error {
	when := time.Now()
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH=%q is no time in seconds", epoch)
		}
		when = time.Unix(seconds, 0)
	}
	libc, err := libcOf(filepath.Join(tree, "usr/libexec/txupd"))
	if err != nil {
		return err
	}
	for _, format := range []string{"deb", "rpm"} {
		contents, err := contentsOf(tree, format, when)
		if err != nil {
			return err
		}
		info := about(format, version, arch, libc, scripts, when)
		info.Contents = contents
		if err := write(info, format, out); err != nil {
			return err
		}
	}
	return nil
}

func about(format, version, arch, libc, scripts string, when time.Time) *nfpm.Info {
	info := &nfpm.Info{
		Name: "txupd", Arch: arch, Platform: "linux", Version: version, VersionSchema: "none", Section: "admin", Priority: "optional",
		Maintainer: "txupd maintainers <maintainers@txupd.invalid>", Vendor: "txupd", License: "Apache-2.0", Homepage: "https://github.com/txupd/txupd",
		Description: "transactional updates on btrfs\n" +
			"Every change of the system is made in a fork of its root, recorded with who, why and what, and becomes\n" +
			"what boots next in one step. What runs is not touched, and any change can be taken back.",
		MTime: when,
		Overridables: nfpm.Overridables{
			Scripts: nfpm.Scripts{
				PostInstall: filepath.Join(scripts, "postinstall.sh"), PreRemove: filepath.Join(scripts, "preremove.sh"), PostRemove: filepath.Join(scripts, "postremove.sh"),
			},
		},
	}
	switch format {
	case "deb":
		info.Depends = []string{"libc6 (>= " + libc + ")", "default-dbus-system-bus | dbus-system-bus"}
		info.Recommends, info.Suggests = []string{"polkitd"}, []string{"less"}
	case "rpm":
		info.Depends = []string{"libc.so.6(GLIBC_" + libc + ")(64bit)", "systemd"}
		info.Recommends, info.Suggests = []string{"polkit"}, []string{"less"}
	}
	return info
}

// libcOf is the newest version of the C library of which a program uses something.
func libcOf(program string) (string, error) {
	file, err := elf.Open(program)
	if err != nil {
		return "", err
	}
	defer file.Close()
	symbols, err := file.ImportedSymbols()
	if err != nil {
		return "", err
	}
	newest := []int{0, 0}
	for _, s := range symbols {
		if version, ok := strings.CutPrefix(s.Version, "GLIBC_"); ok {
			var v []int
			for part := range strings.SplitSeq(version, ".") {
				n, err := strconv.Atoi(part)
				if err != nil {
					break // GLIBC_PRIVATE
				}
				v = append(v, n)
			}
			if len(v) >= 2 && slices.Compare(v[:2], newest) > 0 {
				newest = v[:2]
			}
		}
	}
	if newest[0] == 0 {
		return "", fmt.Errorf("%s uses no C library", program)
	}
	return fmt.Sprintf("%d.%d", newest[0], newest[1]), nil
}

// places are the directories that other packages have, too.
var places = []string{"", "etc", "usr", "usr/bin", "usr/lib", "usr/libexec", "usr/share"}

// contentsOf lists what is in the tree, as the format has it.
func contentsOf(tree, format string, when time.Time) (files.Contents, error) {
	var all files.Contents
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(tree, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := "/" + rel
		// Where zsh looks is a matter of the distribution.
		if format == "rpm" {
			to = strings.Replace(to, "/zsh/vendor-completions/", "/zsh/site-functions/", 1)
		} else {
			to = strings.Replace(to, "/zsh/site-functions/", "/zsh/vendor-completions/", 1)
		}
		content := &files.Content{Source: path, Destination: to, FileInfo: &files.ContentFileInfo{Mode: info.Mode().Perm(), MTime: when, Owner: "root", Group: "root"}}
		switch {
		case d.IsDir():
			// Ours are those of the name, and what is below them.
			if !strings.Contains(rel, "txupd") || slices.Contains(places, rel) {
				return nil
			}
			content.Type, content.Source = files.TypeDir, ""
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is no regular file", path)
		case strings.HasPrefix(rel, "usr/share/man/"):
			content.Destination += ".gz"
			if content.Source, err = compressed(path); err != nil {
				return err
			}
		}
		all = append(all, content)
		return nil
	})
	return all, err
}

// compressed makes a file beside another one, the same each time.
func compressed(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := z.Write(text); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "txupd-man-")
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, filepath.Base(path)+".gz")
	return to, os.WriteFile(to, b.Bytes(), 0o644)
}

func write(info *nfpm.Info, format, out string) (err error) {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	path := filepath.Join(out, packager.ConventionalFileName(info))
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			os.Remove(path)
			return
		}
		fmt.Println(path)
	}()
	return packager.Package(info, file)
}
