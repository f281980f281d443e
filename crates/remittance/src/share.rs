//! A part of a quantity, which shows a buyer what it was used for.

use crate::Quantity;

/// So much of a quantity belongs to usage with these tags. The shares of a quantity sum to it exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Names and values, in order of names; none: all the rest.
    pub tags: Vec<(String, String)>,
    /// How much; more than zero.
    pub quantity: Quantity,
}
