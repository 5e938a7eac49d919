package modelel

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Perform makes an engine call from the way a [Log] shows it, up to the arrow:
//
//	newPayload 15
//	FCU head=15 safe=10 fin=5
//	byLabel safe
//	byHash 15b
//	byNumber 15
//
// Blocks are looked up by name, "-" is the zero hash and labels that are left out of an FCU are zero. The answer is for
// a [Recorder] to see: an error means that the command makes no sense.
func Perform(ctx context.Context, e Engine, find func(name string) (Block, error), command string) error {
	method, args, _ := strings.Cut(strings.TrimSpace(command), " ")
	args = strings.TrimSpace(args)
	switch Method(method) {
	case FCU:
		state, err := parseState(find, args)
		if err != nil {
			return fmt.Errorf("command %q: %w", command, err)
		}
		_, _ = e.ForkchoiceUpdate(ctx, state, nil)
	case NewPayload:
		b, err := find(args)
		if err != nil {
			return fmt.Errorf("command %q: %w", command, err)
		}
		if b.Envelope == nil {
			return fmt.Errorf("command %q: nobody has this block", command)
		}
		_, _ = e.NewPayload(ctx, b.Envelope.ExecutionPayload, b.Envelope.ParentBeaconBlockRoot)
	case ByLabel:
		_, _ = e.L2BlockRefByLabel(ctx, eth.BlockLabel(args))
	case ByHash:
		b, err := find(args)
		if err != nil {
			return fmt.Errorf("command %q: %w", command, err)
		}
		_, _ = e.L2BlockRefByHash(ctx, b.Hash())
	case ByNumber:
		number, err := strconv.ParseUint(args, 10, 64)
		if err != nil {
			return fmt.Errorf("command %q: %w", command, err)
		}
		_, _ = e.L2BlockRefByNumber(ctx, number)
	default:
		return fmt.Errorf("command %q is no engine call", command)
	}
	return nil
}

func parseState(find func(string) (Block, error), args string) (*eth.ForkchoiceState, error) {
	var state eth.ForkchoiceState
	for _, arg := range strings.Fields(args) {
		key, name, _ := strings.Cut(arg, "=")
		field, ok := map[string]*common.Hash{
			"head": &state.HeadBlockHash, "safe": &state.SafeBlockHash, "fin": &state.FinalizedBlockHash,
		}[key]
		if !ok {
			return nil, fmt.Errorf("%q is neither head, safe nor fin", key)
		}
		if name == "-" {
			continue
		}
		b, err := find(name)
		if err != nil {
			return nil, err
		}
		*field = b.Hash()
	}
	return &state, nil
}

// ParseFault makes a [Fault] from its name in a transcript: drop, hang, null, garbage, forget, reaiming, the code of an
// error of the engine API such as -38002, late for a dropped answer, or late-38002 for an error after the call was carried
// out.
func ParseFault(name string) (Fault, error) {
	switch name {
	case "drop":
		return Drop(), nil
	case "hang":
		return Hang(), nil
	case "null":
		return NilAnswer(), nil
	case "garbage":
		return EmptyAnswer(), nil
	case "forget":
		return Forget(), nil
	case "reaiming":
		return Late(Reaiming()), nil
	case "late":
		return Late(Drop()), nil
	}
	code, late := strings.CutPrefix(name, "late")
	message, ok := map[string]string{
		"-38001": "unknown payload", "-38002": "invalid forkchoice state", "-38003": "invalid payload attributes",
	}[code]
	if !ok {
		return nil, fmt.Errorf("unknown fault %s", name)
	}
	number, err := strconv.Atoi(code)
	if err != nil {
		return nil, err
	}
	if late {
		return Late(RPCError(number, message)), nil
	}
	return RPCError(number, message), nil
}
