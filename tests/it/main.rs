//! The one integration test binary. Each module carries an equality or a set of golden vectors.

// With this, clippy allows helpers of tests to unwrap.
#![cfg(test)]

mod adamw;
mod answer;
#[cfg(feature = "cuda")]
mod bert;
mod cuda;
mod data;
mod devices;
mod engine;
mod evaluate;
mod families;
mod generate;
mod gguf;
mod golden;
mod grounded;
mod guards;
mod hostile;
mod import;
mod kernels;
mod lora;
mod mask;
mod model;
mod ner;
mod official;
mod overfit;
mod overlap;
mod parallel;
mod precision;
mod precision_short;
mod profile;
mod real;
mod recipes;
mod resume;
mod saving;
mod serve;
mod shared;
mod spans;
mod step;
mod templates;
mod tidy;
mod tokenizer;
mod training;
mod uncertainty;
