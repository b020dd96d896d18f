//! The plan, over machines that are made up.
