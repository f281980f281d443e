//! Where usage is read from over HTTP, one file per system. It calls out, so it knows no database: its caller records
//! what was answered.

pub mod prometheus;
