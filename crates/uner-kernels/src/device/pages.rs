//! Page size of a CUDA device's allocator.
//!
//! CubeCL allocates tensors in pages. By default a page is hardly larger than the largest tensor so
//! far, so it has room for one or two large tensors and an unused rest. The page size cannot be
//! set, but it never shrinks after a large request.

use cubecl::{MemoryPoolKind, MemoryScope};

/// Number of pages of the whole memory. With fewer pages, less is lost at their ends, and more in
/// the last one.
const PAGES: u64 = 64;

/// Makes the allocator use pages of a [`PAGES`]th of the memory for this thread's tensors. Each
/// thread has its own pages.
pub(super) fn carve_large(device: &cubecl::Device) {
    let client = device.client();
    let Some(memory) = client.properties().memory.max_memory() else { return };
    let page = memory / PAGES;
    let report = client.memory_report(MemoryScope::CurrentStream);
    let pools = report.streams.iter().flat_map(|stream| &stream.pools.dynamic);
    let mut sizes = pools.filter_map(|pool| match pool.kind {
        MemoryPoolKind::Adaptive { page_size, .. } => Some(page_size),
        _ => None,
    });
    if !sizes.any(|size| size >= page) {
        // The tensor is freed at once, and the page size stays.
        drop(client.empty(page as usize));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cubecl::ir::MemoryDeviceProperties;
    use cubecl_server::logging::ServerLogger;
    use cubecl_server::memory_management::{
        ErrorGraph, ManagedMemoryHandle, MemoryConfiguration, MemoryManagement,
        MemoryManagementOptions, PageUpdate,
    };
    use cubecl_server::server::IoError;
    use cubecl_server::storage::{ComputeStorage, StorageHandle, StorageId, StorageUtilization};

    use super::PAGES;

    /// Memory of an H200, in bytes.
    const MEMORY: u64 = 150_754_820_096;

    /// Storage without memory behind it.
    struct Unused;

    impl ComputeStorage for Unused {
        type Resource = ();

        fn alignment(&self) -> usize {
            512
        }

        fn get(&mut self, _: &StorageHandle) -> Result<(), IoError> {
            Ok(())
        }

        fn alloc(&mut self, size: u64) -> Result<StorageHandle, IoError> {
            Ok(StorageHandle::new(StorageId::new(), StorageUtilization { offset: 0, size }))
        }

        fn dealloc(&mut self, _: StorageId) {}

        fn flush(&mut self) {}

        fn bytes_allocated(&self) -> u64 {
            0
        }
    }

    /// CubeCL's pools, with the peaks of bytes in use and of bytes reserved.
    struct Pools {
        memory: MemoryManagement<Unused>,
        most: [u64; 2],
    }

    impl Pools {
        fn new() -> Self {
            let properties = MemoryDeviceProperties::new(MEMORY / 4, 512).with_max_memory(MEMORY);
            let memory = MemoryManagement::from_configuration(
                Unused,
                &properties,
                MemoryConfiguration::default(),
                Arc::new(ServerLogger::default()),
                MemoryManagementOptions::new("pools"),
            );
            Self { memory, most: [0; 2] }
        }

        /// Allocates a tensor, which lives as long as the result.
        fn tensor(&mut self, bytes: u64) -> ManagedMemoryHandle {
            let found = self.memory.reserve(bytes, PageUpdate::Allow, &mut ErrorGraph::default());
            let usage = self.memory.memory_report().usage();
            self.most =
                [self.most[0].max(usage.bytes_in_use), self.most[1].max(usage.bytes_reserved)];
            found.expect("unlimited memory")
        }
    }

    /// Bytes of activations.
    struct Sizes {
        hidden: u64,
        intermediate: u64,
        low_rank: u64,
        log_sum_exp: u64,
    }

    type SavedTensors = Vec<ManagedMemoryHandle>;

    /// A layer with an adapter: pushes the tensors that the adapter keeps, and returns the output.
    fn layer(
        pools: &mut Pools,
        sizes: &Sizes,
        [input, output]: [u64; 2],
        saved: &mut SavedTensors,
    ) -> ManagedMemoryHandle {
        let dropped = pools.tensor(input);
        saved.push(pools.tensor(sizes.low_rank));
        drop(dropped);
        let _change = pools.tensor(output);
        pools.tensor(output)
    }

    /// The forward pass of a block with adapters: the tensors that its graph keeps, and its output.
    fn forward(pools: &mut Pools, sizes: &Sizes) -> (SavedTensors, ManagedMemoryHandle) {
        let &Sizes { hidden, intermediate, log_sum_exp, .. } = sizes;
        let mut saved = vec![pools.tensor(hidden)];
        for is_rotated in [true, true, false] {
            let output = layer(pools, sizes, [hidden; 2], &mut saved);
            saved.push(if is_rotated { pools.tensor(hidden) } else { output });
        }
        saved.extend([hidden, log_sum_exp].map(|bytes| pools.tensor(bytes)));
        let attended = layer(pools, sizes, [hidden; 2], &mut saved);
        saved.extend([hidden; 2].map(|bytes| pools.tensor(bytes)));
        drop(attended);
        for _ in 0..2 {
            let output = layer(pools, sizes, [hidden, intermediate], &mut saved);
            saved.push(output);
        }
        saved.push(pools.tensor(intermediate));
        let output = layer(pools, sizes, [intermediate, hidden], &mut saved);
        (saved, output)
    }

    /// The backward pass of a block: allocates gradients, and frees the saved tensors, the last
    /// first.
    fn backward(pools: &mut Pools, sizes: &Sizes, mut saved: SavedTensors) {
        for bytes in [sizes.intermediate, sizes.intermediate, sizes.hidden, sizes.hidden] {
            let _gradients = [bytes, bytes].map(|bytes| pools.tensor(bytes));
            saved.truncate(saved.len().saturating_sub(6));
        }
    }

    /// Peak reserved over peak used bytes, in two steps of 7B with `rows` rows of 2,048 tokens.
    fn overhead(rows: u64, page: Option<u64>) -> f64 {
        let mut pools = Pools::new();
        if let Some(page) = page {
            drop(pools.tensor(page));
            pools.most = [0; 2];
        }
        let tokens = 2048 * rows;
        let sizes = Sizes {
            hidden: tokens * 4096 * 2,
            intermediate: tokens * 11008 * 2,
            low_rank: tokens * 16 * 2,
            log_sum_exp: tokens * 32 * 4,
        };
        // Every run allocates an f32 matrix of this size at some time.
        drop(pools.tensor(32000 * 4096 * 4));
        for _ in 0..2 {
            let blocks: Vec<_> = (0..32).map(|_| forward(&mut pools, &sizes)).collect();
            for (saved, output) in blocks.into_iter().rev() {
                backward(&mut pools, &sizes, saved);
                drop(output);
            }
        }
        let [used, reserved] = pools.most;
        reserved as f64 / used as f64
    }

    /// Depends on CubeCL's version.
    #[test]
    fn large_pages_leave_less_unused() {
        for rows in [4, 8, 12] {
            let (large, own) = (overhead(rows, Some(MEMORY / PAGES)), overhead(rows, None));
            assert!(large < 1.1, "{rows} rows: {large:.3}, by default {own:.3}");
            assert!(own > large, "{rows} rows: {large:.3}, by default {own:.3}");
        }
    }
}
