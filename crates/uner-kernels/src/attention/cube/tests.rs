//! Counts on the host the tiles that the kernels visit, with their own functions and plan: they
//! cover every visible pair, and no tile is without one.

use burn::backend::Cube;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::backward::readers;
use super::forward::reach;
use super::plan::{EVERYTHING, NOTHING, Plan, plan};
use super::tile::Tiles;
use crate::attention::PADDING;
use crate::device::DeviceName;

/// The software adapter, which computes the plans. If it is missing, the test prints that and is
/// skipped, unless `UNER_REQUIRE_WEBGPU` is 1.
#[expect(clippy::print_stderr, reason = "a skipped test prints why")]
fn device() -> Option<Device> {
    let name: DeviceName = "webgpu:cpu".parse().expect("the name of a device");
    match name.open() {
        Ok(device) => Some(device),
        Err(error) if std::env::var("UNER_REQUIRE_WEBGPU").is_ok_and(|value| value == "1") => {
            panic!("{error}")
        }
        Err(error) => {
            eprintln!("SKIPPED on `{name}`: {error}");
            None
        }
    }
}

/// One row of tokens, its plan from the device, and the tiles of a call.
struct Row {
    document: Vec<i32>,
    branch: Vec<i32>,
    plan: Vec<i32>,
    queries: usize,
    tiles: Tiles,
}

impl Row {
    fn new(
        device: &Device,
        document: Vec<i32>,
        branch: Vec<i32>,
        queries: usize,
        group: usize,
    ) -> Self {
        let put = |values: &[i32]| {
            let data = TensorData::new(values.to_vec(), [1, values.len()]);
            let tensor = Tensor::<2, Int>::from_data(data, device);
            tensor.try_into_primitive::<Cube>().expect("the device is one of CubeCL's")
        };
        let plan = Tensor::<2, Int>::from_primitive::<Cube>(plan(put(&document), put(&branch)));
        let plan = plan.into_data().try_into_vec::<i32>().expect("a plan is i32");
        let tiles = Tiles { rows: 64, keys: 64, group, width: 4, chunk: 4 };
        Self { document, branch, plan, queries, tiles }
    }

    /// Documents of the given lengths, then padding.
    fn packed(
        device: &Device,
        lengths: &[usize],
        keys: usize,
        queries: usize,
        group: usize,
    ) -> Self {
        let of = |(&length, id): (&usize, i32)| std::iter::repeat_n(id, length);
        let mut document: Vec<i32> = lengths.iter().zip(5..).flat_map(of).collect();
        document.resize(keys, PADDING);
        Self::new(device, document, vec![0; keys], queries, group)
    }

    fn keys(&self) -> usize {
        self.document.len()
    }

    /// Queries times heads of a group.
    fn rows(&self) -> usize {
        self.queries * self.tiles.group
    }

    fn visible(&self, row: usize, key: usize) -> bool {
        let query = self.keys() - self.queries + row / self.tiles.group;
        let same = self.document[key] == self.document[query] && self.document[key] != PADDING;
        key <= query && same && (self.branch[key] == 0 || self.branch[key] == self.branch[query])
    }

    /// The tiles of scores that a walk along the keys computes, each by its first row and first
    /// key.
    fn along_keys(&self) -> Vec<(usize, usize)> {
        let seen = Plan::of_row(0, self.keys());
        let mut walked = Vec::new();
        for row in (0..self.rows()).step_by(self.tiles.rows) {
            let offset = self.keys() - self.queries;
            let (first, last, from, to) =
                reach((&self.plan[..], seen), row, self.rows(), offset, self.tiles);
            for key in (from..to).step_by(self.tiles.keys) {
                let visible = seen.visible(&self.plan, key, self.tiles.keys, first, last);
                self.check(row, key, visible);
                if visible != NOTHING {
                    walked.push((row, key));
                }
            }
        }
        walked
    }

    /// The same for a walk along the queries.
    fn along_queries(&self) -> Vec<(usize, usize)> {
        let seen = Plan::of_row(0, self.keys());
        let mut walked = Vec::new();
        for key in (0..self.keys()).step_by(self.tiles.keys) {
            let offset = self.keys() - self.queries;
            let (from, to) = readers((&self.plan[..], seen), key, self.keys(), offset, self.tiles);
            for row in (from..to).step_by(self.tiles.rows) {
                let first = offset + row / self.tiles.group;
                let last =
                    offset + ((row + self.tiles.rows).min(self.rows()) - 1) / self.tiles.group;
                let visible = seen.visible(&self.plan, key, self.tiles.keys, first, last);
                self.check(row, key, visible);
                if visible != NOTHING {
                    walked.push((row, key));
                }
            }
        }
        walked
    }

