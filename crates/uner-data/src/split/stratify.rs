//! Iterative stratification of groups (Sechidis et al. 2011): the type with the fewest mentions
//! left is divided first, as frequent types can even out later. A group goes to the split that
//! lacks most mentions of that type.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use rand::{RngExt, seq::SliceRandom};

use super::SplitConfig;
use crate::{Example, inventory::fold, stream::stream};

/// A group's number of examples, and of mentions by type.
struct Group {
    num_examples: f64,
    mentions: IndexMap<usize, f64>,
}

/// The split of each group.
pub(super) fn assign(
    examples: &[Example],
    members: &[Vec<usize>],
    config: &SplitConfig,
) -> Vec<usize> {
    let mut types: IndexMap<String, f64> = IndexMap::new();
    let groups: Vec<Group> =
        members.iter().map(|members| group(examples, members, &mut types)).collect();
    let mut division = Division::new(groups, &types.into_values().collect::<Vec<f64>>(), config);
    division.divide_types();
    division.divide_rest();
    division.fill_empty();
    division.chosen.into_iter().map(|split| split.expect("every group is assigned")).collect()
}

fn group(examples: &[Example], members: &[usize], types: &mut IndexMap<String, f64>) -> Group {
    let mut mentions: IndexMap<usize, f64> = IndexMap::new();
    for entity in members.iter().flat_map(|&member| &examples[member].entities) {
        let entry = types.entry(fold(&entity.entity_type));
        let index = entry.index();
        *entry.or_default() += 1.0;
        *mentions.entry(index).or_default() += 1.0;
    }
    Group { num_examples: members.len() as f64, mentions }
}

struct Division {
    groups: Vec<Group>,
    shares: [f64; 3],
    /// Groups of each type that are not assigned, in the order in which they will be.
    waiting: Vec<Vec<usize>>,
    num_waiting: Vec<usize>,
    /// Examples that each split lacks.
    lacks: [f64; 3],
    /// Mentions of each type that each split lacks.
    lacks_of: Vec<[f64; 3]>,
    /// Whether a split has a type.
    has: Vec<[bool; 3]>,
    chosen: Vec<Option<usize>>,
    rng: rand_chacha::ChaCha8Rng,
}

impl Division {
    fn new(groups: Vec<Group>, totals: &[f64], config: &SplitConfig) -> Self {
        let mut rng = stream(*b"splits  ", config.seed, 0, 0);
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.shuffle(&mut rng);
        let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); totals.len()];
        for &index in &order {
            groups[index].mentions.keys().for_each(|&of_type| waiting[of_type].push(index));
        }
        // Large groups first: small ones can even out what they leave.
        for (of_type, indices) in waiting.iter_mut().enumerate() {
            indices.sort_by(|a, b| {
                groups[*b].mentions[&of_type].total_cmp(&groups[*a].mentions[&of_type])
            });
        }
        let all: f64 = groups.iter().map(|group| group.num_examples).sum();
        Self {
            num_waiting: waiting.iter().map(Vec::len).collect(),
            waiting,
            lacks: config.shares.map(|share| share * all),
            lacks_of: totals.iter().map(|total| config.shares.map(|share| share * total)).collect(),
            has: vec![[false; 3]; totals.len()],
            chosen: vec![None; groups.len()],
            shares: config.shares,
            groups,
            rng,
        }
    }

    /// Divides the groups with entities, by the rarest type.
    fn divide_types(&mut self) {
        let mut queue: BTreeSet<(usize, usize)> =
            self.num_waiting.iter().enumerate().map(|(of_type, &count)| (count, of_type)).collect();
        while let Some((_, of_type)) = queue.pop_first() {
            for group in std::mem::take(&mut self.waiting[of_type]) {
                if self.chosen[group].is_some() {
                    continue;
                }
                let split = self.split_for(of_type);
                let others: Vec<usize> = self.groups[group].mentions.keys().copied().collect();
                for other in others {
                    let count = self.num_waiting[other];
                    self.num_waiting[other] -= 1;
                    if queue.remove(&(count, other)) {
                        queue.insert((count - 1, other));
                    }
                }
                self.put(group, split);
            }
        }
    }

    /// The split for a group with a type. While there are just enough groups for the splits that
    /// have none of the type, one of these gets the group.
    fn split_for(&mut self, of_type: usize) -> usize {
        let wanted: Vec<usize> = (0..3).filter(|&split| self.shares[split] > 0.0).collect();
        let without: Vec<usize> =
            wanted.iter().copied().filter(|&split| !self.has[of_type][split]).collect();
        let scarce = !without.is_empty() && self.num_waiting[of_type] <= without.len();
        let splits = if scarce { without } else { wanted };
        self.most(&splits, |division, split| {
            (division.lacks_of[of_type][split], division.lacks[split])
        })
    }

    /// The split with the largest key; equal ones are drawn.
    fn most(&mut self, splits: &[usize], key: impl Fn(&Self, usize) -> (f64, f64)) -> usize {
        let compare = |a: (f64, f64), b: (f64, f64)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1));
        let mut best: Vec<usize> = Vec::new();
        for &split in splits {
            match best.first().map(|&first| compare(key(self, split), key(self, first))) {
                Some(std::cmp::Ordering::Less) => {}
                Some(std::cmp::Ordering::Equal) => best.push(split),
                _ => best = vec![split],
            }
        }
        best[self.rng.random_range(0..best.len())]
    }

    fn put(&mut self, group: usize, split: usize) {
        self.chosen[group] = Some(split);
        self.lacks[split] -= self.groups[group].num_examples;
        for (&of_type, count) in &self.groups[group].mentions {
            self.lacks_of[of_type][split] -= count;
            self.has[of_type][split] = true;
        }
    }

    /// Divides the groups without entities by the number of examples alone.
    fn divide_rest(&mut self) {
        let mut rest: Vec<usize> =
            (0..self.groups.len()).filter(|&group| self.chosen[group].is_none()).collect();
        rest.shuffle(&mut self.rng);
        rest.sort_by(|a, b| self.groups[*b].num_examples.total_cmp(&self.groups[*a].num_examples));
        for group in rest {
            let wanted: Vec<usize> = (0..3).filter(|&split| self.shares[split] > 0.0).collect();
            let split = self.most(&wanted, |division, split| (division.lacks[split], 0.0));
            self.put(group, split);
        }
    }

    /// Gives a split without groups the smallest group of the split with most of them: few groups
    /// may all go to one split.
    fn fill_empty(&mut self) {
        for split in (0..3).filter(|&split| self.shares[split] > 0.0) {
            if self.chosen.contains(&Some(split)) {
                continue;
            }
            let num_groups =
                |split| self.chosen.iter().filter(|other| **other == Some(split)).count();
            let fullest = (0..3).max_by_key(|&other| num_groups(other)).unwrap_or(0);
            let smallest =
                (0..self.groups.len()).filter(|&group| self.chosen[group] == Some(fullest)).min_by(
                    |&a, &b| self.groups[a].num_examples.total_cmp(&self.groups[b].num_examples),
                );
            if let Some(group) = smallest {
                self.chosen[group] = Some(split);
            }
        }
    }
}
