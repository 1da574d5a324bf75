//! Measures every op, forward and backward, at the shapes of a preset, on a named device.
//!
//! ```text
//! cargo bench -p uner-benches --bench ops -- [--device flex] [--dtype f32|bf16]
//!     [--preset cpu|7b|tiny|odd] [--op NAME] [--seconds 1 | --once]
//! ```
//! prints a line of JSON for every op, shape and pass. `pytorch_ops.py` prints the same lines for
//! PyTorch, and `table.py` joins them. `backward` is the difference of the two measured passes. On
//! the CPU `--dtype bf16` applies to weights and gradients, so ops without a weight are left out.
//! `--once` launches every pass a single time and measures nothing, for a tool that checks memory
//! accesses and slows kernels down a hundredfold.

use std::process::ExitCode;

use burn::tensor::{DType, Int, Tensor};
use uner_benches::argument;
use uner_benches::measure::{Bench, Case, Cost};
use uner_benches::preset::{LONGEST, Preset, documents, preset};
use uner_kernels::adamw::{Moments, code, parted};
use uner_kernels::attention::PADDING;
use uner_kernels::cached_attention::Sequence;
use uner_kernels::device::DeviceName;
use uner_kernels::dropout::DropoutSite;
use uner_kernels::quantized_linear::QuantFormat;
use uner_kernels::{
    AdamWState, AdamWStep, CacheLayout, Labels, PackedWeight, QuantizedWeight, RotaryTable,
    Visibility, accumulate, adamw, add_linear, add_rms_norm, add_rows, attention, cached_attention,
    dropout, dropped_linear, linear, linear_cross_entropy, linear_sum, packed_linear,
    quantized_linear, rms_norm, rope, seeded, sparse_linear, squared_norms, swiglu, token_losses,
};

/// The binaries' allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EPS: f64 = 1e-5;
/// Number of tensors whose norms are computed at a time.
const NORMS: usize = 8;

/// Measures an op at every size of a preset.
type Measure = fn(&Bench, &Preset);

/// The ops by directory, with whether they read weights.
const OPS: [(&str, bool, Measure); 17] = [
    ("attention", false, bench_attention),
    ("cached_attention", false, bench_cached_attention),
    ("rms_norm", true, bench_rms_norm),
    ("rope", false, bench_rope),
    ("swiglu", false, bench_swiglu),
    ("dropout", false, bench_dropout),
    ("linear", true, bench_linear),
    ("packed_linear", false, bench_packed_linear),
    ("sparse_linear", false, bench_sparse_linear),
    ("linear_sum", false, bench_linear_sum),
    ("add_linear", false, bench_add_linear),
    ("quantized_linear", false, bench_quantized_linear),
    ("linear_cross_entropy", true, bench_linear_cross_entropy),
    ("accumulate", true, bench_accumulate),
    ("add_rows", false, bench_add_rows),
    ("squared_norm", true, bench_squared_norm),
    ("adamw", true, bench_adamw),
];

fn leaf<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    tensor.clone().autodiff().require_grad()
}

/// Runs the backward pass from the gradient `dy` of `y`.
fn backward<const D: usize>(y: Tensor<D>, dy: &Tensor<D>) {
    drop(seeded(y, dy.clone()).backward());
}

fn bench_attention(bench: &Bench, preset: &Preset) {
    for &(rows, length) in preset.attention {
        let visibility = Visibility::causal(rows, length, &bench.device);
        let pairs = rows * length * length / 2;
        attention_case(bench, preset, &visibility, (pairs, "causal"));
    }
    let lengths = documents(preset.packed);
    let pairs = lengths.iter().map(|length| length * length / 2).sum();
    let row: Vec<i32> =
        lengths.iter().zip(0..).flat_map(|(&length, document)| vec![document; length]).collect();
    let packed = Visibility::packed(&row, 1, &bench.device);
    attention_case(bench, preset, &packed, (pairs, "packed"));
    let row =
        |&length: &usize| (0..LONGEST).map(move |token| if token < length { 0 } else { PADDING });
    let rows: Vec<i32> = lengths.iter().flat_map(row).collect();
    let padded = Visibility::packed(&rows, lengths.len(), &bench.device);
    attention_case(bench, preset, &padded, (pairs, "padded"));
}

