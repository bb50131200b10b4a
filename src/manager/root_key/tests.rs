//! What the leader does next, as the state says.

use super::*;
use crate::manager::orchestrator::world;

#[test]
fn a_root_key_counts_only_when_every_manager_keeps_it_and_a_lost_one_is_drawn_anew() {
    let (mine, lost) = (RootId([1; 32]), RootId([2; 32]));
    let here = |id| id == mine;
    let mut state = world::state(2);
    assert_eq!(next_step(&state, here), Step::Wait);
    let mut apply = |command| {
        state
            .apply(&crate::model::command::Stamped {
                request: None,
                at: crate::kit::clock::Timestamp(1),
                command,
            })
            .outcome
            .unwrap();
        next_step(&state, here)
    };
    assert_eq!(apply(Command::BeginRoot { rate: None }), Step::Offer);
    let offer = |id| Command::OfferRoot { offer: RootOffer { id, by: world::node_id(1) } };
    assert_eq!(apply(offer(lost)), Step::Offer, "its leader is gone, and nobody has it");
    assert_eq!(apply(offer(mine)), Step::Wait);
    let note = |n| Command::NotePreparedRoot { node: world::node_id(n), root: mine };
    assert_eq!(apply(note(1)), Step::Wait);
    assert_eq!(apply(note(2)), Step::Rotate(mine));
}
