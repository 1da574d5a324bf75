//! The one integration test binary. Each module carries an equality or a set of golden vectors.

mod answer;
mod evaluate;
mod mask;
mod shared;
