//! The HTTP door, over real sockets and with the rights of its role.

mod clients;
mod decide;
mod formats;
mod fuzz;
mod intake;
mod lists;
mod openapi;
mod outlook;
mod requests;
mod tokens;
mod tracker;
mod watched;
