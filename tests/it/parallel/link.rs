//! Ranks whose devices are connected by collectives: emulated on the CPU, and NCCL on one device.

use std::collections::VecDeque;

use burn::tensor::{DType, Device, Tensor, TensorData};
use uner_kernels::device::{DeviceName, have_nccl};
use uner_trainer::Group;
use uner_trainer::distributed::{Cut, GRANULE, Pending, Processes, Shard, nccl};
use uner_trainer::step::precision;

use super::emulated::Emulated;
use super::{Blocks, Outcome, Sharded, Whole, run, run_all};
use crate::devices::{Setup, devices};

/// Zero, one, part of a granule, one granule, more, and counts that up to four ranks split evenly.
const COUNTS: [usize; 9] =
    [0, 1, 255, GRANULE, GRANULE + 1, 5 * GRANULE, 12 * GRANULE, 9 * GRANULE + 17, 1200 * GRANULE];

fn linked(folder: &std::path::Path, ranks: usize, blocks: Blocks) -> Vec<Outcome> {
    let groups = Group::with_collective(ranks, Some(Box::new(Emulated::new(ranks))), None);
    run_all(folder, groups, &Device::flex(), 10, blocks)
}

fn assert_same_bits(what: &str, got: &Outcome, expected: &Outcome) {
    let told = |outcome: &Outcome| -> Vec<_> {
        outcome.steps.iter().map(|step| (step.loss.to_bits(), step.grad_norm.to_bits())).collect()
    };
    assert_eq!(told(got), told(expected), "{what}: losses and norms");
    assert_eq!(got.weights, expected.weights, "{what}: weights");
    assert_eq!(got.state, expected.state, "{what}: moments");
}

/// A step has 7 conversations, each in its own row. With 2 or 3 ranks some have more micro-batches
/// than others; with 9 some have none.
#[test]
fn ranks_whose_devices_are_linked_train_the_same_bits() {
    for (ranks, blocks) in
        [2, 3, 9].into_iter().flat_map(|ranks| [(ranks, Whole), (ranks, Sharded)])
    {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let expected = run(folders[0].path(), ranks, 10, blocks);
        let outcomes = linked(folders[1].path(), ranks, blocks);
        for (number, (got, expected)) in outcomes.iter().zip(&expected).enumerate() {
            assert_same_bits(
                &format!("rank {number} of {ranks}, blocks {blocks:?}"),
                got,
                expected,
            );
        }
    }
}

/// A single linked rank uses the code path of several ranks.
#[test]
fn a_rank_linked_to_itself_trains_the_same_bits() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let expected = run(folders[0].path(), 1, 10, Whole);
    let got = linked(folders[1].path(), 1, Whole);
    assert_same_bits("linked to itself", &got[0], &expected[0]);
}

/// A rank's input: integers, whose sums are exact in f32.
fn vector(count: usize, rank: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * (rank + 3)) % 251) as f32).collect()
}

