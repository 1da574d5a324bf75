//! Statistics of a split: the distribution of its entity types over head and tail, the lengths of
//! its texts, and the number of duplicates. The bands are those of UniversalNER's table 1, where
//! the top 1 % of 13,020 types account for 74 % of the mentions.

use std::{
    collections::HashSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Serialize;

use crate::{DataError, Example, TypeCounts, TypeInventory, visible};

/// Statistics of a split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// Number of examples.
    pub num_examples: usize,
    /// Examples without an entity.
    pub num_without_entities: usize,
    /// Examples whose text equals that of an earlier one.
    pub num_duplicates: usize,
    /// Number of mentions.
    pub num_entities: usize,
    /// Number of queries, negative ones included.
    pub num_queries: usize,
    /// Number of negative queries (those without a mention).
    pub num_negative_queries: usize,
    /// Distinct entity types as written.
    pub num_types: usize,
    /// Distinct entity types after folding spellings (case, white space, `_`, `-`).
    pub num_folded_types: usize,
    /// Entity types by descending frequency: top 1 %, 1–10 %, rest.
    pub bands: [Band; 3],
    /// Characters per text.
    pub characters: Distribution,
    /// Words per text (separated by white space).
    pub words: Distribution,
    /// Mentions per example.
    pub entities: Distribution,
}

/// A band of entity types.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Band {
    /// `top 1 %`, `1–10 %` or `rest`.
    pub name: &'static str,
    /// Number of types in the band.
    pub num_types: usize,
    /// Number of mentions of these types.
    pub num_entities: u64,
    /// Their share of all mentions, 0 to 1.
    pub share: f64,
    /// Its most frequent types, at most ten.
    pub examples: Vec<String>,
}

/// Distribution of a count over examples. Quantiles are nearest-rank.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Distribution {
    /// Smallest.
    pub min: usize,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub median: usize,
    /// 95th percentile.
    pub p95: usize,
    /// Largest.
    pub max: usize,
}

/// Computes the statistics of a split. Texts are not stored: each example needs a few numbers.
///
/// # Errors
/// The first error of the examples; `uner data validate` lists them all.
pub fn stats(
    examples: impl IntoIterator<Item = Result<Example, DataError>>,
) -> Result<Stats, DataError> {
    let mut types = TypeCounts::default();
    let mut seen = HashSet::new();
    let (mut characters, mut words, mut entities) = (Vec::new(), Vec::new(), Vec::new());
    let (mut num_duplicates, mut num_queries, mut num_negative_queries) = (0, 0, 0);
    for example in examples {
        let example = example?;
        types.add(&example);
        num_duplicates += usize::from(!seen.insert(fingerprint(&example.text)));
        num_queries += example.queries.len();
        let present: HashSet<&str> =
            example.entities.iter().map(|entity| &*entity.entity_type).collect();
        num_negative_queries +=
            example.queries.iter().filter(|query| !present.contains(&***query)).count();
        characters.push(example.text.chars().count());
        words.push(example.text.split_whitespace().count());
        entities.push(example.entities.len());
    }
    let mut ranked: Vec<(&str, u64)> = types.iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    Ok(Stats {
        num_examples: entities.len(),
        num_without_entities: entities.iter().filter(|count| **count == 0).count(),
        num_duplicates,
        num_entities: entities.iter().sum(),
        num_queries,
        num_negative_queries,
        num_types: ranked.len(),
        num_folded_types: TypeInventory::new(&types).len(),
        bands: bands(&ranked),
        characters: Distribution::of(characters),
        words: Distribution::of(words),
        entities: Distribution::of(entities),
    })
}

/// A 64-bit hash of a text, to find equal texts without storing them.
pub(crate) fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Cuts ranked types at 1 % and 10 % of their number (rounded). The first band has at least one
/// type if there are any.
fn bands(ranked: &[(&str, u64)]) -> [Band; 3] {
    let total: u64 = ranked.iter().map(|(_, count)| count).sum();
    let percent = |fraction: f64| (ranked.len() as f64 * fraction).round() as usize;
    let head = percent(0.01).max(1).min(ranked.len());
    let middle = percent(0.1).max(head);
    [("top 1 %", 0..head), ("1–10 %", head..middle), ("rest", middle..ranked.len())].map(
        |(name, range)| {
            let types = &ranked[range];
            let num_entities = types.iter().map(|(_, count)| count).sum();
            Band {
                name,
                num_types: types.len(),
                num_entities,
                share: num_entities as f64 / total.max(1) as f64,
                examples: types.iter().take(10).map(|(name, _)| (*name).to_owned()).collect(),
            }
        },
    )
}

