//! The types that are asked of examples in which they do not occur.

use anyhow::Result;
use uner_data::negative::Strategy;
use uner_data::{
    Dataset, Draw, Example, Member, NegativeConfig, TypeCounts, TypeInventory, add_negatives, mix,
};

use crate::plan::Plan;

/// Where absent types are drawn from.
#[derive(Debug)]
pub(crate) struct Negatives {
    /// Those of training data.
    pub(crate) train: AbsentTypes,
    /// Those of validation data.
    pub(crate) validation: AbsentTypes,
}

/// Where the absent types of a mixture are drawn from.
#[derive(Debug)]
pub(crate) struct AbsentTypes {
    config: NegativeConfig,
    seed: u64,
    /// For each member; none where no absent types are asked of it.
    inventories: Vec<Option<TypeInventory>>,
}

impl Negatives {
    /// Takes the inventories of a plan's data, reading it through where counts are needed.
    pub(crate) fn of(plan: &Plan) -> Result<Self> {
        let data = &plan.recipe.data;
        let [train, validation] = match data.negatives.strategy {
            Strategy::None => {
                [&data.train, &data.validation].map(|members| vec![TypeInventory::default(); members.len()])
            }
            Strategy::Uniform | Strategy::Frequency => {
                let mut counts = TypeCounts::default();
                each(plan, &data.train, |_, example| counts.add(example))?;
                let all = TypeInventory::new(&counts);
                [&data.train, &data.validation].map(|members| vec![all.clone(); members.len()])
            }
            Strategy::ClosedWorld => [
                closed_worlds(plan, &data.train, &plan.train)?,
                closed_worlds(plan, &data.validation, &plan.validation)?,
            ],
        };
        let absent = |members: &[Member], inventories: Vec<TypeInventory>| AbsentTypes {
            config: data.negatives.clone(),
            seed: plan.recipe.run.seed,
            inventories: members
                .iter()
                .zip(inventories)
                .map(|(member, own)| member.negatives.then_some(own))
                .collect(),
        };
        Ok(Self { train: absent(&data.train, train), validation: absent(&data.validation, validation) })
    }
}

impl AbsentTypes {
    /// Appends absent types to the queries of the example at `index` of the data, from member `member`.
    pub(crate) fn add(&self, example: &mut Example, member: usize, index: u64) {
        if let Some(inventory) = &self.inventories[member] {
            // Epoch 0 for all: every epoch has the same absent types, as the released data has.
            add_negatives(example, inventory, &self.config, Draw { seed: self.seed, epoch: 0, index });
        }
    }
}

/// All types of the dataset of each member: those of its description, or those that occur where labels are used as written.
fn closed_worlds(plan: &Plan, members: &[Member], datasets: &[Dataset]) -> Result<Vec<TypeInventory>> {
    let described = datasets.iter().map(|dataset| TypeInventory::closed_world(&dataset.entity_types()));
    let mut inventories: Vec<TypeInventory> = described.collect();
    let lacks = |(member, inventory): (&Member, &TypeInventory)| member.negatives && inventory.is_empty();
    if members.iter().zip(&inventories).any(lacks) {
        let mut counts = vec![TypeCounts::default(); members.len()];
        each(plan, members, |member, example| counts[member].add(example))?;
        for (inventory, counts) in inventories.iter_mut().zip(&counts) {
            if inventory.is_empty() {
                *inventory = TypeInventory::new(counts);
            }
        }
    }
    Ok(inventories)
}

/// Shows every example of a mixture, and the number of its member.
fn each(plan: &Plan, members: &[Member], mut show: impl FnMut(usize, &Example)) -> Result<()> {
    for item in mix(members, &plan.recipe.data.root, plan.recipe.run.seed)? {
        let (member, example) = item?;
        show(member, &example);
    }
    Ok(())
}
