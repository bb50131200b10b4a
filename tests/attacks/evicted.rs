//! Managers that were demoted or removed and want to go on deciding.
