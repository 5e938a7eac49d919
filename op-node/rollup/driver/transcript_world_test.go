package driver_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/driver"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// A story does not hang on who is first at one instant: the engine, events, L1 and the sources take different times, and
// the node starts at a moment at which its polls do not meet its blocks.
const (
	engineDelay = time.Millisecond
	eventDelay  = 300 * time.Microsecond
	l1Delay     = 100 * time.Microsecond
	sourceDelay = 20 * time.Millisecond
	startOffset = 400 * time.Millisecond
	// aside is how long after the beginning of a node the commands are, so that they do not meet its polls.
	aside = 100 * time.Millisecond
)

// story is a light sequencer on a stage, of which it is told what happens.
type story struct {
	*stage
	driver    *driver.Driver
	conductor *testutil.Conductor

	mu sync.Mutex
	// blocks and named are all blocks that were heard of, mine those that the sequencer made.
	blocks map[common.Hash]modelel.Block
	named  map[string]modelel.Block
	mine   map[common.Hash]bool
	// embarked is when the node was first started.
	embarked time.Time
	began    time.Time
	events   []happening
	// calls counts what the engine was asked to do in the present task, tasks those at one time.
	calls, tasks int
	taskAt       time.Time
	// fresh is the block that the engine was handed last, sent the labels that it was told last.
	fresh common.Hash
	sent  [2]common.Hash
	held  bool

	// What the invariants are about: the labels that were published and that the engine was told last, and how often the
	// source left the own chain.
	published, labelled map[string]eth.L2BlockRef
	currentL1           eth.BlockID
	divergences         int
	broken              []string

	// told is what the transcript showed last.
	told map[string]string
}

// happening is a line of a transcript, or a block that was made.
type happening struct {
	at   time.Time
	rank int // orders what happens in different goroutines at the same time
	text string
	// block is the name of one that became the head, verb how.
	verb, block string
}