/// Steps of inference: a new token for each question, or new passages with their questions.
fn bench_cached_attention(bench: &Bench, preset: &Preset) {
    for (passages, is_new) in [(20, false), (4, true)] {
        cached_attention_case(bench, preset, passages, is_new);
    }
}

fn cached_attention_case(bench: &Bench, preset: &Preset, passages: usize, is_new: bool) {
    let Preset { heads, head_dim, .. } = *preset;
    let (questions, passage, own) = (13, 100, 16);
    let slots = passage + questions * own;
    let mut sequences = Vec::new();
    for first in (0..passages).map(|passage| passage * slots) {
        let shared = vec![first..first + passage];
        if is_new {
            sequences.push(Sequence { shared: shared.clone(), new: passage, own: Vec::new() });
        }
        sequences.extend((0..questions).map(|question| {
            let start = first + passage + question * own;
            let new = if is_new { own } else { 1 };
            Sequence { shared: shared.clone(), own: vec![start..start + own], new }
        }));
    }
    let keys_of = |Sequence { shared, own, new }: &Sequence| {
        let tokens: usize = shared.iter().chain(own).map(ExactSizeIterator::len).sum();
        (tokens - new + 1..=tokens).sum::<usize>()
    };
    let pairs: usize = sequences.iter().map(keys_of).sum();
    let layout = CacheLayout::new(sequences);
    let q = bench.random([layout.tokens(), heads, head_dim]);
    let [keys, values] = std::array::from_fn(|_| bench.random([passages * slots, heads, head_dim]));
    let kind = if is_new { "new" } else { "decoding" };
    let case = Case {
        op: "cached_attention",
        shape: format!("{passages}x({passage}+{questions}x{own}) {heads}x{head_dim} {kind}"),
    };
    bench.pass(&case, "forward", Cost::Flops(4 * pairs * heads * head_dim), || {
        drop(cached_attention(q.clone(), keys.clone(), values.clone(), &layout));
    });
}

/// `pairs` is the number of visible query-key pairs.
fn attention_case(
    bench: &Bench,
    preset: &Preset,
    visibility: &Visibility,
    (pairs, kind): (usize, &str),
) {
    let [rows, length] = visibility.document().dims();
    let Preset { heads, head_dim, .. } = *preset;
    let shape = [rows, length, heads, head_dim];
    let [q, k, v, dy] = std::array::from_fn(|_| bench.random(shape));
    let case =
        Case { op: "attention", shape: format!("{rows}x{length} {heads}x{head_dim} {kind}") };
    let flops = 4 * pairs * heads * head_dim;
    bench.passes(
        &case,
        Cost::Flops(flops),
        Cost::Flops(flops / 2 * 5),
        || drop(attention(q.clone(), k.clone(), v.clone(), visibility)),
        || backward(attention(leaf(&q), leaf(&k), leaf(&v), visibility), &dy),
    );
}

fn bench_rms_norm(bench: &Bench, preset: &Preset) {
    let Preset { tokens, hidden, .. } = *preset;
    let [x, residual, dy, dsum] = std::array::from_fn(|_| bench.random([tokens, hidden]));
    let weight = bench.weight([hidden]);
    let bytes = tokens * hidden * bench.activation_bytes();
    let shape = format!("{tokens}x{hidden}");
    bench.passes(
        &Case { op: "rms_norm", shape: shape.clone() },
        Cost::Bytes(2 * bytes),
        Cost::Bytes(3 * bytes),
        || drop(rms_norm(x.clone(), weight.clone(), EPS)),
        || backward(rms_norm(leaf(&x), leaf(&weight), EPS), &dy),
    );
    bench.passes(
        &Case { op: "rms_norm", shape: format!("{shape} residual") },
        Cost::Bytes(4 * bytes),
        Cost::Bytes(4 * bytes),
        || drop(add_rms_norm(x.clone(), residual.clone(), weight.clone(), EPS)),
        || {
            let (sum, y) = add_rms_norm(leaf(&x), leaf(&residual), leaf(&weight), EPS);
            drop(seeded(sum, dsum.clone()).add(seeded(y, dy.clone())).backward());
        },
    );
}

