//! What needs a real Postgres or a real socket, in one binary.

mod arithmetic;
mod aws_wire;
mod claims;
mod embedded;
mod moto;
mod schema;
mod sending;
mod unknown;