func newTale(t testing.TB) *story {
	s := &story{stage: newStage(t), blocks: make(map[common.Hash]modelel.Block),
		named: make(map[string]modelel.Block), mine: make(map[common.Hash]bool), told: make(map[string]string)}
	s.l1.Set(func(l *testutil.L1State) { l.Delay = l1Delay })
	s.source.delay, s.eventDelay = sourceDelay, eventDelay
	text, err := os.ReadFile(filepath.Join("testdata", filepath.Base(t.Name())+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	s.l1Open = strings.Contains(string(text), "\nl1 fork")
	s.log = log.NewLogger(&storyLog{story: s})
	s.counts.onReorg, s.counts.onTask, s.counts.onHead = s.onReorg, s.onTask, s.onHead
	s.counts.onL1 = s.onL1
	s.forget()
	s.began = time.Now()
	s.watched = func(client modelel.Engine) modelel.Engine {
		line := modelel.NewFaulty(client)
		line.Always(modelel.Delay(clock.SystemClock, engineDelay))
		return &witness{Engine: line, story: s}
	}
	s.learn(s.chain.Genesis())
	return s
}

// learn remembers a block. It gets a name unless it has one: its number, with a dash for each block of that name that
// was made before.
func (s *story) learn(b modelel.Block) (name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = s.chain.Name(b.Hash())
	if _, known := s.blocks[b.Hash()]; known {
		return name
	}
	if strings.Contains(name, "..") { // an abbreviated hash
		name = fmt.Sprint(b.Ref.Number)
		for _, taken := s.named[name]; taken; _, taken = s.named[name] {
			name += "'"
		}
		s.chain.Call(b.Hash(), name)
	}
	s.blocks[b.Hash()], s.named[name] = b, b
	return name
}

// find returns a block by its name.
func (s *story) find(name string) (modelel.Block, error) {
	s.mu.Lock()
	b, ok := s.named[name]
	s.mu.Unlock()
	if ok {
		return b, nil
	}
	b, err := s.chain.Find(name)
	if err == nil {
		s.learn(b)
	}
	return b, err
}

// above tells whether a block is another one or a descendant of it.
func (s *story) above(high, low eth.L2BlockRef) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for high.Number > low.Number {
		b, ok := s.blocks[high.ParentHash]
		if !ok {
			return false
		}
		high = b.Ref
	}
	return high.Hash == low.Hash
}

func (s *story) name(hash common.Hash) string { return s.chain.Name(hash) }

var hashes = regexp.MustCompile(`0x[0-9a-f]{64}`)

// plain puts names into a text in the place of hashes.
func (s *story) plain(text string) string {
	return hashes.ReplaceAllStringFunc(text, func(hash string) string { return s.name(common.HexToHash(hash)) })
}

// The goroutines in the order in which a transcript shows what they do at one time.
const (
	rankStory = iota
	rankEngine
	rankSequencer
	rankOther
)

func (s *story) note(rank int, format string, args ...any) {
	s.add(happening{rank: rank, text: fmt.Sprintf(format, args...)})
}

func (s *story) add(h happening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.at = time.Now()
	s.events = append(s.events, h)
}

// breach notes that an invariant does not hold.
func (s *story) breach(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = append(s.broken, fmt.Sprintf(format, args...))
}

func (s *story) onReorg(action string) { s.note(rankEngine, "counted: %s", action) }

// onTask hears of every finished task. A controller that works on and on while no time passes would never let a story
// end.
func (s *story) onTask(kind string, failed bool) {
	const hot = 10_000
	if now := time.Now(); now.Equal(s.taskAt) {
		s.tasks++
	} else {
		s.tasks, s.taskAt = 0, now
	}
	if s.tasks > hot {
		panic(fmt.Sprintf("still working after %d tasks and no time, the last one is %s\n%s", hot, kind, s.heads()))
	}
	if failed && s.calls == 0 && (kind == "seal" || kind == "process") {
		s.note(rankEngine, "%s is refused, the engine is not asked", kind)
	}
	s.calls = 0
}

// witness is the engine as the node's controller sees it.
type witness struct {
	modelel.Engine
	story *story
}

// ForkchoiceUpdate implements modelel.Engine.
func (w *witness) ForkchoiceUpdate(ctx context.Context, fc *eth.ForkchoiceState, attrs *eth.PayloadAttributes) (*eth.ForkchoiceUpdatedResult, error) {
	s := w.story
	s.calls++
	if attrs != nil {
		s.checkBuild(fc.HeadBlockHash, uint64(attrs.Timestamp))
	}
	log := modelel.NewRecorder(w.Engine, s.name)
	res, err := log.ForkchoiceUpdate(ctx, fc, attrs)
	_, answer, _ := strings.Cut(log.Log().String(), " → ")
	answer = strings.TrimSpace(answer)
	labels := [2]common.Hash{fc.SafeBlockHash, fc.FinalizedBlockHash}
	valid := answer == string(eth.ExecutionValid)
	switch {
	case attrs != nil && !valid:
		s.note(rankEngine, "build on %s → %s", s.name(fc.HeadBlockHash), answer)
	case attrs != nil:
	case valid && fc.HeadBlockHash == s.fresh && labels == s.sent:
		verb := "takes in"
		if s.mine[s.fresh] {
			verb = "makes"
		}
		s.add(happening{rank: rankEngine, verb: verb, block: s.name(s.fresh)})
	default:
		s.note(rankEngine, "FCU head=%s safe=%s fin=%s → %s", s.name(fc.HeadBlockHash), s.name(labels[0]), s.name(labels[1]), answer)
	}
	if valid {
		s.sent = labels
		s.labelled = s.keeps("the engine's", s.labelled, map[string]eth.L2BlockRef{"safe": s.ref(labels[0]), "finalized": s.ref(labels[1])})
	}
	if attrs == nil {
		s.fresh = common.Hash{}
	}
	return res, err
}

// NewPayload implements modelel.Engine.
func (w *witness) NewPayload(ctx context.Context, payload *eth.ExecutionPayload, root *common.Hash) (*eth.PayloadStatusV1, error) {
	s := w.story
	s.calls++
	if head := s.head(); s.mine[payload.BlockHash] && payload.ParentHash != head.Hash {
		s.breach("%s reaches the engine, and does not build on the head %s", s.name(payload.BlockHash), s.name(head.Hash))
	}
	log := modelel.NewRecorder(w.Engine, s.name)
	res, err := log.NewPayload(ctx, payload, root)
	if err == nil && res != nil && res.Status == eth.ExecutionValid {
		s.fresh = payload.BlockHash
	} else {
		s.note(rankEngine, "%s", strings.TrimSpace(log.Log().String()))
	}
	return res, err
}

// GetPayload implements modelel.Engine.
func (w *witness) GetPayload(ctx context.Context, info eth.PayloadInfo) (*eth.ExecutionPayloadEnvelope, error) {
	s := w.story
	s.calls++
	log := modelel.NewRecorder(w.Engine, s.name)
	envelope, err := log.GetPayload(ctx, info)
	if envelope == nil || envelope.ExecutionPayload == nil {
		_, answer, _ := strings.Cut(log.Log().String(), " → ")
		s.note(rankEngine, "getPayload → %s", strings.TrimSpace(answer))
	} else if ref, err := derive.PayloadToBlockRef(s.chain.RollupConfig(), envelope.ExecutionPayload); err == nil {
		s.learn(modelel.Block{Ref: ref, Envelope: envelope})
		s.mine[ref.Hash] = true
	}
	return envelope, err
}

// storyLog takes the log lines of a node that belong into a transcript.
type storyLog struct{ story *story }

func (l *storyLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *storyLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *storyLog) WithGroup(string) slog.Handler                    { return l }

// sayings are the log lines that are told in other words, or not at all.
var sayings = map[string]string{
	"Sync progress":                "",
	"Started sequencing new block": "", "Sequencer sealed block": "", "Sequencer inserted block": "",
	"Starting sequencing, without known pre-state": "", "Starting sequencing on top of known pre-state": "",
	"Sequencer has been started": "", "Sequencer has been stopped": "",
	"Failed to get current and next L1 origin on forkchoice update": "", "Failed to get next origin": "",
	"Error finding next L1 Origin": "the sequencer waits for an L1 origin",
	// Told by the task that was refused.
	"Dropping stale sealed block, chain moved past it":    "",
	"Dropping stale processed block, chain moved past it": "",
	"Engine failed temporarily, backing off sequencer":    "the sequencer backs off",
	"Sequencer encountered reset signal, aborting work":   "the sequencer asks for a reset",
	"Engine reset confirmed, sequencer may continue":      "the sequencer hears that the reset is done",
}

func (l *storyLog) Handle(_ context.Context, r slog.Record) error {
	s := l.story
	rank := rankOther
	switch line := r.Message; {
	case strings.HasPrefix(line, "Nothing is built"):
		s.hold(true)
	case strings.HasPrefix(line, "Building goes on"):
		s.hold(false)
	}
	file := r.Source()
	switch {
	case file == nil:
	case strings.Contains(file.Function, "op-node/rollup/engine."):
		rank = rankEngine
	case strings.Contains(file.Function, "op-node/rollup/sequencing."):
		rank = rankSequencer
	}
	if rank == rankOther && r.Level < slog.LevelWarn {
		return nil
	}
	if strings.HasPrefix(r.Message, "Engine rejected stale build attempt") {
		s.refusedBuild(r)
		return nil
	}
	text, ok := sayings[r.Message]
	if !ok {
		text = fmt.Sprintf("%s %s", r.Level, r.Message)
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "reason", "blocks", "why":
				text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
			case "parent", "target":
				text += fmt.Sprintf(" %s=%s", a.Key, s.nameOf(a.Value.Any()))
			}
			return true
		})
	}
	if text != "" {
		s.note(rank, "%s", text)
	}
	return nil
}