    /// The visible pairs of a tile.
    fn pairs(&self, row: usize, key: usize) -> impl Iterator<Item = (usize, usize)> {
        let rows = row..(row + self.tiles.rows).min(self.rows());
        let keys = key..(key + self.tiles.keys).min(self.keys());
        rows.flat_map(move |row| keys.clone().map(move |key| (row, key)))
            .filter(|&(row, key)| self.visible(row, key))
    }

    fn check(&self, row: usize, key: usize, visible: u32) {
        let pairs = self.pairs(row, key).count();
        assert!(
            visible != NOTHING || pairs == 0,
            "{pairs} visible pairs at {row} {key} are left out"
        );
        let all = (self.rows() - row).min(self.tiles.rows) * self.tiles.keys;
        assert!(
            visible != EVERYTHING || pairs == all,
            "only {pairs} of {all} pairs at {row} {key} are visible"
        );
    }

    /// Number of tiles that each walk computes. Checks that it covers every visible pair and
    /// computes no dead tile.
    fn walks(&self) -> [usize; 2] {
        let every = (0..self.rows()).flat_map(|row| (0..self.keys()).map(move |key| (row, key)));
        let expected: Vec<_> = every.filter(|&(row, key)| self.visible(row, key)).collect();
        [self.along_keys(), self.along_queries()].map(|walked| {
            let mut covered = Vec::new();
            for &(row, key) in &walked {
                assert!(self.pairs(row, key).next().is_some(), "the tile at {row} {key} is dead");
                covered.extend(self.pairs(row, key));
            }
            covered.sort_unstable();
            covered.dedup();
            assert!(
                covered == expected,
                "{} of {} pairs are visited",
                covered.len(),
                expected.len()
            );
            walked.len()
        })
    }
}

#[test]
fn a_causal_row_costs_half_its_square() {
    let Some(device) = device() else { return };
    assert_eq!(Row::packed(&device, &[1024], 1024, 1024, 1).walks(), [16 * 17 / 2; 2]);
    // The last 64 queries see 16 tiles of keys.
    assert_eq!(Row::packed(&device, &[1024], 1024, 64, 1).walks(), [16; 2]);
    // Four heads per tile: 16 queries each.
    assert_eq!(Row::packed(&device, &[256], 256, 256, 4).walks()[0], 4 + 8 + 12 + 16);
}

#[test]
fn a_packed_row_costs_its_documents() {
    let Some(device) = device() else { return };
    // 500 documents of 1 to 16 tokens.
    let lengths: Vec<usize> = (0..500).map(|index| 1 + index * 7 % 16).collect();
    let keys = lengths.iter().sum::<usize>() + 77;
    let row = Row::packed(&device, &lengths, keys, keys, 1);
    let tiles = keys.div_ceil(64);
    let [along_keys, along_queries] = row.walks();
    // A tile reaches into at most one more, where a document continues; padding costs nothing.
    assert!(
        along_keys <= 2 * tiles && along_queries <= 2 * tiles,
        "{along_keys} {along_queries} {tiles}"
    );
    for row in
        [Row::packed(&device, &[1; 500], 515, 515, 1), Row::packed(&device, &[1; 500], 515, 515, 4)]
    {
        let tiles = (500 * row.tiles.group).div_ceil(64);
        assert_eq!(row.walks()[0], tiles);
    }
    assert_eq!(Row::packed(&device, &[], 300, 300, 1).walks(), [0, 0]);
}

#[test]
fn branches_that_are_not_seen_are_left_out() {
    let Some(device) = device() else { return };
    let branch: Vec<i32> = (0..9).flat_map(|branch| std::iter::repeat_n(branch, 128)).collect();
    let row = Row::new(&device, vec![0; branch.len()], branch, 9 * 128, 1);
    // Each branch has two tiles, which see two of the trunk and one or two of their own.
    assert_eq!(row.walks(), [3 + 8 * (3 + 4); 2]);
}
