//! What the tests, the demo and the benchmark share.

pub mod backend;
pub mod bench;
pub mod demo;
pub mod echo;
pub mod naive_matches;
pub mod oracle;
pub mod packet;
pub mod probe;
pub mod random;
pub mod replay;
pub mod scene;
pub mod six;
pub mod six_session;
pub mod smtp;
pub mod topology;
pub mod trace;
