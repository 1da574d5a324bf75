//! Packing, loading, the training step, the optimizer, checkpoints and metrics.
