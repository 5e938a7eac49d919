package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/lightcl/op-node/op-service/durable"
)

// adminState keeps in a file what the admin API changed, so that a restart does not undo it. Without a path it keeps nothing. Safe
// for concurrent use.
type adminState struct {
	path string
	mu   sync.Mutex
}

// adminStateFile is the format of the file.
type adminStateFile struct {
	SequencerStarted *bool `json:"sequencerStarted,omitempty"`
}

// SequencerStarted records that the sequencer runs.
func (s *adminState) SequencerStarted() error { return s.setStarted(true) }

// SequencerStopped records that the sequencer does not run.
func (s *adminState) SequencerStopped() error { return s.setStarted(false) }

// sequencerStarted returns what was recorded last, nil if nothing was.
func (s *adminState) sequencerStarted() (*bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, err := s.read()
	return state.SequencerStarted, err
}

func (s *adminState) setStarted(started bool) error {
	if s.path == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state, err := s.read()
	if err != nil {
		return err
	}
	state.SequencerStarted = &started
	return s.write(state)
}

func (s *adminState) read() (state adminStateFile, err error) {
	if s.path == "" {
		return state, nil
	}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err != nil {
		return state, fmt.Errorf("--rpc.admin-state=%s: %w", s.path, err)
	}
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&state); err != nil {
		return adminStateFile{}, fmt.Errorf("--rpc.admin-state=%s: not a state file, remove it to start over: %w", s.path, err)
	}
	return state, nil
}

// write replaces the file in one step: the old content stays until the new one is on disk.
func (s *adminState) write(state adminStateFile) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("--rpc.admin-state=%s: storing the state: %w", s.path, err)
		}
	}()
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return err
	}
	return durable.Replace(s.path, data, 0o644)
}
