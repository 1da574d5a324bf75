//! Holds no code: the benchmarks are the other targets of this package.
