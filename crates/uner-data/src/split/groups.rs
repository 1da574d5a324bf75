//! The examples that stay together.

use std::collections::HashMap;

use super::GroupBy;
use crate::Example;

pub(super) struct Groups {
    /// The indices of each group's examples, in order of first occurrence.
    pub(super) members: Vec<Vec<usize>>,
    pub(super) num_repeated_texts: usize,
}

/// Groups examples by a rule and by equal texts. A text that occurs in two documents joins them.
pub(super) fn of(examples: &[Example], group_by: &GroupBy) -> Groups {
    let mut forest = Forest { parents: (0..examples.len()).collect() };
    let mut texts: HashMap<&str, usize> = HashMap::new();
    let mut documents: HashMap<&str, usize> = HashMap::new();
    let mut num_repeated_texts = 0;
    for (index, example) in examples.iter().enumerate() {
        let first = *texts.entry(&example.text).or_insert(index);
        num_repeated_texts += usize::from(first != index);
        forest.join(first, index);
        if let Some(document) = document(&example.id, group_by) {
            let first = *documents.entry(document).or_insert(index);
            forest.join(first, index);
        }
    }
    let mut places: Vec<Option<usize>> = vec![None; examples.len()];
    let mut members: Vec<Vec<usize>> = Vec::new();
    for index in 0..examples.len() {
        let root = forest.root(index);
        let place = *places[root].get_or_insert_with(|| {
            members.push(Vec::new());
            members.len() - 1
        });
        members[place].push(index);
    }
    Groups { members, num_repeated_texts }
}

fn document<'a>(id: &'a str, group_by: &GroupBy) -> Option<&'a str> {
    match group_by {
        GroupBy::Text => None,
        GroupBy::Id => Some(id),
        GroupBy::IdPrefix(separator) => {
            Some(id.rsplit_once(separator.as_str()).map_or(id, |(document, _)| document))
        }
    }
}

/// Disjoint sets of examples (union-find).
struct Forest {
    parents: Vec<usize>,
}

impl Forest {
    fn root(&mut self, index: usize) -> usize {
        let mut root = index;
        while self.parents[root] != root {
            self.parents[root] = self.parents[self.parents[root]];
            root = self.parents[root];
        }
        root
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }
}