fn bench_rope(bench: &Bench, preset: &Preset) {
    let Preset { tokens, heads, head_dim, .. } = *preset;
    let positions: Vec<i32> = (0..tokens as i32).collect();
    let frequencies: Vec<f32> = (0..head_dim / 2)
        .map(|pair| 10_000f32.powf(-2.0 * pair as f32 / head_dim as f32))
        .collect();
    let table = RotaryTable::new(&positions, 1, &frequencies, &bench.device);
    let [q, k, dq, dk] = std::array::from_fn(|_| bench.random([1, tokens, heads, head_dim]));
    let bytes = 2 * tokens * heads * head_dim * bench.activation_bytes();
    bench.passes(
        &Case { op: "rope", shape: format!("2x{tokens}x{heads}x{head_dim}") },
        Cost::Bytes(2 * bytes),
        Cost::Bytes(2 * bytes),
        || drop(rope(q.clone(), k.clone(), &table)),
        || {
            let (q, k) = rope(leaf(&q), leaf(&k), &table);
            drop(seeded(q, dq.clone()).add(seeded(k, dk.clone())).backward());
        },
    );
}

fn bench_swiglu(bench: &Bench, preset: &Preset) {
    let Preset { tokens, intermediate, .. } = *preset;
    let [gate, up, dy] = std::array::from_fn(|_| bench.random([tokens, intermediate]));
    let bytes = tokens * intermediate * bench.activation_bytes();
    bench.passes(
        &Case { op: "swiglu", shape: format!("{tokens}x{intermediate}") },
        Cost::Bytes(3 * bytes),
        Cost::Bytes(5 * bytes),
        || drop(swiglu(gate.clone(), up.clone())),
        || backward(swiglu(leaf(&gate), leaf(&up)), &dy),
    );
}

fn bench_dropout(bench: &Bench, preset: &Preset) {
    let Preset { tokens, hidden, .. } = *preset;
    let [x, dy] = std::array::from_fn(|_| bench.random([tokens, hidden]));
    let keys = Tensor::<1, Int>::arange(0..tokens as i64, &bench.device);
    let draw = DropoutSite { layer_key: 1, probability: 0.1 };
    let bytes = tokens * hidden * bench.activation_bytes();
    bench.passes(
        &Case { op: "dropout", shape: format!("{tokens}x{hidden}") },
        Cost::Bytes(2 * bytes),
        Cost::Bytes(2 * bytes),
        || drop(dropout(x.clone(), &keys, draw)),
        || backward(dropout(leaf(&x), &keys, draw), &dy),
    );
    // Dropout followed by an adapter's down projection.
    let (rank, weight) = (16, bench.random([16, hidden]));
    let dlow = bench.random([tokens, rank]);
    bench.passes(
        &Case { op: "dropout", shape: format!("{tokens}x{hidden}->{rank}") },
        Cost::Bytes(bytes),
        Cost::Bytes(2 * bytes),
        || drop(dropped_linear(x.clone(), &keys, weight.clone(), draw)),
        || backward(dropped_linear(leaf(&x), &keys, leaf(&weight), draw), &dlow),
    );
}

