package flags

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/log"

	oprpc "github.com/ethereum-optimism/optimism/op-service/rpc"

	"github.com/lightcl/op-node/op-service/durable"
)

// keyShaped matches what is a key and no name of a file.
var keyShaped = regexp.MustCompile(`^(0x)?[0-9a-fA-F]{64}$`)

// notAKey refuses a key where the name of a file was asked for, without showing it: it would become the name of a file.
func notAKey(flag, path string) error {
	if keyShaped.MatchString(path) {
		return fmt.Errorf("--%s (not shown) is a key itself: give the name of a file that holds it", flag)
	}
	return nil
}

// jwtSecret reads the secret in a file, which is created if it does not exist.
func jwtSecret(log log.Logger, flag, path string) ([32]byte, error) {
	if err := notAKey(flag, path); err != nil {
		return [32]byte{}, err
	}
	secret, err := oprpc.ObtainJWTSecret(log, path, false)
	if errors.Is(err, fs.ErrNotExist) {
		log.Warn("The file of the JWT secret does not exist: creating it", "flag", "--"+flag, "path", path)
		if _, err = rand.Read(secret[:]); err == nil {
			err = durable.Create(path, []byte(hexutil.Encode(secret[:])), 0o600)
		}
	}
	if err != nil {
		return [32]byte{}, fmt.Errorf("--%s=%s: %w", flag, path, err)
	}
	return secret, nil
}