impl Distribution {
    /// The distribution of counts; all zero without any.
    pub fn of(mut counts: Vec<usize>) -> Self {
        counts.sort_unstable();
        let (Some(&min), Some(&max)) = (counts.first(), counts.last()) else {
            return Self::default();
        };
        let quantile =
            |fraction: f64| counts[((counts.len() as f64 * fraction).ceil() as usize).max(1) - 1];
        let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
        Self { min, mean, median: quantile(0.5), p95: quantile(0.95), max }
    }
}

/// Formats the statistics as a table for a terminal.
impl fmt::Display for Stats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} examples ({} without entities, {} with a repeated text)",
            self.num_examples, self.num_without_entities, self.num_duplicates
        )?;
        writeln!(
            out,
            "{} entities of {} types ({} after folding spellings)",
            self.num_entities, self.num_types, self.num_folded_types
        )?;
        writeln!(
            out,
            "{} queries, {} of them negative\n",
            self.num_queries, self.num_negative_queries
        )?;
        writeln!(
            out,
            "{:<8} {:>7} {:>9} {:>7}  most frequent",
            "types", "unique", "entities", "share"
        )?;
        for band in &self.bands {
            let (share, examples) = (100.0 * band.share, visible(&band.examples.join(", ")));
            writeln!(
                out,
                "{:<8} {:>7} {:>9} {share:>5.1} %  {examples}",
                band.name, band.num_types, band.num_entities
            )?;
        }
        writeln!(
            out,
            "\n{:<12} {:>6} {:>8} {:>7} {:>6} {:>6}",
            "per example", "min", "mean", "median", "95 %", "max"
        )?;
        for (name, counts) in
            [("characters", &self.characters), ("words", &self.words), ("entities", &self.entities)]
        {
            let Distribution { min, mean, median, p95, max } = counts;
            writeln!(out, "{name:<12} {min:>6} {mean:>8.1} {median:>7} {p95:>6} {max:>6}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entity;

    fn example(text: &str, types: &[String]) -> Example {
        let entity =
            |name: &String| Entity { text: "x".to_owned(), entity_type: name.clone(), span: None };
        Example::new(String::new(), text.to_owned(), types.iter().map(entity).collect())
    }

    #[test]
    fn bands_are_those_of_the_paper() {
        // 200 types: 2 with 100 mentions, 18 with 10, 180 with 1; hence 200 + 180 + 180 mentions.
        let types: Vec<String> = (0..200)
            .flat_map(|index| {
                let count = if index < 2 {
                    100
                } else if index < 20 {
                    10
                } else {
                    1
                };
                vec![format!("type {index:03}"); count]
            })
            .collect();
        let mut negative = example("a b", &[]);
        negative.queries.push("date".to_owned());
        let found =
            stats([example("é b c", &types), example("é b c", &[]), negative].map(Ok)).unwrap();
        let unique: Vec<usize> = found.bands.iter().map(|band| band.num_types).collect();
        let entities: Vec<u64> = found.bands.iter().map(|band| band.num_entities).collect();
        assert_eq!((unique, entities), (vec![2, 18, 180], vec![200, 180, 180]));
        assert_eq!(found.bands[0].examples, ["type 000", "type 001"]);
        assert!((found.bands[0].share - 200.0 / 560.0).abs() < 1e-12);
        assert_eq!(
            (found.num_examples, found.num_without_entities, found.num_duplicates),
            (3, 2, 1)
        );
        assert_eq!((found.num_queries, found.num_negative_queries), (201, 1));
        assert_eq!(
            found.characters,
            Distribution { min: 3, mean: 13.0 / 3.0, median: 5, p95: 5, max: 5 }
        );
        assert_eq!(found.entities.max, 560);
        assert!(
            found.to_string().contains("top 1 %        2       200  35.7 %  type 000, type 001"),
            "{found}"
        );
    }

    #[test]
    fn nothing_is_no_panic() {
        assert_eq!(stats([]).unwrap().bands[0].num_types, 0);
    }
}
