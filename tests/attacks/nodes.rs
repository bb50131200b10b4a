//! Nodes that cannot work, or are not where they were: what the cluster says and does.