// refusedBuild tells of a build that was refused. One on a block of the own chain, below the head, is not worth it: when
// overdue blocks are made the sequencer may hear of a head after it has made the next one.
func (s *story) refusedBuild(r slog.Record) {
	r.Attrs(func(a slog.Attr) bool {
		if parent, ok := a.Value.Any().(eth.L2BlockRef); ok && (parent == s.head() || !s.above(s.head(), parent)) {
			s.note(rankSequencer, "a build on %s is refused, the engine is not asked", s.name(parent.Hash))
		}
		return true
	})
}

func (s *story) hold(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = on
}

func (s *story) nameOf(block any) string {
	switch b := block.(type) {
	case eth.L2BlockRef:
		return s.name(b.Hash)
	case follow.Unsafe:
		return s.name(b.Hash)
	case follow.LocalSafe:
		return s.name(b.Hash)
	default:
		return fmt.Sprint(b)
	}
}

// checkBuild looks at what has to hold of a block that the engine is asked for: it builds on the node's head, and is the
// next one in time.
func (s *story) checkBuild(parent common.Hash, timestamp uint64) {
	head := s.head()
	if parent != head.Hash || timestamp != head.Time+uint64(blockTime/time.Second) {
		s.breach("a build on %s of time %d reaches the engine, the head is %s of time %d", s.name(parent), timestamp,
			s.name(head.Hash), head.Time)
	}
}

