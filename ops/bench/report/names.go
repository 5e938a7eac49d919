package report

// The contestants.
const (
	Ours           = "op-node, follow"
	UpstreamFollow = "upstream, follow"
	PatchedFollow  = "upstream with the series, follow"
	UpstreamDerive = "upstream, derive"
)

// The groups and figures that budgets refer to, in more than one part of a run or across them.
const (
	LiveLag, LiveCalls, LiveCost = "live-lag", "live-calls", "live-cost"
	ModelFollow, ModelBacklog    = "model-follow", "model-backlog"
	ModelRecovery                = "model-recovery"

	LagSafe        = "safe lag"
	LagFinalized   = "finalized lag"
	SourceRequests = "source requests per minute"
	L1Calls        = "L1 calls per minute"
	L1Lookups      = "L1 look-ups by number per minute"
	EnginePerBlock = "engine calls per L2 block"
	EnginePerPoll  = "engine calls per follow update"
	CPUPerBlock    = "processor time per L2 block"
	AllocsPerBlock = "allocations per L2 block"
	Resident       = "resident memory"
	Anonymous      = "resident memory without pages of files"
	FirstApplied   = "process start to first applied status"
	RecoveryPolls  = "polls until labelled"
	FollowInFlood  = "slow backlog: answer of the source to label"
)