fn tensor(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn read(values: Tensor<1>) -> Vec<f32> {
    values.try_into_vec_as().unwrap()
}

/// Reduce-scatters and all-gathers vectors of all lengths; results must be exact for any kind of
/// group. Several collectives run at a time, and some are waited for late. Freed memory is
/// overwritten at once.
fn exchange(group: &Group, device: &Device, round: usize) {
    let ranks = group.world_size();
    let whole = |count| -> Vec<f32> {
        let parts: Vec<_> = (0..ranks).map(|rank| vector(count, rank + round)).collect();
        (0..count).map(|index| parts.iter().map(|part| part[index]).sum()).collect()
    };
    let write_over = |count| (0..4).for_each(|_| drop(tensor(&vec![-1.0; count], device)));
    let (mut sums, mut wholes) = (VecDeque::new(), VecDeque::new());
    for (number, count) in COUNTS.into_iter().enumerate() {
        let gradient = || tensor(&vector(count, group.rank() + round), device);
        sums.push_back((count, group.start_reduce_scatter(vec![gradient(), gradient()]).unwrap()));
        write_over(count);
        if sums.len() > 2 {
            let next =
                if (number + round).is_multiple_of(2) { sums.pop_front() } else { sums.pop_back() };
            let (count, pending): (usize, Pending) = next.unwrap();
            let shares = pending.wait().into_iter().map(|share| (share, count)).collect();
            wholes.push_back((count, group.start_all_gather(shares).unwrap()));
            write_over(count);
        }
    }
    for (count, pending) in sums {
        for share in pending.wait() {
            assert_eq!(
                read(share),
                whole(count)[group.shard(count).range()],
                "{:?}",
                group.shard(count)
            );
        }
    }
    for (count, pending) in wholes {
        for got in pending.wait() {
            assert_eq!(read(got), whole(count), "{:?}", group.shard(count));
        }
    }
}

fn exchange_all(groups: Vec<Group>, devices: &[Device]) {
    std::thread::scope(|scope| {
        for (group, device) in groups.into_iter().zip(devices) {
            scope.spawn(move || (0..20).for_each(|round| exchange(&group, device, round)));
        }
    });
}

#[test]
fn each_rank_gets_its_shares_whenever_it_waits() {
    for ranks in [1, 2, 3, 7] {
        let groups = Group::with_collective(ranks, Some(Box::new(Emulated::new(ranks))), None);
        exchange_all(groups, &vec![Device::flex(); ranks]);
        exchange_all(Group::of_process(ranks, None), &vec![Device::flex(); ranks]);
    }
}

/// All listed CUDA devices take part. A single device gets its input back.
#[test]
fn cuda_devices_get_their_shares_by_nccl() {
    let cuda = devices().into_iter().filter(|setup| matches!(setup.name, DeviceName::Cuda(_)));
    let (names, cuda): (Vec<DeviceName>, Vec<Device>) =
        cuda.map(|setup| (setup.name, setup.device)).unzip();
    if cuda.is_empty() || !have_nccl(&names) {
        eprintln!("SKIPPED: there is no CUDA device with NCCL");
        return;
    }
    exchange_all(Group::with_collective(cuda.len(), Some(nccl(&names).unwrap()), None), &cuda);
}

/// Emulates a second process with the same inputs.
#[derive(Debug)]
struct Twin;

impl Processes for Twin {
    fn rank(&self) -> usize {
        0
    }
    fn count(&self) -> usize {
        2
    }
    fn on_this_machine(&self) -> (usize, usize) {
        (0, 1)
    }
    fn all_reduce(&self, values: Vec<f32>) -> Vec<f32> {
        values.into_iter().map(|value| 2.0 * value).collect()
    }
    fn all_reduce_scalars(&self, values: Vec<f64>) -> Vec<f64> {
        values.into_iter().map(|value| 2.0 * value).collect()
    }
    fn all_gather(&self, part: Vec<f32>) -> Vec<f32> {
        [part.clone(), part].concat()
    }
    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

#[test]
fn linked_ranks_of_several_processes_add_up_over_all() {
    let device = &Device::flex();
    std::thread::scope(|scope| {
        for group in
            Group::with_collective(3, Some(Box::new(Emulated::new(3))), Some(Box::new(Twin)))
        {
            scope.spawn(move || {
                for count in COUNTS {
                    let sum =
                        group.reduce_scatter(tensor(&vector(count, group.rank()), device)).unwrap();
                    let parts: Vec<_> = (0..3).map(|rank| vector(count, rank)).collect();
                    let share = Shard::new(count, group.rank(), 6);
                    let of_all = |index| 2.0 * parts.iter().map(|part| part[index]).sum::<f32>();
                    assert_eq!(read(sum), share.range().map(of_all).collect::<Vec<_>>());
                }
            });
        }
    });
}

/// Rank 1 fails before it starts the collective that rank 0 waits for.
#[test]
fn a_rank_that_fails_ends_what_the_others_wait_for() {
    let link = Emulated::failing(2, Some((1, 3)));
    let problems: Vec<_> = std::thread::scope(|scope| {
        let rank = |group: Group| {
            let work = || {
                loop {
                    let gradient = tensor(&vector(2 * GRANULE, group.rank()), &Device::flex());
                    group.reduce_scatter(gradient)?;
                }
            };
            group.guarded::<(), uner_trainer::TrainError>(work).unwrap_err().to_string()
        };
        let groups = Group::with_collective(2, Some(Box::new(link.clone())), None).into_iter();
        let handles: Vec<_> = groups.map(|group| scope.spawn(move || rank(group))).collect();
        handles.into_iter().map(|handle| handle.join().ok()).collect()
    });
    assert_eq!(problems, [Some("rank 1 stopped: it panicked".to_owned()), None]);
    assert_eq!((link.made(0), link.made(1)), (4, 3));
}

/// Calls `what` with each CUDA device that NCCL supports, or prints that there is none.
fn with_nccl(what: impl Fn(Setup)) {
    let mut found = devices().into_iter().filter(|setup| have_nccl(&[setup.name])).peekable();
    if found.peek().is_none() {
        eprintln!("SKIPPED: there is no CUDA device with NCCL");
    }
    found.for_each(what);
}

/// Returns a vector that depends on a long computation.
fn late(count: usize, round: usize, dtype: DType, device: &Device) -> Tensor<1> {
    let mut square = Tensor::<2>::zeros([2048, 2048], (device, DType::F32));
    for _ in 0..4 {
        square = square.clone().matmul(square);
    }
    let zero = square.slice([0..1, 0..1]).reshape([1]).cast(dtype);
    tensor(&vector(count, round), device).cast(dtype) + zero
}

/// A single device gets its input back, so only the order can be wrong. Collectives start after a
/// long computation, their inputs are freed at once, kernels overwrite free memory, and some
/// results are never waited for.
#[test]
fn nccl_and_kernels_do_not_overtake_each_other() {
    with_nccl(|setup| {
        let (link, device) = (nccl(&[setup.name]).unwrap(), &setup.device);
        let mut results = Vec::new();
        for round in 0..24 {
            let mut under_way = VecDeque::new();
            for (number, count) in
                [1, GRANULE + 1, 70_001, 1 << 20, 9 << 20].into_iter().enumerate()
            {
                let dtype = [DType::F32, DType::BF16][number % 2];
                let cut = || {
                    vec![Cut { values: late(count, round, dtype, device), edges: vec![0, count] }]
                };
                let sums = link.reduce_scatter(0, cut());
                drop(link.all_gather(0, cut()));
                under_way.extend([(count, sums), (count, link.all_gather(0, cut()))]);
                let junk: Vec<_> =
                    (0..6).map(|_| Tensor::<1>::full([count], -1.0, (device, dtype))).collect();
                drop(junk);
                while under_way.len() > 2 {
                    let (count, pending): (usize, Pending) = under_way.pop_front().unwrap();
                    // The product copies the result with a kernel on the waiting stream.
                    results.extend(pending.wait().into_iter().map(|got| (count, round, got * 1.0)));
                }
            }
            for (count, round, got) in results.drain(..) {
                assert!(
                    read(got) == vector(count, round),
                    "{setup:?}: {count} elements in round {round}"
                );
            }
        }
    });
}

/// A single device with the code path of several ranks. Results are not bitwise equal: on CUDA the
/// algorithm of a product may depend on the addresses of its operands.
#[test]
fn a_device_linked_to_itself_trains_the_same_model() {
    with_nccl(|setup| {
        let emulated = || Group::with_collective(1, Some(Box::new(Emulated::new(1))), None);
        for (blocks, others) in
            [(Whole, Group::of_process(1, None)), (Whole, emulated()), (Sharded, emulated())]
        {
            let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let expected = run_all(folders[0].path(), others, &setup.device, 6, blocks);
            let groups = Group::with_collective(1, Some(nccl(&[setup.name]).unwrap()), None);
            let got = run_all(folders[1].path(), groups, &setup.device, 6, blocks);
            let is_f32 = precision::parameters(&setup.device) == DType::F32;
            let tolerance = if is_f32 { setup.tolerance.loss } else { 2e-2 };
            for (got, expected) in got[0].steps.iter().zip(&expected[0].steps) {
                let off = (got.loss / expected.loss - 1.0).abs();
                let what = format!("{setup:?}, blocks {blocks:?}, step {}", got.step);
                assert!(off < tolerance, "{what}: {} is not {}", got.loss, expected.loss);
            }
        }
    });
}

/// After an abort no rank waits for ever on a collective or uses its result.
#[test]
fn nccl_that_was_told_to_stop_gives_an_error() {
    with_nccl(|setup| {
        let link = nccl(&[setup.name]).unwrap();
        link.abort();
        let values = tensor(&vector(GRANULE, 0), &setup.device);
        let got =
            link.reduce_scatter(0, vec![Cut { values, edges: vec![0, GRANULE] }]).wait().remove(0);
        let read = || got.try_into_vec_as::<f32>();
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        assert!(!matches!(read, Ok(Ok(_))), "{setup:?}");
    });
}
