//! What needs a real Postgres or a real socket, in one binary.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and says where")]

mod arithmetic;
mod aws_wire;
mod breaker;
mod claims;
mod crash;
mod docs;
mod embedded;
mod fleet;
mod hours;
mod imports;
mod intake;
mod integrate;
mod moto;
mod outage;
mod people;
mod replay;
mod schema;
mod sending;
mod unknown;