fn bench_linear(bench: &Bench, preset: &Preset) {
    for [input, output] in preset.products() {
        let tokens = preset.tokens;
        let [x, dy] = [[tokens, input], [tokens, output]].map(|shape| bench.random(shape));
        let weight = bench.weight([output, input]);
        let flops = 2 * tokens * input * output;
        bench.passes(
            &Case { op: "linear", shape: format!("{tokens}x{input}->{output}") },
            Cost::Flops(flops),
            Cost::Flops(2 * flops),
            || drop(linear(x.clone(), weight.clone())),
            || backward(linear(leaf(&x), leaf(&weight)), &dy),
        );
        let one = bench.random([1, input]);
        let stored = if bench.dtype == DType::BF16 { 2 } else { 4 };
        let case = Case { op: "linear", shape: format!("1x{input}->{output}") };
        bench.pass(&case, "forward", Cost::Bytes(input * output * stored), || {
            drop(linear(one.clone(), weight.clone()));
        });
    }
}

/// The products of decoding steps of different sizes, and `linear` beside them. Only the CPU packs.
fn bench_packed_linear(bench: &Bench, preset: &Preset) {
    for [input, output] in preset.products().into_iter().filter(|_| bench.is_cpu()) {
        let weight = bench.weight([output, input]);
        let packed = PackedWeight::new(weight.clone());
        let int8 = QuantizedWeight::new(weight.clone(), QuantFormat::Int8);
        let int8 = PackedWeight::quantized(&int8);
        for tokens in [1, 4, 16, 64, 256] {
            let x = bench.random([tokens, input]);
            let cost = || Cost::Flops(2 * tokens * input * output);
            let case = |op| Case { op, shape: format!("{tokens}x{input}->{output}") };
            bench.pass(&case("packed_linear"), "forward", cost(), || {
                drop(packed_linear(x.clone(), &packed));
            });
            bench.pass(&case("packed_linear int8"), "forward", cost(), || {
                drop(packed_linear(x.clone(), &int8));
            });
            bench.pass(&case("linear"), "forward", cost(), || {
                drop(linear(x.clone(), weight.clone()));
            });
        }
    }
}

/// The logits of 64 queries for 300 tokens each.
fn bench_sparse_linear(bench: &Bench, preset: &Preset) {
    let Preset { hidden, vocab, .. } = *preset;
    let (queries, tokens) = (64, 300);
    let (x, weight) = (bench.random([queries, hidden]), bench.weight([vocab, hidden]));
    let entry = |index: usize| (index / tokens, index * 7919 % vocab);
    let entries: Vec<(usize, usize)> = (0..queries * tokens).map(entry).collect();
    let case = Case { op: "sparse_linear", shape: format!("{queries}x{tokens} of {vocab}") };
    bench.pass(&case, "forward", Cost::Flops(2 * queries * tokens * hidden), || {
        drop(sparse_linear(x.clone(), weight.clone(), entries.clone().into()));
    });
}

/// Adds the product of an adapter of rank 16.
fn bench_add_linear(bench: &Bench, preset: &Preset) {
    let Preset { tokens, hidden, .. } = *preset;
    let rank = 16;
    let [base, dy] = [0; 2].map(|_| bench.random([tokens, hidden]));
    let (x, weight) = (bench.random([tokens, rank]), bench.random([hidden, rank]));
    let bytes = 2 * tokens * hidden * bench.dtype.size();
    bench.passes(
        &Case { op: "add_linear", shape: format!("{tokens}x{rank}->{hidden}") },
        Cost::Bytes(bytes),
        Cost::Bytes(bytes),
        || drop(add_linear(base.clone(), x.clone(), weight.clone())),
        || backward(add_linear(leaf(&base), leaf(&x), leaf(&weight)), &dy),
    );
}

fn bench_linear_sum(bench: &Bench, preset: &Preset) {
    let Preset { tokens, hidden, intermediate, .. } = *preset;
    let [x, dy] = [[tokens, hidden], [tokens, intermediate]].map(|shape| bench.random(shape));
    let weight = bench.random([intermediate, hidden]);
    let sum = Tensor::<2>::zeros([intermediate, hidden], (&bench.device, DType::F32));
    let flops = 2 * tokens * hidden * intermediate;
    bench.passes(
        &Case { op: "linear_sum", shape: format!("{tokens}x{hidden}->{intermediate}") },
        Cost::Flops(flops),
        Cost::Flops(2 * flops),
        || drop(linear_sum(x.clone(), weight.clone(), sum.clone())),
        || backward(linear_sum(leaf(&x), weight.clone().autodiff(), leaf(&sum)), &dy),
    );
}

