//! How long the allocator of the programs keeps what was freed.

use std::ffi::{c_int, c_long};

/// `mi_option_purge_delay` of mimalloc 2 and 3, which `libmimalloc-sys` does not name.
const PURGE_DELAY: c_int = 15;
/// Milliseconds; longer than a step of training takes, so that it finds its memory where the last
/// one left it.
const KEPT: c_long = 10_000;

/// From here on mimalloc returns freed memory to the system after ten seconds, not after one. Every
/// op of a step takes memory for its output, and one that takes more than a second would find it
/// gone: thousands of page faults a step. The price is about a quarter more resident memory.
pub fn keep_freed_memory() {
    // SAFETY: sets an integer in a table of mimalloc, whether or not it is the allocator of this
    // program.
    #[expect(unsafe_code, reason = "a call of the allocator's C interface")]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        #[expect(unsafe_code, reason = "a call of the allocator's C interface")]
        let get = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // Its default, which its neighbours in the table do not have.
        assert_eq!(get(), 1000);
        keep_freed_memory();
        assert_eq!(get(), KEPT);
    }
}
