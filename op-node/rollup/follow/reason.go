package follow

import "fmt"

// Reason says why a status, or a target made of it, was not applied. The zero value is no reason at all: accepted.
type Reason uint8

// The reasons, in the order in which the rules are looked at. Reason.Code gives the name that logs, metrics and
// op-node/docs/reasons.md share.
const (
	None Reason = iota
	FetchFailed
	Malformed
	Incomplete
	Order
	WrongChain
	L1Contradicts
	L1CallFailed
	L1TooLow
	Regressed
	StatusBehind
	Unconfirmed
	FinalizedConflict
	Incoherent
	NoQuorum
	Cycle
	EngineUnavailable
	EngineSyncing
	EngineInvalid
	EngineInconsistent
	ReorgUnresolved
	SourceBehind
	numReasons
)

// Class is what a reason means for the status it was given for.
type Class uint8

const (
	// ClassAccepted: nothing stands against it.
	ClassAccepted Class = iota
	// ClassDeferred: not judged or not applied now; the same status may be accepted later.
	ClassDeferred
	// ClassRejected: the status contradicts the rules and is dropped whole.
	ClassRejected
)

// String names the class.
func (c Class) String() string { return [...]string{"accepted", "deferred", "rejected"}[c] }

type reasonInfo struct {
	class              Class
	code, text, advice string
}

var reasonTable = [numReasons]reasonInfo{
	None: {ClassAccepted, "accepted", "The status passed every rule.", "Nothing to do."},
	FetchFailed: {ClassDeferred, "fetch_failed",
		"The source did not answer: connection refused, timeout, HTTP error or an RPC error.",
		"Check that the source runs, that the URL and its headers are right and that optimism_syncStatus is served. Unsafe blocks go on; labels wait."},
	Malformed: {ClassRejected, "malformed",
		"The source answered something that is no sync status: empty, wrong types, a field twice, too large; or its path is larger than allowed.",
		"Check that the URL names a consensus node and not an execution node or a gateway's error page; for a path, that followers are not stacked too deep."},
	Incomplete: {ClassRejected, "incomplete",
		"Safe head, current L1 or an L1 origin is unknown (zero hash) in the status.",
		"Normal while the source starts. If it stays, the source does not derive: look at its logs."},
	Order: {ClassRejected, "order",
		"The heads of the status are not ordered: finalized ≤ safe ≤ local-safe by number, by hash where numbers are equal, and by L1 origin.",
		"The source, or a proxy that mixes answers of several nodes, is broken. Ask each node behind it directly."},
	WrongChain: {ClassRejected, "wrong_chain",
		"A head cannot be a block of this rollup: before genesis, another genesis hash, or a timestamp that does not fit its number.",
		"The source follows another chain or another rollup config. Compare optimism_rollupConfig of both nodes."},
	L1Contradicts: {ClassRejected, "l1_mismatch",
		"An L1 origin or the current L1 of the status is not canonical in this node's own view of L1.",
		"Passes by itself after an L1 reorg. If it stays, one of the two nodes has an L1 endpoint on another fork or network."},
	L1CallFailed: {ClassDeferred, "l1_unavailable",
		"The own L1 endpoint could not answer what is needed to judge the status.",
		"Check --l1. The labels hold until L1 answers again."},
	L1TooLow: {ClassDeferred, "l1_behind",
		"The status refers to an L1 block above the own L1 head.",
		"Passes with the next L1 head. If it stays, the own L1 endpoint lags."},
	Regressed: {ClassRejected, "regressed",
		"The status contradicts what is applied, and its L1 history is not longer: it names another block at the applied local-safe head or below it, or is from before that was revoked.",
		"A stale cache, a lagging replica, or a source on a branch of its own. It is accepted again once it agrees; if it was rewound and goes on saying so, it is followed after a while unless another source disagrees."},
	StatusBehind: {ClassDeferred, "behind",
		"The status is of the applied chain, and lower than what is applied. The labels hold until the source has caught up.",
		"Normal for a source that lags, derives again or has just taken over. If it stays, the source does not progress: look at its logs."},
	Unconfirmed: {ClassDeferred, "unconfirmed",
		"The status replaces blocks that are applied, with a longer L1 history. It is applied when the source says so twice in a row, or when as many sources as the quorum takes say so.",
		"Passes within seconds if blocks were really replaced. If it comes and goes, replicas that disagree answer in turn: ask each node directly."},
	FinalizedConflict: {ClassRejected, "finalized_conflict",
		"The source's chain does not contain the block that this node holds as finalized.",
		"Two nodes disagree about finality. The labels are frozen and nothing is reset: find out which of the two is wrong before you wipe either."},
	Incoherent: {ClassRejected, "incoherent",
		"The own chain contains the local-safe head of the status, but not its safe or finalized head.",
		"The parts of the status belong to different chains, as behind a proxy that mixes replicas. Ask each node directly."},
	NoQuorum: {ClassDeferred, "no_quorum",
		"No source is healthy, or too few agree on a head for --l2.follow.quorum.",
		"Look at the verdicts of the single sources. Labels hold, unsafe blocks go on."},
	Cycle: {ClassRejected, "cycle",
		"The source follows this node, directly or through others, so its heads are this node's own.",
		"Break the circle: every chain of followers has to end at a node that derives."},
	EngineUnavailable: {ClassDeferred, "engine_unavailable",
		"The own execution engine did not answer.",
		"Check the execution engine. The next poll tries again."},
	EngineSyncing: {ClassDeferred, "engine_syncing",
		"The own execution engine does not have the target yet and answers SYNCING.",
		"Passes when the engine has fetched the block. If it stays, the engine has no peer that knows the target."},
	EngineInvalid: {ClassRejected, "engine_invalid",
		"The own execution engine answers INVALID to the source's head.",
		"Source and engine disagree about the rules: compare versions and fork activation times of both."},
	ReorgUnresolved: {ClassDeferred, "reorg_unresolved",
		"The source's chain replaces the own unsafe blocks, the own execution engine does not get it, and this sequencer went on building on the old head.",
		"Find out whether the source is right: its blocks are nowhere to be fetched. If it is, connect the execution engine to a peer that has them; if not, unset the source. Until then the own blocks are at risk of being replaced."},
	SourceBehind: {ClassDeferred, "source_behind",
		"The current L1 block of what is applied is further behind the own L1 head than --l2.follow.max-lag allows.",
		"The sources answer and do not progress, or only with what is not accepted: look at their logs and verdicts, and at their own L1."},
	EngineInconsistent: {ClassRejected, "engine_inconsistent",
		"The own execution engine refuses the labels as inconsistent, also after they were read again from it.",
		"Restart the execution engine; if it stays, its database does not fit the chain."},
}

// Reasons lists every reason, None first.
func Reasons() []Reason {
	all := make([]Reason, numReasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Code is the stable machine name: log field, metric label and heading of the documentation.
func (r Reason) Code() string { return r.info().code }

// Text says in one line what happened.
func (r Reason) Text() string { return r.info().text }

// Advice says what an operator should do about it.
func (r Reason) Advice() string { return r.info().advice }

// Class says what the reason means for the status.
func (r Reason) Class() Class { return r.info().class }

// String returns the code.
func (r Reason) String() string { return r.Code() }

func (r Reason) info() reasonInfo {
	if r >= numReasons {
		return reasonInfo{ClassRejected, fmt.Sprintf("reason_%d", uint8(r)), "Unknown reason.", "Report this."}
	}
	return reasonTable[r]
}