fn bench_quantized_linear(bench: &Bench, preset: &Preset) {
    for form in [QuantFormat::Int8, QuantFormat::Nf4] {
        let Preset { tokens, hidden, intermediate, .. } = *preset;
        let [x, dy] = [[tokens, hidden], [tokens, intermediate]].map(|shape| bench.random(shape));
        let weight = QuantizedWeight::new(bench.random([intermediate, hidden]), form);
        let flops = 2 * tokens * hidden * intermediate;
        bench.passes(
            &Case {
                op: "quantized_linear",
                shape: format!("{tokens}x{hidden}->{intermediate} {form:?}"),
            },
            Cost::Flops(flops),
            Cost::Flops(flops),
            || drop(quantized_linear(x.clone(), &weight)),
            || backward(quantized_linear(leaf(&x), &weight), &dy),
        );
    }
}

fn bench_linear_cross_entropy(bench: &Bench, preset: &Preset) {
    let Preset { tokens, hidden, vocab, .. } = *preset;
    let (states, weight) = (bench.random([tokens, hidden]), bench.weight([vocab, hidden]));
    let labels: Vec<i32> = (0..tokens).map(|token| (token * 7919 % vocab) as i32).collect();
    let labels = Labels::new(&labels, &bench.device);
    let flops = 2 * tokens * hidden * vocab;
    bench.passes(
        &Case { op: "linear_cross_entropy", shape: format!("{tokens}x{hidden}->{vocab}") },
        Cost::Flops(flops),
        Cost::Flops(2 * flops),
        || drop(token_losses(states.clone(), weight.clone(), &labels)),
        || drop(linear_cross_entropy(leaf(&states), leaf(&weight), &labels).backward()),
    );
}

fn bench_accumulate(bench: &Bench, preset: &Preset) {
    let count = preset.parameter;
    let terms = bench.weight([count]);
    let mut sum = Some(Tensor::<1>::zeros([count], (&bench.device, DType::F32)));
    let stored = if bench.dtype == DType::BF16 { 2 } else { 4 };
    let case = Case { op: "accumulate", shape: count.to_string() };
    bench.pass(&case, "forward", Cost::Bytes((8 + stored) * count), || {
        sum = sum.take().map(|sum| accumulate(sum, terms.clone()));
    });
}

fn bench_add_rows(bench: &Bench, preset: &Preset) {
    let Preset { tokens, hidden, vocab, .. } = *preset;
    let rows = bench.random([tokens, hidden]);
    let mut sum = Some(Tensor::<2>::zeros([vocab, hidden], (&bench.device, DType::F32)));
    // Ids like those of a text: some are many times as frequent as others.
    let ids: Vec<i32> =
        (0..tokens).map(|token| (token * 7919 % vocab % (1 + token % vocab)) as i32).collect();
    let distinct = ids.iter().collect::<std::collections::BTreeSet<_>>().len();
    let bytes = (tokens * bench.activation_bytes() + 8 * distinct) * hidden;
    let case = Case { op: "add_rows", shape: format!("{tokens}x{hidden}->{vocab}") };
    bench.pass(&case, "forward", Cost::Bytes(bytes), || {
        sum = sum.take().map(|sum| add_rows(sum, &ids, rows.clone()));
    });
}

/// Computes the norms of several tensors at once, as a training step does.
fn bench_squared_norm(bench: &Bench, preset: &Preset) {
    let gradients = vec![bench.weight([preset.parameter]); NORMS];
    let stored = if bench.dtype == DType::BF16 { 2 } else { 4 };
    let case = Case { op: "squared_norm", shape: format!("{NORMS} x {}", preset.parameter) };
    bench.pass(&case, "forward", Cost::Bytes(stored * NORMS * preset.parameter), || {
        drop(squared_norms(gradients.clone()));
    });
}

