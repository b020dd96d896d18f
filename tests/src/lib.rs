//! What the tests, the demo and the benchmark share.

pub mod echo;
pub mod scene;
pub mod smtp;
pub mod topology;
