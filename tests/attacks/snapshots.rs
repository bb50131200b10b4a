//! Managers that come back with an older disk, or with another one than they wrote.
