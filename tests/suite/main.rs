//! What needs a real Postgres or a real socket, in one binary.

mod arithmetic;
mod aws_wire;
mod claims;
mod docs;
mod embedded;
mod fleet;
mod integrate;
mod moto;
mod schema;
mod sending;
mod unknown;
