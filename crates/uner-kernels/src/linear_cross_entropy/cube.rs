//! The loss on the GPU runtimes, one chunk of trained rows at a time. One kernel turns a chunk's
//! logits into its losses and the gradient of the logits; [`crate::linear`] computes all matrix
//! products.

mod kernels;

use std::ops::Range;

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::ops::reshape;
use cubecl::prelude::*;

use super::{GPU_LOGITS_BYTES, LinearCrossEntropyKernels};
use crate::cube::{
    Floats, Ints, contiguous, dims, element, empty, plane_size, units_for, vector_size, zeros,
};
use crate::linear::cube::{accumulate, product, spread, transposed};

/// Most rows of a chunk: the row kernels start one cube per row, and WebGPU at most 65,535.
const CHUNK_ROWS: usize = 32 << 10;

/// A chunk's number of rows is a multiple of this if possible, so that products have whole tiles.
const TILE_ROWS: usize = 64;

impl LinearCrossEntropyKernels for Cube {
    fn losses(hidden: Floats, weight: Floats, rows: Ints, targets: Ints) -> Floats {
        let head = Head::new(hidden, weight, rows, targets);
        let losses = empty(&head.hidden, [head.count], DType::F32);
        for chunk in head.chunks() {
            head.row_losses(head.logits(head.gathered(&chunk)), &chunk, &losses);
        }
        losses
    }

    fn loss_and_gradients(
        hidden: Floats,
        weight: Floats,
        rows: Ints,
        targets: Ints,
        [hidden_wanted, weight_wanted]: [bool; 2],
    ) -> (Floats, [Option<Floats>; 2]) {
        if !hidden_wanted && !weight_wanted {
            return (total(Self::losses(hidden, weight, rows, targets)), [None, None]);
        }
        let head = Head::new(hidden, weight, rows, targets);
        let losses = empty(&head.hidden, [head.count], DType::F32);
        let dhidden =
            hidden_wanted.then(|| zeros(&head.hidden, head.hidden.shape(), head.hidden.dtype()));
        let mut dweight = None;
        for chunk in head.chunks() {
            let gathered = head.gathered(&chunk);
            let dlogits = head.losses_and_dlogits(head.logits(gathered.clone()), &chunk, &losses);
            if let Some(dhidden) = &dhidden {
                let dgathered = product(dlogits.clone(), head.weight.clone(), dhidden.dtype());
                head.scatter(dgathered, &chunk, dhidden);
            }
            if weight_wanted {
                dweight = Some(head.grow(dweight, dlogits, gathered));
            }
        }
        let dweight = weight_wanted.then(|| head.finished(dweight));
        (total(losses), [dhidden, dweight])
    }

    /// In place: the gradient was made for this backward pass and is not shared.
    fn scale_gradient(gradient: Floats, dloss: Floats) -> Floats {
        let [_, width] = dims(&gradient);
        let vector = vector_size(&gradient, width);
        let count = gradient.shape().num_elements() / vector;
        if count > 0 {
            let (cubes, units) = spread(count);
            kernels::scale::launch(
                &gradient.client,
                cubes,
                units,
                vector,
                gradient.clone().into_buffer_arg(),
                into_contiguous(cast(dloss, DType::F32)).into_buffer_arg(),
                count,
                element(&gradient),
            );
        }
        gradient
    }
}

/// The operands of a call: `hidden` `[tokens, width]`, `weight` `[vocab, width]`, `rows` and
/// `targets` `[count]`.
struct Head {
    hidden: Floats,
    weight: Floats,
    rows: Ints,
    targets: Ints,
    count: usize,
    width: usize,
    vocab: usize,
}

