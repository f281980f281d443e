//! What needs a real Postgres or a real socket, in one binary.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and says where")]

mod arithmetic;
mod aws_wire;
mod azure_sending;
mod azure_wire;
mod breaker;
mod claims;
mod closing;
mod commands;
mod console;
mod crash;
mod deploy;
mod docs;
mod embedded;
mod failover;
mod fleet;
mod google;
mod google_wire;
mod hours;
mod imports;
mod intake;
mod integrate;
mod layering;
mod lost;
mod moto;
mod outage;
mod people;
mod pooled;
mod prometheus;
mod random;
mod replay;
mod restore;
mod schema;
mod secrets;
mod sending;
mod shadow;
mod stuck;
mod tls;
mod tracker;
mod unknown;
mod upgrade;
