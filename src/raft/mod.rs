//! openraft fitted to us: the log, the state file, snapshots, the network, the batching proposer.
