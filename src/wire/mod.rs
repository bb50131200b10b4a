//! Protobuf on one side, the model on the other; every byte that leaves a process or outlives one.
