//! What needs a real Postgres or a real socket, in one binary.

mod arithmetic;
mod aws_wire;
mod claims;
mod crash;
mod docs;
mod embedded;
mod fleet;
mod hours;
mod intake;
mod integrate;
mod moto;
mod people;
mod replay;
mod schema;
mod sending;
mod unknown;
