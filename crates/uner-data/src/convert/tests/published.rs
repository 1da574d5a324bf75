//! Real datasets, in every format.

use super::*;

fn losses(name: &str, split: &str) -> Option<Vec<(ExportFormat, ConvertedSplit)>> {
    let root = shared("data")?;
    let source = DatasetRef::Name(name.to_owned()).resolve().unwrap();
    let all = ExportFormat::all().map(|format| {
        let mut conversion = converted(&source, &[split], &root, format);
        (format, conversion.splits.swap_remove(split).unwrap())
    });
    Some(all.collect())
}

#[test]
fn print_losses() {
    for (name, split) in [
        ("crossner-ai", "test"),
        ("mit-restaurant", "test"),
        ("wnut17", "test"),
        ("genia", "test"),
        ("scierc", "test"),
        ("ddi", "test"),
        ("gliner-sample", "train"),
        ("official-crossner-ai", "test"),
        ("e-ner", "test"),
        ("wikineural", "test"),
        ("slimer-pilener", "train"),
    ] {
        let Some(all) = losses(name, split) else { return };
        for (format, split) in all {
            println!(
                "{name} {} {} {} problems {}",
                format.name(),
                split.num_examples,
                split.num_entities,
                split.problems.len()
            );
            for (loss, found) in split.losses.iter() {
                println!("     {} x {loss}: {:?}", found.count, &found.first[..1]);
            }
        }
    }
}
