//! What people ask, read from the views.