// onHead hears of every head that is published.
func (s *story) onHead(name string, ref eth.L2BlockRef) {
	if name != "l2_unsafe" {
		s.published = s.keeps("the published", s.published, map[string]eth.L2BlockRef{name: ref})
	}
}

// onL1 hears of the current L1 that is published.
func (s *story) onL1(name string, ref eth.L1BlockRef) {
	if name == "l1_derived" {
		s.currentL1 = ref.ID()
	}
}

// keeps looks at what has to hold of labels at any time: they do not fall, but for a block whose L1 origin is gone, or that
// were derived up to an L1 block that is gone, and finalized not even then.
func (s *story) keeps(whose string, before, now map[string]eth.L2BlockRef) map[string]eth.L2BlockRef {
	after := maps.Clone(before)
	for label, ref := range now {
		was := before[label]
		demanded := (!s.l1.Has(was.L1Origin) || !s.l1.Has(s.currentL1)) && !strings.Contains(label, "finalized")
		if ref.Number < was.Number && !demanded {
			s.breach("%s label %s fell from %s to %s", whose, label, s.name(was.Hash), s.name(ref.Hash))
		}
		after[label] = ref
	}
	return after
}

// forget begins anew with the labels, as a node does that starts.
func (s *story) forget() {
	s.published, s.labelled = make(map[string]eth.L2BlockRef), make(map[string]eth.L2BlockRef)
}

// ref is a block that was heard of.
func (s *story) ref(hash common.Hash) eth.L2BlockRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blocks[hash].Ref
}

// Check implements testutil.Story.
func (s *story) Check() {
	if s.node == nil {
		return
	}
	st := s.status()
	for _, pair := range [][2]eth.L2BlockRef{{st.UnsafeL2, st.LocalSafeL2}, {st.LocalSafeL2, st.SafeL2}, {st.SafeL2, st.FinalizedL2}} {
		if st.UnsafeL2.Hash != (common.Hash{}) && !s.above(pair[0], pair[1]) {
			s.breach("%s does not descend from %s: %s", s.name(pair[0].Hash), s.name(pair[1].Hash), s.heads())
		}
	}
	if forced := s.counts.reorg("force_reset"); forced > s.divergences {
		s.breach("%d forced resets for %d divergences", forced, s.divergences)
	}
	if s.conductor != nil && !s.conductor.State().Overridden {
		s.requireCommittedFirst(s.conductor)
	}
	if active, err := s.node.SequencerActive(context.Background()); err != nil || active != s.state.says() {
		s.breach("production is %t, and a restart would find %t", active, s.state.says())
	}
	for _, what := range s.broken {
		s.t.Errorf("%s\n%s", what, s.Tell())
	}
	s.broken = nil
}

// offL1 counts the blocks above the local-safe head that have an L1 origin which is not canonical.
func (s *story) offL1() (count int) {
	st := s.status()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref := st.UnsafeL2; ref.Number > st.LocalSafeL2.Number; ref = s.blocks[ref.ParentHash].Ref {
		if !s.l1.Has(ref.L1Origin) {
			count++
		}
	}
	return count
}

func (s *story) heads() string {
	st := s.status()
	return fmt.Sprintf("unsafe=%s local-safe=%s safe=%s finalized=%s", s.name(st.UnsafeL2.Hash), s.name(st.LocalSafeL2.Hash),
		s.name(st.SafeL2.Hash), s.name(st.FinalizedL2.Hash))
}

// standing is what a transcript shows when it has changed, in the order to show it in.
func (s *story) standing() (lines []string, at map[string]string) {
	at = make(map[string]string)
	state := s.driver.State()
	at["heads"] = s.heads()
	at["following"] = fmt.Sprintf("phase=%s reason=%s", state.Phase, state.Applied.Reason)
	if p := state.Pending; p != nil {
		at["following"] += " pending=" + s.name(p.Hash)
	}
	active, _ := s.driver.SequencerActive(context.Background())
	at["production"] = "production: " + map[bool]string{true: "active", false: "stopped"}[active]
	if s.held {
		at["production"] += ", held"
	}
	return []string{"heads", "following", "production"}, at
}

// changes are the lines of standing that changed since the last time.
func (s *story) changes() (out []string) {
	if s.node == nil {
		return nil
	}
	keys, now := s.standing()
	for _, key := range keys {
		if s.told[key] != now[key] {
			out = append(out, now[key])
		}
	}
	maps.Copy(s.told, now)
	return out
}
