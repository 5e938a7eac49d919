package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/ops/bench/report"
)

// divergence is a way in which a source comes to another chain than the light sequencer that follows it.
type divergence struct {
	name string
	// depth is how many own blocks are lost: the source has another block in the place of the first of them.
	depth uint64
	// fetch is how long the engine takes to get the source's blocks from its peers; zero if it has them.
	fetch time.Duration
}

var divergences = []divergence{
	{"3 blocks", 3, 0},
	{"25 blocks", 25, 0},
	{"25 blocks to fetch", 25, time.Second},
}

const (
	// recoverySettle is how long sequencers work in peace before the first divergence; a new one comes every
	// recoveryL1Blocks, which is enough to make as many unsafe blocks again.
	recoverySettle   = 4 * time.Second
	recoveryL1Blocks = 4
	recoveryLook     = 5 * time.Millisecond
	// The blocks that a sequencer finds at its start: unsafeAtStart of them are unsafe.
	unsafeAtStart = 30
)

// Recovery measures how light sequencers, one of each kind in each of many worlds, come to the chain of a source that
// replaced blocks of theirs.
func Recovery(ctx context.Context, o Options) (g report.Group, err error) {
	o.Say("model: %d divergences in each of %d worlds", o.Divergences, o.Patients*len(divergences))
	g = report.Group{
		ID: report.ModelRecovery, Title: "Model engine: divergence of a light sequencer", Columns: contestants,
		Text: fmt.Sprintf("A light sequencer of each kind in each of many worlds, making a block every second. %d times the source's safe head "+
			"is one on another chain, after %d or %d blocks that the sequencer has to give up; it stays there until the sequencer builds on it, "+
			"and goes on with that chain. The engine has the source's blocks, or takes a second to fetch them. Times begin when the source "+
			"shows the other chain, as always some time after an L1 block, and end when the own engine has its head as safe label, or with "+
			"the first own block on it. What is not reached within %s counts as that.",
			o.Divergences, divergences[0].depth, divergences[1].depth, o.Watch),
	}
	chain := scriptChain()
	var wards []*ward
	defer func() {
		err = errors.Join(err, together(wards, func(w *ward) error { return w.close() }))
	}()
	for i := range o.Patients * len(divergences) {
		w, err := o.newWard(ctx, chain, divergences[i%len(divergences)], uint64(i))
		if w != nil {
			wards = append(wards, w)
		}
		if err != nil {
			return g, err
		}
	}
	if err := together(wards, func(w *ward) error { return w.run(ctx) }); err != nil {
		return g, err
	}
	for i, name := range contestants {
		all := make(map[string][]recovery)
		for _, w := range wards {
			of := w.patients[i].recoveries
			all[""], all[w.divergence.name] = append(all[""], of...), append(all[w.divergence.name], of...)
		}
		fillRecoveries(&g, name, o.Watch, all)
	}
	return g, nil
}

// ward is a world of light sequencers that diverge in one way, all of them at the same moments.
type ward struct {
	*world
	divergence divergence
	patients   []*patient
	random     *rand.Rand
}

// patient is one light sequencer, with a source of its own.
type patient struct {
	*rig
	chain *modelel.Chain
	peers *modelel.Network
	l1    *l1
	// tip is the block that the source last showed as safe head, finalized never changes.
	tip, finalized eth.L2BlockRef
	recoveries     []recovery
}

// recovery is how a patient got through one divergence.
type recovery struct {
	// labelled and built are when the engine had the source's head as label, and when there was an own block on it.
	labelled, built time.Duration
	polls, calls    float64
	// forced is how often the driver reset the engine by force, left how often the engine's head left its chain, and back
	// how many blocks the local-safe head or the safe label was at most below where it had been.
	forced, left, back float64
	converged          bool
}

// published is where blocks of sequencers go.
type published struct{}

func (published) SignAndPublishL2Payload(context.Context, *eth.ExecutionPayloadEnvelope) error {
	return nil
}

