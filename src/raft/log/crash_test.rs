//! The log under a disk that loses, tears, flips and refuses.
