//! Keeps the kernel's verifier from following one path once for each value that a number may have.
//!
//! It takes constants for what they are: where paths meet that left different ones in a variable, it goes on with each by
//! itself. A number that it knows nothing of is the same to it wherever it comes from.

use core::hint::black_box;

/// The same number, which the verifier no longer knows. `any` is a number that it does not know; it comes to nothing.
#[must_use]
#[inline(always)]
pub(crate) fn blurred(number: u32, any: u32) -> u32 {
    // Boxed, lest the compiler see that it comes to nothing.
    number.wrapping_add(any.wrapping_sub(black_box(any)))
}
