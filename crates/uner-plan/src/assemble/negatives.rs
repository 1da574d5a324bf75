//! Negative sampling: queries for types that do not occur in an example.

use anyhow::Result;
use uner_data::definitions::{Definitions, WordingConfig, reword};
use uner_data::negative::Strategy;
use uner_data::negative::hard::{Confusions, HardConfig, HardTypes, add_hard_negatives};
use uner_data::{
    Dataset, Draw, Example, Member, NegativeConfig, TypeCounts, TypeInventory, add_negatives, mix,
};

use crate::Sources;

/// The sources of absent types.
#[derive(Debug)]
pub(crate) struct Negatives {
    /// For training data.
    pub(crate) train: AbsentTypes,
    /// For validation data.
    pub(crate) validation: AbsentTypes,
}

/// The source of the absent types of a mixture.
#[derive(Debug)]
pub(crate) struct AbsentTypes {
    config: NegativeConfig,
    seed: u64,
    /// The inventory of each member; `None` if it gets no absent types.
    inventories: Vec<Option<TypeInventory>>,
    /// The hard types of all inventories, and their share.
    hard: Option<(HardTypes, f64)>,
    /// The definitions of each member's types, and how often they are used.
    wordings: Option<(Vec<Definitions>, WordingConfig)>,
}

impl Negatives {
    /// Builds the inventories of a plan's data. Reads all of it if counts are needed.
    pub(crate) fn of(sources: &Sources) -> Result<Self> {
        let data = &sources.recipe.data;
        let [train, validation] = match data.negatives.strategy {
            Strategy::None => [&data.train, &data.validation]
                .map(|members| vec![TypeInventory::default(); members.len()]),
            Strategy::Uniform | Strategy::Frequency => {
                let mut counts = TypeCounts::default();
                for_each_example(sources, &data.train, |_, example| counts.add(example))?;
                let all = TypeInventory::new(&counts);
                [&data.train, &data.validation].map(|members| vec![all.clone(); members.len()])
            }
            Strategy::ClosedWorld => [
                closed_worlds(sources, &data.train, &sources.train)?,
                closed_worlds(sources, &data.validation, &sources.validation)?,
            ],
        };
        let hard = data.hard_negatives.as_ref().map(|config| hard_types(config, &train));
        let hard = hard.transpose()?;
        let absent = |members: &[Member], inventories: Vec<TypeInventory>, datasets: &[Dataset]| {
            let definitions = || datasets.iter().map(Dataset::definitions).collect();
            AbsentTypes {
                config: data.negatives.clone(),
                seed: sources.recipe.run.seed,
                inventories: members
                    .iter()
                    .zip(inventories)
                    .map(|(member, own)| member.negatives.then_some(own))
                    .collect(),
                hard: hard.clone(),
                wordings: data.wordings.map(|config| (definitions(), config)),
            }
        };
        Ok(Self {
            train: absent(&data.train, train, &sources.train),
            validation: absent(&data.validation, validation, &sources.validation),
        })
    }
}

impl AbsentTypes {
    /// Appends absent types to the queries of the example at `index` of the data, which is from
    /// `member`, and words all its queries.
    pub(crate) fn add(&self, example: &mut Example, member: usize, index: u64) {
        // Epoch 0 for all: every epoch has the same absent types, as in the released data.
        let draw = Draw { seed: self.seed, epoch: 0, index };
        match (&self.inventories[member], &self.hard) {
            (None, _) => {}
            (Some(inventory), None) => add_negatives(example, inventory, &self.config, draw),
            (Some(inventory), Some((hard, share))) => {
                add_hard_negatives(example, inventory, &self.config, (hard, *share), draw);
            }
        }
        if let Some((definitions, config)) = &self.wordings {
            reword(example, &definitions[member], config, draw);
        }
    }
}

