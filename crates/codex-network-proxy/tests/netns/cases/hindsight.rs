//! What must be true of everything that the other cases have left behind: the questions and the connections.

use std::sync::Arc;

use anyhow::{Result, ensure};
use codex_network_policy::AddressClass;

use crate::report::{Case, last};
use crate::world::World;

pub(super) fn cases() -> Vec<Case> {
    vec![
        last("no_question_left_for_a_name_that_is_not_allowed", questions),
        last(
            "no_connection_went_to_an_address_that_is_not_public",
            connections,
        ),
    ]
}

async fn questions(world: Arc<World>) -> Result<()> {
    let names = world.names.names();
    let stray: Vec<&String> = names
        .iter()
        .filter(|name| {
            let is_allowed = *name == "allowed.example" || name.ends_with(".allowed.example");
            let is_denied =
                *name == "denied.allowed.example" || name.ends_with(".denied.allowed.example");
            !is_allowed || is_denied
        })
        .collect();
    ensure!(stray.is_empty(), "asked for {stray:?}");
    Ok(())
}

/// The one exception is the policy that lists the loopback.
async fn connections(world: Arc<World>) -> Result<()> {
    let stray: Vec<_> = world
        .origins
        .hits()
        .into_iter()
        .filter(|hit| !AddressClass::of(hit.server).is_public())
        .filter(|hit| {
            !(hit.server.is_loopback()
                && ["localhost", "127.0.0.1", "[::1]"].contains(&hit.host.as_str()))
        })
        .collect();
    ensure!(stray.is_empty(), "origins were reached: {stray:?}");
    Ok(())
}