impl Head {
    fn new(hidden: Floats, weight: Floats, rows: Ints, targets: Ints) -> Self {
        let (hidden, weight) = (contiguous(hidden), contiguous(weight));
        assert!(
            hidden.dtype() == weight.dtype(),
            "`hidden` {:?} is {:?} but `weight` {:?} {:?}",
            hidden.shape(),
            hidden.dtype(),
            weight.shape(),
            weight.dtype()
        );
        let ([vocab, width], [count]) = (dims(&weight), rows.shape().dims());
        let ints = |tensor| into_contiguous(cast(tensor, DType::I32));
        Self { hidden, weight, rows: ints(rows), targets: ints(targets), count, width, vocab }
    }

    /// The chunks of the trained rows, as ranges of `rows` and `targets`.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let largest_buffer = self.hidden.client.properties().memory.max_page_size;
        let bytes = GPU_LOGITS_BYTES.min(usize::try_from(largest_buffer).unwrap_or(usize::MAX));
        let (count, size) = (self.count, chunk_rows(self.count, self.vocab, bytes));
        (0..count).step_by(size).map(move |first| first..count.min(first + size))
    }

    /// The hidden states of a chunk, `[n, width]`.
    fn gathered(&self, chunk: &Range<usize>) -> Floats {
        let gathered = empty(&self.hidden, [chunk.len(), self.width], self.hidden.dtype());
        let vector = vector_size(&gathered, self.width);
        kernels::gather::launch(
            &self.hidden.client,
            CubeCount::Static(chunk.len() as u32, 1, 1),
            CubeDim::new_1d(units_for(self.width / vector, &self.hidden.client) as u32),
            vector,
            self.hidden.clone().into_buffer_arg(),
            self.rows.clone().into_buffer_arg(),
            gathered.clone().into_buffer_arg(),
            chunk.start,
            self.width / vector,
            element(&self.hidden),
        );
        gathered
    }

    /// The logits of a chunk, `[n, vocab]`, f32.
    fn logits(&self, gathered: Floats) -> Floats {
        product(gathered, transposed(self.weight.clone()), DType::F32)
    }

    /// Writes the chunk's part of `losses`.
    fn row_losses(&self, logits: Floats, chunk: &Range<usize>, losses: &Floats) {
        let (client, vector) = (logits.client.clone(), vector_size(&logits, self.vocab));
        let units = units_for(self.vocab / vector, &client);
        kernels::losses::launch(
            &client,
            CubeCount::Static(chunk.len() as u32, 1, 1),
            CubeDim::new_1d(units as u32),
            vector,
            logits.into_buffer_arg(),
            self.targets.clone().into_buffer_arg(),
            losses.clone().into_buffer_arg(),
            chunk.start,
            self.vocab / vector,
            units,
            plane_size(&client),
        );
    }

    /// Writes the chunk's part of `losses` and returns the gradient of the logits,
    /// `softmax(logits) - onehot(target)`, in the type of the operands; in f32 it overwrites the
    /// logits.
    fn losses_and_dlogits(&self, logits: Floats, chunk: &Range<usize>, losses: &Floats) -> Floats {
        let (client, vector) = (logits.client.clone(), vector_size(&logits, self.vocab));
        let units = units_for(self.vocab / vector, &client);
        let (dlogits, out) = if self.weight.dtype() == DType::F32 {
            (logits.clone(), logits.as_tensor_alias(0).into_buffer_arg())
        } else {
            let dlogits = empty(&logits, logits.shape(), self.weight.dtype());
            (dlogits.clone(), dlogits.into_buffer_arg())
        };
        kernels::losses_and_dlogits::launch(
            &client,
            CubeCount::Static(chunk.len() as u32, 1, 1),
            CubeDim::new_1d(units as u32),
            vector,
            logits.into_buffer_arg(),
            self.targets.clone().into_buffer_arg(),
            losses.clone().into_buffer_arg(),
            out,
            chunk.start,
            self.vocab / vector,
            units,
            plane_size(&client),
            element(&dlogits),
        );
        dlogits
    }

    /// Writes the gradients of a chunk's hidden states to their rows of `dhidden`.
    fn scatter(&self, dgathered: Floats, chunk: &Range<usize>, dhidden: &Floats) {
        let vector = vector_size(&dgathered, self.width);
        kernels::scatter::launch(
            &self.hidden.client,
            CubeCount::Static(chunk.len() as u32, 1, 1),
            CubeDim::new_1d(units_for(self.width / vector, &self.hidden.client) as u32),
            vector,
            dgathered.into_buffer_arg(),
            self.rows.clone().into_buffer_arg(),
            dhidden.clone().into_buffer_arg(),
            chunk.start,
            self.width / vector,
            element(dhidden),
        );
    }

    /// Adds the weight's gradient of a chunk. The sum is f32 if there are several chunks; a single
    /// chunk's gradient has the weight's type at once.
    fn grow(&self, dweight: Option<Floats>, dlogits: Floats, gathered: Floats) -> Floats {
        let all = dims::<2>(&gathered)[0] == self.count;
        match dweight {
            None => {
                let dtype = if all { self.weight.dtype() } else { DType::F32 };
                product(transposed(dlogits), gathered, dtype)
            }
            Some(sum) => {
                accumulate(&sum, &transposed(dlogits), &gathered);
                sum
            }
        }
    }

    /// The weight's gradient in the weight's type; zeros where no row is trained.
    fn finished(&self, dweight: Option<Floats>) -> Floats {
        let shape = self.weight.shape();
        let Some(dweight) = dweight else {
            return zeros(&self.weight, shape, self.weight.dtype());
        };
        // In one dimension, because CUDA would pad the rows of a matrix.
        let flat = reshape(dweight, [shape.num_elements()].into());
        reshape(cast(flat, self.weight.dtype()), shape)
    }
}

