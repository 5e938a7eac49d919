package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	leveldb "github.com/ipfs/go-ds-leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/lightcl/op-node/op-node/config"
)

// peerKeys is where the peer store has keys of peers.
const peerKeys = "/peers/keys"

// openPeerstore opens the database of peers. Nobody but the owner can look into it, and the private key of the node, which has a file
// of its own, is not written to it.
func openPeerstore(path string) (ds.Batching, error) {
	if path == config.InMemory {
		return memoryStore(), nil
	}
	if err := restrict(path); err != nil {
		return nil, err
	}
	db, err := leveldb.NewDatastore(path, nil)
	if err != nil {
		return nil, err
	}
	removed, err := forgetPrivateKeys(db)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("removing private keys of an earlier version: %w", err), db.Close())
	}
	if removed { // opening deletes the files that are not needed any more
		if err := db.Close(); err != nil {
			return nil, err
		}
		if db, err = leveldb.NewDatastore(path, nil); err != nil {
			return nil, err
		}
	}
	return keylessStore{db, memoryStore()}, nil
}

func memoryStore() ds.Batching { return dssync.MutexWrap(ds.NewMapDatastore()) }

// restrict makes a directory, if it is not there yet, and takes everybody's permissions but the owner's.
func restrict(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return os.Chmod(name, 0o700)
		case entry.Type().IsRegular():
			return os.Chmod(name, 0o600)
		default:
			return nil
		}
	})
}

// forgetPrivateKeys removes what earlier versions, and upstream's program, stored.
func forgetPrivateKeys(db *leveldb.Datastore) (removed bool, err error) {
	ctx := context.Background()
	found, err := db.Query(ctx, query.Query{Prefix: peerKeys, KeysOnly: true})
	if err != nil {
		return false, err
	}
	entries, err := found.Rest()
	if err := errors.Join(err, found.Close()); err != nil {
		return false, err
	}
	for _, entry := range entries {
		if key := ds.RawKey(entry.Key); isPrivateKey(key) {
			removed = true
			if err := db.Delete(ctx, key); err != nil {
				return false, err
			}
		}
	}
	if !removed {
		return false, nil
	}
	return true, db.DB.CompactRange(util.Range{}) // a deletion alone leaves it in the files
}

func isPrivateKey(key ds.Key) bool {
	return strings.HasPrefix(key.String(), peerKeys+"/") && key.Name() == "priv"
}

// keylessStore keeps private keys in memory. The host adds its own again at each start.
type keylessStore struct {
	ds.Batching
	memory ds.Datastore
}

func (s keylessStore) of(key ds.Key) ds.Datastore {
	if isPrivateKey(key) {
		return s.memory
	}
	return s.Batching
}

// Get implements ds.Datastore.
func (s keylessStore) Get(ctx context.Context, key ds.Key) ([]byte, error) {
	return s.of(key).Get(ctx, key)
}

// Has implements ds.Datastore.
func (s keylessStore) Has(ctx context.Context, key ds.Key) (bool, error) {
	return s.of(key).Has(ctx, key)
}

// GetSize implements ds.Datastore.
func (s keylessStore) GetSize(ctx context.Context, key ds.Key) (int, error) {
	return s.of(key).GetSize(ctx, key)
}

// Put implements ds.Datastore.
func (s keylessStore) Put(ctx context.Context, key ds.Key, value []byte) error {
	return s.of(key).Put(ctx, key, value)
}

// Delete implements ds.Datastore.
func (s keylessStore) Delete(ctx context.Context, key ds.Key) error {
	return s.of(key).Delete(ctx, key)
}
