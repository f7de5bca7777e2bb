//! Fetching from a server on this machine that speaks the hub's protocol.

mod failures;
mod fetch;
mod plan;
mod repository;
mod server;
