//! Sets how long the programs' allocator keeps freed memory.

use std::ffi::{c_int, c_long};

/// `mi_option_purge_delay` of mimalloc 2 and 3, which `libmimalloc-sys` does not name.
const PURGE_DELAY: c_int = 15;
/// Milliseconds. Longer than a training step, so that a step can reuse the memory of the last one.
const KEPT: c_long = 10_000;

/// Makes mimalloc return freed memory to the system after ten seconds instead of one. Every op of a
/// step allocates its output; in a step of more than a second, this would cause thousands of page
/// faults. The price is about a quarter more resident memory.
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
        // The option's default; its neighbours in the table have others.
        assert_eq!(get(), 1000);
        keep_freed_memory();
        assert_eq!(get(), KEPT);
    }
}
