//! Workers that lie: about themselves, their tasks and their logs.
