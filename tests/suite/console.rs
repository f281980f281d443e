//! The HTTP door, over real sockets and with the rights of its role.

mod intake;
mod openapi;
mod tokens;
