//! suite

mod aws_wire;
mod embedded;
mod moto;
