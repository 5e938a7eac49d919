package modelel_test

import (
	"strings"
	"testing"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

func TestEngineAPI(t *testing.T) {
	for _, test := range []struct{ name, story string }{
		{"a new engine has no labels", `
			labels latest=0 safe=- finalized=-
			byLabel latest → 0
			byLabel safe → not found
			byLabel finalized → not found
		`},
		{"a payload does not move the head, a forkchoice update does", `
			newPayload 1 → VALID
			labels latest=0 safe=- finalized=-
			byHash 1 → 1
			byNumber 1 → not found
			FCU head=1 safe=- fin=- → VALID
			labels latest=1 safe=- finalized=-
			byNumber 1 → 1
		`},
		{"labels follow the forkchoice, zero hashes leave them alone", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			FCU head=2 safe=1 fin=0 → VALID
			labels latest=2 safe=1 finalized=0
			FCU head=2 safe=- fin=1 → VALID
			labels latest=2 safe=1 finalized=1
			FCU head=2 safe=2 fin=- → VALID
			labels latest=2 safe=2 finalized=1
		`},
		{"labels can be set back, and safe may be below finalized", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			FCU head=2 safe=2 fin=2 → VALID
			FCU head=2 safe=0 fin=1 → VALID
			labels latest=2 safe=0 finalized=1
		`},
		{"a known payload is valid again", `
			newPayload 1 → VALID
			newPayload 1 → VALID
		`},
		{"a payload without its parent is not executed", `
			newPayload 2 → SYNCING
			byHash 2 → not found
			newPayload 1 → VALID
			byHash 2 → not found
			newPayload 2 → VALID
		`},
		{"a head that was only announced starts a sync that nobody can serve", `
			newPayload 2 → SYNCING
			FCU head=2 safe=- fin=- → SYNCING
			complete sync → false
			newPayload 1 → VALID
			FCU head=2 safe=- fin=- → SYNCING
			newPayload 2 → VALID
			FCU head=2 safe=- fin=- → VALID
			labels latest=2 safe=- finalized=-
		`},
		{"an unknown head moves nothing, labels included", `
			newPayload 1 → VALID
			FCU head=1 safe=0 fin=0 → VALID
			FCU head=? safe=1 fin=1 → SYNCING
			labels latest=1 safe=0 finalized=0
		`},
		{"the zero head is invalid", `
			FCU head=- safe=- fin=- → INVALID
		`},
		{"a head below latest on the canonical chain does not rewind, and still sets labels", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			FCU head=2 safe=- fin=- → VALID
			FCU head=1 safe=1 fin=0 → VALID
			labels latest=2 safe=1 finalized=0
			byNumber 2 → 2
		`},
		{"a sibling is a reorg", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			newPayload 3 → VALID
			newPayload 4 → VALID
			newPayload 5 → VALID
			newPayload 4b → VALID
			FCU head=5 safe=- fin=- → VALID
			FCU head=4b safe=3 fin=2 → VALID
			labels latest=4b safe=3 finalized=2
			byNumber 4 → 4b
			byNumber 5 → not found
			byHash 5 → 5
			FCU head=5 safe=- fin=- → VALID
			labels latest=5 safe=3 finalized=2
			byNumber 4 → 4
		`},
		{"labels stay on an abandoned branch until they are set", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			newPayload 3 → VALID
			newPayload 4 → VALID
			newPayload 4b → VALID
			FCU head=4 safe=4 fin=4 → VALID
			FCU head=4b safe=- fin=- → VALID
			labels latest=4b safe=4 finalized=4
			byLabel safe → 4
		`},
		{"a safe block off the canonical chain is refused after the head and finalized moved", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			newPayload 3 → VALID
			newPayload 4 → VALID
			newPayload 4b → VALID
			FCU head=4 safe=3 fin=1 → VALID
			FCU head=4b safe=4 fin=2 → error -38002
			labels latest=4b safe=3 finalized=2
		`},
		{"a finalized block off the canonical chain is refused after the head moved", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			newPayload 3 → VALID
			newPayload 4 → VALID
			newPayload 4b → VALID
			FCU head=4 safe=3 fin=1 → VALID
			FCU head=4b safe=2 fin=4 → error -38002
			labels latest=4b safe=3 finalized=1
		`},
		{"unknown labels are refused", `
			newPayload 1 → VALID
			FCU head=1 safe=? fin=- → error -38002
			labels latest=1 safe=- finalized=-
			FCU head=1 safe=1 fin=? → error -38002
			labels latest=1 safe=- finalized=-
		`},
		{"an invalid block is remembered with its descendants", `
			invalid 2
			newPayload 1 → VALID
			newPayload 2 → INVALID after 1
			byHash 2 → not found
			newPayload 3 → INVALID after 1
			FCU head=3 safe=- fin=- → INVALID after 1
			FCU head=2 safe=- fin=- → INVALID after 1
			labels latest=0 safe=- finalized=-
		`},
		{"a restart forgets that a block was invalid", `
			invalid 2
			newPayload 1 → VALID
			newPayload 2 → INVALID after 1
			restart
			newPayload 3 → SYNCING
			newPayload 2 → INVALID after 1
		`},
		{"a lost state is rebuilt by a forkchoice update", `
			newPayload 1 → VALID
			drop state 1
			newPayload 2 → ACCEPTED
			byHash 2 → not found
			FCU head=1 safe=- fin=- → VALID
			newPayload 2 → VALID
		`},
		{"a restart keeps blocks, latest and finalized, and sets safe to finalized", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			newPayload 3 → VALID
			newPayload 4 → VALID
			newPayload 4b → VALID
			newPayload 6b → SYNCING
			FCU head=4 safe=3 fin=1 → VALID
			restart
			labels latest=4 safe=1 finalized=1
			byHash 4b → 4b
			FCU head=6b safe=- fin=- → SYNCING
		`},
		{"a restart without finalized has no safe either", `
			newPayload 1 → VALID
			FCU head=1 safe=1 fin=- → VALID
			restart
			labels latest=1 safe=- finalized=-
		`},
		{"a rewind deletes what is above, labels there, and the difference between safe and finalized", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			newPayload 3 → VALID
			newPayload 4 → VALID
			newPayload 4b → VALID
			FCU head=4 safe=3 fin=1 → VALID
			rewind 3
			labels latest=3 safe=1 finalized=1
			byHash 4b → not found
			newPayload 4 → VALID
			FCU head=4 safe=4 fin=4 → VALID
			rewind 2
			labels latest=2 safe=- finalized=-
		`},
		{"a rewind to where the head is deletes nothing, and sets safe to finalized all the same", `
			newPayload 1 → VALID
			newPayload 2 → VALID
			newPayload 3 → VALID
			FCU head=2 safe=2 fin=1 → VALID
			rewind 2
			labels latest=2 safe=1 finalized=1
			byHash 3 → 3
		`},
	} {
		t.Run(test.name, func(t *testing.T) {
			chain := world()
			tell(t, chain, chain.NewEL(), modelel.NewNetwork(), test.story)
		})
	}
}

func TestBadBlocksGetAnotherChance(t *testing.T) {
	chain := world()
	el := chain.NewEL()
	tell(t, chain, el, nil, `
		invalid 2
		newPayload 1 → VALID
		newPayload 2 → INVALID after 1
	`)
	tell(t, chain, el, nil, strings.Repeat("newPayload 3 → INVALID after 1\n", 126)+`
		newPayload 3 → SYNCING
		newPayload 3 → SYNCING
		newPayload 2 → INVALID after 1
		newPayload 3 → INVALID after 1
	`)
}

func TestSync(t *testing.T) {
	for _, test := range []struct {
		name  string
		opts  []modelel.Option
		story string
	}{
		{"peers deliver a head that was never announced", nil, `
			publish 1 2 3
			FCU head=3 safe=2 fin=1 → SYNCING
			labels latest=0 safe=- finalized=-
			byNumber 1 → not found
			complete sync → true
			labels latest=3 safe=- finalized=-
			FCU head=3 safe=2 fin=1 → VALID
			labels latest=3 safe=2 finalized=1
			complete sync → false
		`},
		{"a head that no peer has is never reached", nil, `
			publish 1 2
			FCU head=3 safe=- fin=- → SYNCING
			complete sync → false
			publish 3
			FCU head=3 safe=- fin=- → SYNCING
			complete sync → true
		`},
		{"a gap in what peers have stops the sync before it starts", nil, `
			publish 1 3
			FCU head=3 safe=- fin=- → SYNCING
			complete sync → false
			labels latest=0 safe=- finalized=-
			publish 2
			complete sync → true
			labels latest=3 safe=- finalized=-
		`},
		{"an announced head without a body is reached up to its parent", nil, `
			publish 1 2
			newPayload 3 → SYNCING
			FCU head=3 safe=- fin=- → SYNCING
			complete sync → false
			labels latest=2 safe=- finalized=-
			newPayload 3 → VALID
			FCU head=3 safe=- fin=- → VALID
		`},
		{"payloads extend a running sync", nil, `
			publish 1 2 3 4
			FCU head=2 safe=- fin=- → SYNCING
			newPayload 3 → SYNCING
			newPayload 4 → SYNCING
			complete sync → true
			labels latest=4 safe=- finalized=-
		`},
		{"the newest target counts", nil, `
			publish 1 2 3 4 4b
			FCU head=4 safe=- fin=- → SYNCING
			FCU head=4b safe=- fin=- → SYNCING
			complete sync → true
			labels latest=4b safe=- finalized=-
		`},
		{"a bad block among those that peers deliver ends the sync", nil, `
			publish 1 2 3
			invalid 2
			FCU head=3 safe=- fin=- → SYNCING
			complete sync → false
			labels latest=1 safe=- finalized=-
			FCU head=3 safe=- fin=- → INVALID after 1
		`},
		{"latest moves while the sync goes on", nil, `
			publish 1 2 3 4
			FCU head=4 safe=2 fin=1 → SYNCING
			advance sync 1 → false
			labels latest=1 safe=- finalized=-
			FCU head=4 safe=2 fin=1 → SYNCING
			FCU head=1 safe=1 fin=1 → VALID
			advance sync 2 → false
			labels latest=3 safe=1 finalized=1
			advance sync 1 → true
			labels latest=4 safe=1 finalized=1
		`},
		{"a restart forgets the sync", nil, `
			publish 1 2
			FCU head=2 safe=- fin=- → SYNCING
			restart
			complete sync → false
			FCU head=2 safe=- fin=- → SYNCING
			complete sync → true
		`},
		{"a sync can be set to take a number of calls", []modelel.Option{modelel.SyncAfterCalls(3)}, `
			publish 1 2
			FCU head=2 safe=- fin=- → SYNCING
			FCU head=2 safe=- fin=- → SYNCING
			byLabel latest → 0
			FCU head=2 safe=- fin=- → SYNCING
			FCU head=2 safe=- fin=- → VALID
		`},
		{"snap sync serves nothing but genesis until it is done", []modelel.Option{modelel.SnapSync()}, `
			publish 1 2 3
			newPayload 1 → SYNCING
			FCU head=0 safe=- fin=- → VALID
			FCU head=3 safe=1 fin=1 → SYNCING
			newPayload 1 → SYNCING
			byNumber 1 → not found
			byLabel latest → 0
			advance sync 2 → false
			labels latest=0 safe=- finalized=-
			complete sync → true
			byNumber 1 → 1
			FCU head=3 safe=1 fin=1 → VALID
			newPayload 4 → VALID
		`},
	} {
		t.Run(test.name, func(t *testing.T) {
			chain := world()
			net := modelel.NewNetwork()
			el := chain.NewEL(append(test.opts, modelel.WithNetwork(net))...)
			tell(t, chain, el, net, test.story)
		})
	}
}