fn bench_adamw(bench: &Bench, preset: &Preset) {
    let count = preset.parameter;
    let zeros = || Tensor::<1>::zeros([count], &bench.device);
    let float = || Moments::Float { exp_avg: zeros(), exp_avg_sq: zeros() };
    let short = || Moments::EightBit {
        words: Tensor::zeros([code::num_words(count)], (&bench.device, DType::I32)),
    };
    // f32 reads and writes parameter and moments, and reads the gradient. bf16 does the same with
    // 2 bytes of gradient and with the value split into parameter and rest, or without the rest.
    let is_short = bench.dtype != DType::F32;
    let grad = if is_short { 2 } else { 4 };
    adamw_case(bench, "update", (24 + grad) * count, (count, is_short, float()));
    adamw_case(bench, "update, 8-bit moments", (12 + grad) * count, (count, is_short, short()));
    if is_short {
        adamw_case(bench, "update, no master", 22 * count, (count, false, float()));
        adamw_case(bench, "update, no master, 8-bit moments", 10 * count, (count, false, short()));
    }
}

fn adamw_case(
    bench: &Bench,
    pass: &'static str,
    bytes: usize,
    (count, has_rest, moments): (usize, bool, Moments),
) {
    let (param, grad) = (bench.weight([count]), bench.weight([count]));
    let (param, rest) = if has_rest {
        let (param, rest) = parted(param, bench.dtype);
        (param, Some(rest))
    } else {
        (param, None)
    };
    let mut state = Some((param, AdamWState { rest, moments }));
    let step = AdamWStep {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 10,
        grad_scale: 1.0,
        key: 0,
        first: 0,
    };
    let case = Case { op: "adamw", shape: count.to_string() };
    bench.pass(&case, pass, Cost::Bytes(bytes), || {
        let (param, before) = state.take().expect("put back below");
        state = Some(adamw(param, grad.clone(), before, &step));
    });
}

/// Parses the arguments. Returns a message if they are wrong.
fn measured() -> Result<(Bench, Preset), String> {
    let named = |name, default: &str| argument(name).unwrap_or_else(|| default.to_owned());
    let device_name: DeviceName =
        named("--device", "flex").parse().map_err(|error| format!("--device: {error}"))?;
    let device = device_name.open().map_err(|error| error.to_string())?;
    let dtype = match named("--dtype", "f32").as_str() {
        "f32" => DType::F32,
        "bf16" => DType::BF16,
        other => return Err(format!("--dtype: `{other}` must be f32 or bf16")),
    };
    if device_name != DeviceName::Flex && !device.supports_dtype(dtype) {
        return Err(format!("--dtype: `{device_name}` does not compute in {dtype:?}"));
    }
    let preset_name = named("--preset", "cpu");
    let shapes = preset(&preset_name)
        .ok_or_else(|| format!("--preset: `{preset_name}` must be cpu, 7b, tiny or odd"))?;
    let seconds = named("--seconds", "1").parse().map_err(|error| format!("--seconds: {error}"))?;
    let once = std::env::args().any(|argument| argument == "--once");
    Ok((Bench { device, device_name, preset: preset_name, dtype, seconds, once }, shapes))
}

fn run() -> Result<(), String> {
    let (bench, shapes) = measured()?;
    let chosen = argument("--op");
    if let Some(chosen) =
        chosen.as_ref().filter(|chosen| OPS.iter().all(|(name, ..)| name != chosen))
    {
        return Err(format!("--op: `{chosen}` is not an op"));
    }
    for (name, has_weight, measure) in OPS {
        let serves = bench.dtype == DType::F32 || !bench.is_cpu() || has_weight;
        if serves && chosen.as_ref().is_none_or(|chosen| chosen == name) {
            measure(&bench, &shapes);
        }
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "errors of the arguments or the machine")]
fn main() -> ExitCode {
    uner_cli::allocator::keep_freed_memory();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
