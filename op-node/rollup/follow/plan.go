package follow

import "github.com/ethereum-optimism/optimism/op-service/eth"

// Lookup is what the own canonical chain has at a number: a block, nothing (yet), or no answer.
type Lookup struct {
	state lookupState
	ref   eth.L2BlockRef
}

type lookupState uint8

const (
	lookupFailed lookupState = iota
	lookupNotFound
	lookupFound
)

// Found is the look-up of a block that the own chain has.
func Found(ref eth.L2BlockRef) Lookup { return Lookup{state: lookupFound, ref: ref} }

// NotFound is the look-up of a number that the own chain does not have: the engine is still syncing.
func NotFound() Lookup { return Lookup{state: lookupNotFound} }

// Failed is a look-up that the engine did not answer. It is the zero value.
func Failed() Lookup { return Lookup{} }

// Block returns the block that was found.
func (l Lookup) Block() (eth.L2BlockRef, bool) { return l.ref, l.state == lookupFound }

// Ancestry says whether the target's chain contains the own finalized block.
type Ancestry uint8

const (
	// AncestryUnknown: the engine does not have the blocks to tell.
	AncestryUnknown Ancestry = iota
	// AncestryHolds: it does.
	AncestryHolds
	// AncestryBroken: it does not.
	AncestryBroken
)

// Local is what the own execution engine knows about a target. Only what Need asks for has to be filled.
type Local struct {
	// LocalSafe, Safe and Finalized are the own canonical blocks at the numbers of the target's labels.
	LocalSafe, Safe, Finalized Lookup
	// OverFinalized tells whether the target descends from the own finalized block.
	OverFinalized Ancestry
}

// Need lists which parts of Local Plan will look at for a target, so that nobody asks the engine for more.
type Need struct {
	// Chain: the own blocks at the numbers of the three labels.
	Chain bool
	// Ancestry: whether the target's chain contains the own finalized block, if LocalSafe turns out to differ.
	Ancestry bool
}

// Needs says which facts a plan for this target takes.
func Needs(heads Heads, target Target) Need {
	if target.labels.LocalSafe.Number > heads.Unsafe.Number {
		return Need{Ancestry: known(heads.Finalized.Hash)}
	}
	if target.labels == heads.Labels {
		return Need{}
	}
	return Need{Chain: true, Ancestry: known(heads.Finalized.Hash)}
}

// Case is the row of the head plan (spec H1, H2a, H2b, H3, H4).
type Case uint8

// The cases of the head plan.
const (
	// CaseAhead (1): the target is above the own unsafe head, and becomes it.
	CaseAhead Case = iota + 1
	// CaseEngineSyncing (2a): the engine lacks the block below its unsafe head; the labels wait.
	CaseEngineSyncing
	// CaseQueryFailed (2b): the engine did not answer; the next poll tries again.
	CaseQueryFailed
	// CaseConsolidate (3): the own chain contains the target.
	CaseConsolidate
	// CaseReorg (4): the own chain has another block; the target becomes the unsafe head.
	CaseReorg
	// CaseRefused: the target contradicts the own chain in a way that must not be followed; see HeadPlan.Reason.
	CaseRefused
)

// String names the case for logs and transcripts.
func (c Case) String() string {
	switch c {
	case CaseAhead:
		return "ahead"
	case CaseEngineSyncing:
		return "engine-syncing"
	case CaseQueryFailed:
		return "query-failed"
	case CaseConsolidate:
		return "consolidate"
	case CaseReorg:
		return "reorg"
	case CaseRefused:
		return "refused"
	default:
		return "none"
	}
}

// Action is what the engine controller does about a plan.
type Action uint8

const (
	// ActionNone: no engine call. The current L1 of the target may be published if the plan has no Reason.
	ActionNone Action = iota
	// ActionStage: no engine call; the labels go out with the next forkchoice update whose head is VALID.
	ActionStage
	// ActionUpdate: one forkchoice update to Heads.
	ActionUpdate
)

// HeadPlan is the intention that follows from a target.
type HeadPlan struct {
	Case   Case
	Action Action
	// Heads are the heads after the action; the present ones for ActionNone, and labels to come for ActionStage.
	Heads Heads
	// Reason is None unless the target is not applied by this plan.
	Reason Reason
}

// Plan decides the heads for a target: which case of the table it is and what the engine has to be told. It also
// applies V7 and the part of V6 that needs the chain.
func Plan(heads Heads, target Target, local Local) HeadPlan {
	next := target.labels
	onto := Heads{Unsafe: Unsafe{next.LocalSafe.L2BlockRef}, Labels: next}
	if next.LocalSafe.Number > heads.Unsafe.Number {
		return moveHead(CaseAhead, heads, onto, local.OverFinalized)
	}
	if next == heads.Labels {
		return HeadPlan{Case: CaseConsolidate, Heads: heads}
	}
	switch local.LocalSafe.state {
	case lookupFailed:
		return HeadPlan{Case: CaseQueryFailed, Heads: heads, Reason: EngineUnavailable}
	case lookupNotFound:
		return stage(heads, next)
	}
	if local.LocalSafe.ref.Hash != next.LocalSafe.Hash {
		return moveHead(CaseReorg, heads, onto, local.OverFinalized)
	}
	return consolidate(heads, next, local)
}

// moveHead plans a head that leaves the own chain, unless that would cross the own finalized block (V6).
func moveHead(c Case, heads, onto Heads, over Ancestry) HeadPlan {
	if over == AncestryBroken {
		return HeadPlan{Case: CaseRefused, Heads: heads, Reason: FinalizedConflict}
	}
	return HeadPlan{Case: c, Action: ActionUpdate, Heads: onto}
}

func stage(heads Heads, next Labels) HeadPlan {
	return HeadPlan{Case: CaseEngineSyncing, Action: ActionStage,
		Heads: Heads{Unsafe: heads.Unsafe, Labels: next}, Reason: EngineSyncing}
}

// consolidate is case 3 with V7: where the own chain contains the target's local-safe head, it contains its safe and
// finalized heads as well. The refs are compared whole, so that a right hash with a wrong L1 origin does not pass.
func consolidate(heads Heads, next Labels, local Local) HeadPlan {
	claims := []struct {
		want eth.L2BlockRef
		have Lookup
	}{
		{next.LocalSafe.L2BlockRef, local.LocalSafe},
		{next.Safe.L2BlockRef, local.Safe},
		{next.Finalized.L2BlockRef, local.Finalized},
	}
	for _, c := range claims {
		switch {
		case !known(c.want.Hash):
		case c.have.state == lookupFailed:
			return HeadPlan{Case: CaseQueryFailed, Heads: heads, Reason: EngineUnavailable}
		case c.have.state == lookupNotFound:
			return stage(heads, next)
		case c.have.ref != c.want:
			return HeadPlan{Case: CaseRefused, Heads: heads, Reason: Incoherent}
		}
	}
	return HeadPlan{Case: CaseConsolidate, Action: ActionUpdate, Heads: Heads{Unsafe: heads.Unsafe, Labels: next}}
}
