//! Fused operators as plain functions on burn tensors.
