package report

// Judge compares the results with the budgets, as far as the parts that ran tell.
func (r *Results) Judge() {
	b := judge{results: r}
	for _, part := range []struct{ name, lag, calls string }{{"devnet", LiveLag, LiveCalls}, {"model", ModelFollow, ModelFollow}} {
		b.ratio(part.name+": safe lag, median, to upstream's", part.lag, LagSafe, 0.25, medianOf)
		b.ratio(part.name+": safe lag, p99, to upstream's", part.lag, LagSafe, 0.5, p99Of)
		b.ratio(part.name+": source requests, to upstream's", part.calls, SourceRequests, 1, medianOf)
		b.limit(part.name+": L1 look-ups by number", "per minute", part.calls, L1Lookups, 0, medianOf)
		b.limit(part.name+": engine calls per follow update", "", part.calls, EnginePerPoll, 1, medianOf)
	}
	b.ratio("devnet: processor time per L2 block, to upstream's follow mode", LiveCost, CPUPerBlock, 1, medianOf)
	b.ratio("devnet: allocations per L2 block, to upstream's follow mode", LiveCost, AllocsPerBlock, 1, medianOf)
	b.ratio("devnet: resident memory, to upstream's follow mode", LiveCost, Resident, 1, medianOf)
	b.ratio("devnet: resident memory without pages of files, to upstream's follow mode", LiveCost, Anonymous, 1, medianOf)
	b.limit("devnet: process start to first applied status, median", "ms", LiveLag, FirstApplied, 1000, medianOf)
	// Two block times of a second, one call, and what a busy machine adds.
	b.limit("model: follow task under a flood of inserts, p99", "ms", ModelBacklog, FollowInFlood, 2100, p99Of)
	b.limit("model: divergence recovery of a light sequencer, p99", "polls", ModelRecovery, RecoveryPolls, 2, p99Of)
	r.Budgets = b.list
}

func medianOf(v Value) float64 { return v.Median }
func p99Of(v Value) float64    { return v.P99 }

type judge struct {
	results *Results
	list    []Budget
}

// value is ours or another contestant's.
func (b *judge) value(group, figure, contestant string) (Value, bool) {
	g := b.results.Group(group)
	if g == nil {
		return Value{}, false
	}
	return g.Value(figure, contestant)
}

func (b *judge) limit(text, unit, group, figure string, limit float64, of func(Value) float64) {
	if ours, ok := b.value(group, figure, Ours); ok {
		b.add(text, unit, limit, of(ours))
	}
}

// ratio is ours to upstream's follow mode.
func (b *judge) ratio(text, group, figure string, limit float64, of func(Value) float64) {
	ours, ok := b.value(group, figure, Ours)
	theirs, both := b.value(group, figure, UpstreamFollow)
	if ok && both && of(theirs) > 0 {
		b.add(text, "×", limit, of(ours)/of(theirs))
	}
}

func (b *judge) add(text, unit string, limit, measured float64) {
	b.list = append(b.list, Budget{Text: text, Unit: unit, Limit: limit, Measured: measured, Held: measured <= limit})
}
