//! Reaches a manager, follows the leader, keeps a stream.
