// Package durable writes small files that are there whole and for good, or not at all: a crash leaves neither a part of one nor a
// name without content. Their permissions are what is asked for, whatever the umask.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Create makes a file. One that is there already is left alone; the error is then fs.ErrExist.
func Create(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, func(from string) error {
		err := os.Link(from, path)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return errors.Join(err, os.Remove(from))
		}
		return os.Rename(from, path) // the file system has no links
	})
}

// Replace makes a file, or replaces the one that is there in one step.
func Replace(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, func(from string) error { return os.Rename(from, path) })
}

// write makes a file under another name, in the same directory, and then gives it its name.
func write(path string, data []byte, mode fs.FileMode, name func(from string) error) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	if err := name(file.Name()); err != nil {
		_ = os.Remove(file.Name()) // of no effect if it is gone already
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory survive a crash.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