/// Rows per chunk. Chunks are about equally long, because a short last one would be a product of
/// another shape with its own tuning.
fn chunk_rows(count: usize, vocab: usize, bytes: usize) -> usize {
    let most = (bytes / size_of::<f32>() / vocab.max(1)).clamp(1, CHUNK_ROWS);
    let most = if most > TILE_ROWS { most - most % TILE_ROWS } else { most };
    let equal = count.max(1).div_ceil(count.max(1).div_ceil(most));
    equal.next_multiple_of(TILE_ROWS).min(most)
}

/// The sum of the losses, `[1]`.
fn total(losses: Floats) -> Floats {
    let [count] = dims(&losses);
    if count == 0 {
        return zeros(&losses, [1], DType::F32);
    }
    let (client, sum) = (losses.client.clone(), empty(&losses, [1], DType::F32));
    let units = units_for(count, &client);
    kernels::total::launch(
        &client,
        CubeCount::Static(1, 1, 1),
        CubeDim::new_1d(units as u32),
        losses.into_buffer_arg(),
        sum.clone().into_buffer_arg(),
        count,
        units,
        plane_size(&client),
    );
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_fit_their_limits_and_are_about_equal() {
        let mib = 1 << 20;
        assert_eq!(chunk_rows(0, 7, mib), TILE_ROWS);
        assert_eq!(chunk_rows(1, 32_000, 256 * mib), TILE_ROWS);
        assert_eq!(chunk_rows(8192, 32_000, 256 * mib), 2048);
        assert_eq!(chunk_rows(2100, 32_000, 256 * mib), 1088);
        assert_eq!(chunk_rows(100_000, 7, 256 * mib), 25_024);
        assert_eq!(chunk_rows(5, 32_001, 3 * 4 * 32_001), 3);
        assert_eq!(chunk_rows(5, 32_001, 1), 1);
        for count in [1, 63, 515, 2049, 40_000] {
            for vocab in [1, 33, 32_001, 128_256] {
                let rows = chunk_rows(count, vocab, 128 * mib);
                assert!(
                    rows * vocab * 4 <= 128 * mib && rows <= CHUNK_ROWS,
                    "{count} {vocab}: {rows}"
                );
            }
        }
    }
}
