//! What needs a real Postgres or a real socket, in one binary.

mod arithmetic;
mod aws_wire;
mod embedded;
mod moto;
mod sending;
mod unknown;
