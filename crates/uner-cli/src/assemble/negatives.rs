//! The types that are asked of examples in which they do not occur.

use anyhow::Result;
use uner_data::negative::Strategy;
use uner_data::{Draw, Example, NegativeConfig, TypeCounts, TypeInventory, add_negatives, mix};

use crate::plan::Plan;

/// Where absent types are drawn from.
#[derive(Debug)]
pub(crate) struct Negatives {
    config: NegativeConfig,
    seed: u64,
    /// One inventory for all members, or one for each.
    inventories: Vec<TypeInventory>,
    /// Of which members absent types are asked.
    asked: Vec<bool>,
}

impl Negatives {
    /// Takes the inventories of a plan's training data, reading it through where counts are needed.
    pub(crate) fn of(plan: &Plan) -> Result<Self> {
        let config = plan.recipe.data.negatives.clone();
        let inventories = match config.strategy {
            Strategy::None => vec![TypeInventory::default()],
            Strategy::Uniform | Strategy::Frequency => {
                vec![TypeInventory::new(&count(plan, |_| 0)?.pop().unwrap_or_default())]
            }
            Strategy::ClosedWorld => closed_worlds(plan)?,
        };
        let asked = plan.recipe.data.train.iter().map(|member| member.negatives).collect();
        Ok(Self { config, seed: plan.recipe.run.seed, inventories, asked })
    }

    /// Appends absent types to the queries of the example at `index` of the data, from member `member`.
    pub(crate) fn add(&self, example: &mut Example, member: usize, index: u64) {
        // Validation data may have more members than training data.
        if self.asked.get(member) == Some(&false) {
            return;
        }
        let inventory = self.inventories.get(member).unwrap_or(&self.inventories[0]);
        // Epoch 0 for all: every epoch has the same absent types, as the released data has.
        add_negatives(example, inventory, &self.config, Draw { seed: self.seed, epoch: 0, index });
    }
}

/// All types of each dataset: those of its description, or those that occur where labels are used as written.
fn closed_worlds(plan: &Plan) -> Result<Vec<TypeInventory>> {
    let described = plan.train.iter().map(|dataset| TypeInventory::closed_world(&dataset.entity_types()));
    let mut inventories: Vec<TypeInventory> = described.collect();
    let asked = plan.recipe.data.train.iter().map(|member| member.negatives);
    if inventories.iter().zip(asked).any(|(inventory, asked)| asked && inventory.is_empty()) {
        let counted = count(plan, |member| member)?;
        for (inventory, counts) in inventories.iter_mut().zip(&counted) {
            if inventory.is_empty() {
                *inventory = TypeInventory::new(counts);
            }
        }
    }
    Ok(inventories)
}

/// Counts the mentions of the training data, each member's under the place that `place` gives it.
fn count(plan: &Plan, place: impl Fn(usize) -> usize) -> Result<Vec<TypeCounts>> {
    let mut counts = vec![TypeCounts::default(); plan.train.len()];
    for item in mix(&plan.recipe.data.train, &plan.recipe.data.root, plan.recipe.run.seed)? {
        let (member, example) = item?;
        counts[place(member)].add(&example);
    }
    counts.truncate((0..plan.train.len()).map(place).max().map_or(0, |last| last + 1));
    Ok(counts)
}
