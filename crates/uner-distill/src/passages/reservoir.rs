//! Draws the passages with the lowest priorities, as they come.

use std::collections::BinaryHeap;

use crate::Passage;

/// The passages with the lowest priorities of those that were offered. As priorities are hashes,
/// every set of passages is equally likely (bottom-k sampling: Cohen and Kaplan 2007), and neither
/// the order nor the number of the others matters.
pub(super) struct Reservoir {
    capacity: usize,
    drawn: BinaryHeap<Drawn>,
}

struct Drawn {
    priority: u64,
    passage: Passage,
}

impl Drawn {
    fn key(&self) -> (u64, &str) {
        (self.priority, &self.passage.id)
    }
}

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Drawn {}

impl PartialOrd for Drawn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Drawn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Reservoir {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, drawn: BinaryHeap::new() }
    }

    /// Takes the passage with this id if its priority is among the lowest.
    pub(super) fn offer(
        &mut self,
        priority: u64,
        id: String,
        passage: impl FnOnce(String) -> Passage,
    ) {
        let is_full = self.drawn.len() == self.capacity;
        if is_full && self.drawn.peek().is_none_or(|last| last.key() <= (priority, id.as_str())) {
            return;
        }
        if is_full {
            self.drawn.pop();
        }
        self.drawn.push(Drawn { priority, passage: passage(id) });
    }

    /// The passages with the lowest priorities, at most `count`, in the order of priorities.
    pub(super) fn lowest(self, count: usize) -> Vec<(u64, Passage)> {
        let drawn = self.drawn.into_sorted_vec().into_iter().take(count);
        drawn.map(|drawn| (drawn.priority, drawn.passage)).collect()
    }
}

#[cfg(test)]
mod tests {
    use uner_data::Span;

    use super::*;

    fn passage(id: String) -> Passage {
        let [text, subset, document] = ["text", "subset", "document"].map(str::to_owned);
        Passage { id, text, subset, document, span: Span { start: 0, end: 4 } }
    }

    fn drawn(capacity: usize, count: usize, offers: &[(u64, &str)]) -> Vec<String> {
        let mut reservoir = Reservoir::new(capacity);
        for (priority, id) in offers {
            reservoir.offer(*priority, (*id).to_owned(), passage);
        }
        reservoir.lowest(count).into_iter().map(|(_, passage)| passage.id).collect()
    }

    #[test]
    fn the_lowest_priorities_are_drawn_in_any_order() {
        let offers = [(5, "e"), (1, "a"), (9, "z"), (3, "c"), (3, "b")];
        assert_eq!(drawn(3, 3, &offers), ["a", "b", "c"]);
        let mut reversed = offers;
        reversed.reverse();
        assert_eq!(drawn(3, 3, &reversed), ["a", "b", "c"]);
        assert_eq!(drawn(3, 2, &offers), ["a", "b"]);
        assert_eq!(drawn(9, 9, &offers), ["a", "b", "c", "e", "z"]);
        assert_eq!(drawn(0, 9, &offers), [""; 0]);
    }
}
