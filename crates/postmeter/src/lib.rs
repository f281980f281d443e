//! postmeter