func (o Options) newWard(ctx context.Context, chain *modelel.Chain, d divergence, seed uint64) (*ward, error) {
	inner, err := newWorld(o, chain, pastL1)
	if err != nil {
		return nil, err
	}
	w := &ward{world: inner, divergence: d, random: rand.New(rand.NewPCG(seed, 2))}
	for _, name := range contestants {
		p := &patient{chain: chain, peers: modelel.NewNetwork(), l1: w.l1, tip: chain.Block(pastL2 - unsafeAtStart).Ref, finalized: chain.Block(1).Ref}
		var fetching []modelel.Option
		if d.fetch > 0 {
			fetching = []modelel.Option{modelel.WithNetwork(p.peers), modelel.SyncAfterTime(d.fetch, time.Now)}
		}
		p.rig = &rig{contestant: name, engine: newEngine(chain, 0, fetching...), source: &source{rollup: chain.RollupConfig()}}
		p.engine.load(chain, pastL2, p.tip.Number, p.finalized.Number)
		p.show()
		if err := w.connect(ctx, p.rig, published{}); err != nil {
			return w, err
		}
		w.patients = append(w.patients, p)
	}
	return w, nil
}

// run lets L1 go on and the sources with it, and has them diverge in between.
func (w *ward) run(ctx context.Context) error {
	between := func(from, to time.Duration) time.Duration {
		return from + time.Duration(w.random.Int64N(int64(to-from)))
	}
	for _, p := range w.patients {
		if err := p.rig.start(); err != nil {
			return err
		}
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	first := w.l1.current() + 1 + uint64(recoverySettle/l1Time)
	end := first + uint64(w.o.Divergences-1)*recoveryL1Blocks + uint64(w.o.Watch/l1Time) + 1
	for number := w.l1.current() + 1; number < end; number++ {
		if !wait(ctx, time.Until(w.genesis.Add(time.Duration(number)*l1Time+between(0, l1Jitter)))) {
			return ctx.Err()
		}
		w.l1.advance(number)
		if !wait(ctx, between(digestMin, digestMax)) {
			return ctx.Err()
		}
		for _, p := range w.patients {
			if number < first || (number-first)%recoveryL1Blocks != 0 {
				p.goOn(w.divergence.depth)
				continue
			}
			if err := p.diverge(ctx, w.divergence, fmt.Sprintf("%p", p)); err != nil {
				return fmt.Errorf("%s: %w", p.contestant, err)
			}
			watching.Go(func() { p.watch(ctx, w.o.Watch) })
		}
	}
	watching.Wait()
	select {
	case err := <-w.failed:
		return err
	default:
		return ctx.Err()
	}
}

// show has the source say that it has digested all of L1 and come to the tip.
func (p *patient) show() *shown {
	head := p.chain.L1().Block(p.l1.current()).Ref
	return p.source.show(eth.SyncStatus{
		CurrentL1: head, HeadL1: head, UnsafeL2: p.tip, SafeL2: p.tip, LocalSafeL2: p.tip, PendingSafeL2: p.tip, FinalizedL2: p.finalized,
	})
}

// goOn has the source derive more of the sequencer's blocks, as far as they are on the source's chain and unlikely to
// be in the way of the next divergence.
func (p *patient) goOn(depth uint64) {
	const reserve = 4
	head := p.engine.Heads().Latest.Number
	if p.engine.canonical(p.tip) && head > p.tip.Number+depth+reserve {
		if ref, err := p.engine.EL.L2BlockRefByNumber(context.Background(), head-depth-reserve); err == nil {
			p.tip = ref
		}
	}
	p.show()
}

// diverge replaces the newest blocks of a sequencer by fewer others, of which the last is the source's safe head.
func (p *patient) diverge(ctx context.Context, d divergence, salt string) error {
	parent, err := p.engine.EL.PayloadByNumber(ctx, p.engine.Heads().Latest.Number-d.depth)
	if err != nil {
		return err
	}
	ref, err := p.engine.EL.L2BlockRefByHash(ctx, parent.ExecutionPayload.BlockHash)
	if err != nil {
		return err
	}
	var origins []modelel.L1Block
	for n := range max(1, d.depth*2/5) {
		own, err := p.engine.EL.L2BlockRefByNumber(ctx, ref.Number+1+n)
		if err != nil {
			return err
		}
		origins = append(origins, p.chain.L1().Block(own.L1Origin.Number))
	}
	other := p.chain.Extend(modelel.Block{Ref: ref, Envelope: parent}, salt, origins...)
	if d.fetch > 0 {
		p.peers.Publish(other...)
	} else {
		for _, block := range other {
			if _, err := p.engine.EL.NewPayload(ctx, block.Envelope.ExecutionPayload, block.Envelope.ParentBeaconBlockRoot); err != nil {
				return err
			}
		}
	}
	p.tip = other[len(other)-1].Ref
	return nil
}

// watch shows the tip and follows the recovery until its time is over.
func (p *patient) watch(ctx context.Context, limit time.Duration) {
	tip, forced, safe := p.tip, p.resets.forced.Load(), p.engine.Heads().Safe.Number
	localSafe, lowest := p.localSafe(ctx), uint64(math.MaxUint64)
	vigil, since := p.engine.watch(tip), p.show().since
	for time.Since(since) < limit && wait(ctx, recoveryLook) {
		p.engine.note() // blocks that the engine fetched come without a call
		lowest = min(lowest, p.localSafe(ctx))
	}
	seen := vigil.sightings()
	labelled := until(since, seen.labelled, limit)
	p.recoveries = append(p.recoveries, recovery{
		labelled: labelled, built: until(since, seen.built, limit), calls: float64(seen.calls),
		polls:     float64(len(p.source.requestsBetween(since, since.Add(labelled)))),
		forced:    float64(p.resets.forced.Load() - forced),
		left:      float64(seen.left),
		back:      max(float64(localSafe)-float64(lowest), float64(safe)-float64(seen.lowest), 0),
		converged: !seen.labelled.IsZero() && !seen.built.IsZero() && p.engine.canonical(tip),
	})
}

// until is the time from one moment to another, and the limit if the other has not come.
func until(since, at time.Time, limit time.Duration) time.Duration {
	if at.IsZero() {
		return limit
	}
	return at.Sub(since)
}

func (p *patient) localSafe(ctx context.Context) uint64 {
	status, err := p.driver.SyncStatus(ctx)
	if err != nil {
		return math.MaxUint64 // it is closing
	}
	return status.LocalSafeL2.Number
}

// fillRecoveries makes the figures of one contestant, of all divergences together under the empty name.
func fillRecoveries(g *report.Group, contestant string, watch time.Duration, all map[string][]recovery) {
	distribution := func(name, unit string, of []recovery, value func(recovery) float64) {
		var samples []float64
		for _, r := range of {
			samples = append(samples, value(r))
		}
		g.Set(name, unit, contestant, report.Of(samples))
	}
	millis := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	distribution(report.RecoveryPolls, "", all[""], func(r recovery) float64 { return r.polls })
	for _, d := range divergences {
		of, name := all[d.name], d.name+": "
		distribution(name+"polls until labelled", "", of, func(r recovery) float64 { return r.polls })
		distribution(name+"source to label", "ms", of, func(r recovery) float64 { return millis(r.labelled) })
		distribution(name+"source to next own block", "ms", of, func(r recovery) float64 { return millis(r.built) })
		distribution(name+"engine calls until labelled", "", of, func(r recovery) float64 { return r.calls })
		distribution(name+"forced resets", "", of, func(r recovery) float64 { return r.forced })
		distribution(name+"times the head left its chain", "", of, func(r recovery) float64 { return r.left })
		distribution(name+"blocks that safe went back", "", of, func(r recovery) float64 { return r.back })
		var failed int
		for _, r := range of {
			if !r.converged {
				failed++
			}
		}
		g.Note(name+"divergences", "", contestant, float64(len(of)))
		g.Note(name+"not recovered within "+watch.String(), "", contestant, float64(failed))
	}
}