/// The hard types of the training data, whose strategies have one inventory for all members.
fn hard_types(config: &HardConfig, inventories: &[TypeInventory]) -> Result<(HardTypes, f64)> {
    let inventory = inventories.first().cloned().unwrap_or_default();
    let mut hard = HardTypes::with_shared_words(&inventory);
    if let Some(report) = &config.confusions {
        hard = hard.and(HardTypes::with_confusions(&inventory, &Confusions::read(report)?));
    }
    Ok((hard, config.share))
}

/// All types of each member's dataset: from its description, or, if labels are used as written, all
/// types that occur.
fn closed_worlds(
    sources: &Sources,
    members: &[Member],
    datasets: &[Dataset],
) -> Result<Vec<TypeInventory>> {
    let described =
        datasets.iter().map(|dataset| TypeInventory::closed_world(&dataset.entity_types()));
    let mut inventories: Vec<TypeInventory> = described.collect();
    let lacks =
        |(member, inventory): (&Member, &TypeInventory)| member.negatives && inventory.is_empty();
    if members.iter().zip(&inventories).any(lacks) {
        let mut counts = vec![TypeCounts::default(); members.len()];
        for_each_example(sources, members, |member, example| counts[member].add(example))?;
        for (inventory, counts) in inventories.iter_mut().zip(&counts) {
            if inventory.is_empty() {
                *inventory = TypeInventory::new(counts);
            }
        }
    }
    Ok(inventories)
}

/// Calls `visit` with every example of a mixture and the number of its member.
fn for_each_example(
    sources: &Sources,
    members: &[Member],
    mut visit: impl FnMut(usize, &Example),
) -> Result<()> {
    for item in mix(members, &sources.recipe.data.root, sources.recipe.run.seed)? {
        let (member, example) = item?;
        visit(member, &example);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Override, find, parse};

    /// Two datasets with different types. Validation data is the second one, then both in reverse
    /// order.
    #[test]
    fn absent_types_of_validation_data_are_those_of_their_own_datasets() {
        let folder = tempfile::tempdir().unwrap();
        for (name, types) in [("people", ["person", "place"]), ("drugs", ["drug", "dose"])] {
            let description = format!(
                "name = \"{name}\"\n[format]\nkind = \"jsonl\"\n[splits]\ntrain = \"{name}.jsonl\"\n"
            );
            let [first, second] = types;
            let line = format!(
                r#"{{"text": "one two", "entities": [[0, 3, "{first}"], [4, 7, "{second}"]]}}"#
            );
            fs_err::write(folder.path().join(format!("{name}.toml")), description).unwrap();
            fs_err::write(folder.path().join(format!("{name}.jsonl")), line + "\n").unwrap();
        }
        let root = folder.path().display();
        let member = |name: &str, more: &str| {
            format!("{{ dataset = \"{root}/{name}.toml\", split = \"train\"{more} }}")
        };
        let (people, drugs) = (member("people", ""), member("drugs", ""));
        let with_negatives = |validation: &str, number: usize, entity_type: &str| {
            let set = [
                "data.negatives.strategy=closed-world".to_owned(),
                format!("data.root={root}"),
                format!("data.train=[{people}, {drugs}]"),
                format!("data.validation=[{validation}]"),
            ];
            let set: Vec<Override> = set.iter().map(|text| text.parse().unwrap()).collect();
            let sources =
                Sources::find(parse(&find("quickstart").unwrap(), &set).unwrap()).unwrap();
            let negatives = Negatives::of(&sources).unwrap();
            let (id, text, queries) = (String::new(), String::new(), vec![entity_type.to_owned()]);
            let mut example = Example { queries, ..Example::new(id, text, Vec::new()) };
            negatives.validation.add(&mut example, number, 0);
            example.queries
        };
        assert_eq!(with_negatives(&drugs, 0, "drug"), ["drug", "dose"]);
        let turned = format!("{drugs}, {people}");
        assert_eq!(with_negatives(&turned, 0, "dose"), ["dose", "drug"]);
        assert_eq!(with_negatives(&turned, 1, "person"), ["person", "place"]);
        // Each member also has its own switch.
        assert_eq!(with_negatives(&member("drugs", ", negatives = false"), 0, "drug"), ["drug"]);
    }
}
