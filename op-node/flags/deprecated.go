package flags

import (
	"github.com/urfave/cli/v2"
)

// rawDeprecated holds the values of flags that nothing reads any more, and of the few that still act.
type rawDeprecated struct {
	engineSync bool

	ignored       string
	ignoredSwitch bool
}

// deprecated returns the flags that are accepted so that old command lines keep working. Those in the list of the result are warned
// about; see also retired.
func (s *Set) deprecated() []cli.Flag {
	bare, gossip, r := section{}.hide(), section{category: categoryP2P}.hide(), &s.raw.deprecated
	return []cli.Flag{
		bare.onoff(&r.engineSync, "l2.engine-sync", "L2_ENGINE_SYNC_ENABLED", "Deprecated: --syncmode=execution-layer."),
		bare.onoff(&s.cfg.Sync.SkipStartCheck, "l2.skip-sync-start-check", "L2_SKIP_SYNC_START_CHECK", "Deprecated: start without comparing the L1 origins of unsafe blocks with L1."),
		bare.onoff(&r.ignoredSwitch, "beta.extra-networks", "BETA_EXTRA_NETWORKS", "Deprecated, without effect: all networks of the registry are known."),
		bare.text(&r.ignored, "l2.backup-unsafe-sync-rpc", "L2_BACKUP_UNSAFE_SYNC_RPC", "Deprecated, without effect."),
		bare.text(&r.ignored, "l2.backup-unsafe-sync-rpc.trustrpc", "L2_BACKUP_UNSAFE_SYNC_RPC_TRUST_RPC", "Deprecated, without effect."),
		section{category: categoryRollup}.hide().onoff(&r.ignoredSwitch, "syncmode.req-resp", "SYNCMODE_REQ_RESP", "Deprecated, without effect."),
		gossip.text(&s.raw.p2p.peerScoring, "p2p.scoring.peers", "", "Deprecated: --p2p.scoring."),
		gossip.text(&r.ignored, "p2p.score.bands", "", "Deprecated, without effect."),
		gossip.text(&s.raw.p2p.topicScoring, "p2p.scoring.topics", "", "Deprecated: --p2p.scoring."),
		gossip.onoff(&r.ignoredSwitch, "p2p.sync.onlyreqtostatic", "P2P_SYNC_ONLYREQTOSTATIC", "Deprecated, without effect."),
	}
}

// retired returns the flags that have no effect and no deprecation warning, as upstream; the heartbeat has a warning of its own.
func (s *Set) retired() []cli.Flag {
	in, r := section{category: categoryOperations}.hide(), &s.raw.deprecated
	return []cli.Flag{
		in.text(&r.ignored, "snapshotlog.file", "SNAPSHOT_LOG", "Without effect."),
		in.onoff(&r.ignoredSwitch, "heartbeat.enabled", "HEARTBEAT_ENABLED", "Without effect."),
		in.text(&r.ignored, "heartbeat.moniker", "HEARTBEAT_MONIKER", "Without effect."),
		in.text(&r.ignored, "heartbeat.url", "HEARTBEAT_URL", "Without effect."),
	}
}
