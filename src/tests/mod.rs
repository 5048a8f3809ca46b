//! What the `tests` modules share, and the test of the layers.

pub(crate) mod build;
mod layers;
