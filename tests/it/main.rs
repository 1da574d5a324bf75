//! The one integration test binary. Each module carries an equality or a set of golden vectors.

// Clippy lets helpers of tests unwrap where it knows that they are such.
#![cfg(test)]

mod answer;
mod data;
mod evaluate;
mod golden;
mod mask;
mod ner;
mod shared;
mod tidy;
mod tokenizer;
