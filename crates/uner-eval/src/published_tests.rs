//! The published numbers are those of their sources, and belong to our datasets.

use std::collections::BTreeMap;

use uner_data::{Dataset, registry};

use super::*;

const WITH_SUP: &str = "Pile-NER and supervised data; CrossNER and MIT unseen";

/// Datasets of each domain in Fig. 9, in its order.
const OF_DOMAIN: [(&str, usize); 9] = [
    ("general", 16),
    ("biomedicine", 8),
    ("clinics", 7),
    ("STEM", 7),
    ("programming", 1),
    ("social media", 5),
    ("law", 3),
    ("finance", 1),
    ("transportation", 1),
];

fn f1(dataset: &str, system: &str, setting: &str) -> Option<f64> {
    let numbers = published(dataset).into_iter();
    let strict = numbers.filter(|number| number.metric == Metric::Strict);
    strict
        .filter(|number| number.system == system && number.setting == setting)
        .map(|number| number.f1)
        .next()
}

fn system<'a>(systems: &'a [System], name: &str, setting: &str) -> &'a System {
    let is_it = |system: &&System| {
        system.name == name && system.setting == setting && system.metric == Metric::Strict
    };
    systems.iter().find(is_it).unwrap()
}

fn mean(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// The mean as it is printed with as many decimals as `printed`.
fn rounded_as(printed: f64, mean: f64) -> String {
    let text = printed.to_string();
    let decimals = text.split_once('.').map_or(1, |(_, decimals)| decimals.len());
    format!("{mean:.decimals$}")
}

fn of_list(list: &str) -> Vec<Dataset> {
    registry::in_list(list).unwrap()
}

#[test]
fn numbers_are_found_under_any_spelling_of_the_dataset() {
    assert_eq!(f1("CrossNER_AI", "UniNER-7B", "zero-shot"), Some(53.6));
    assert_eq!(f1("MIT-Restaurant", "BERT-base", "supervised"), Some(81.02));
    assert_eq!(f1("mit-restaurant", "UniNER-7B", "supervised"), Some(82.35));
    assert_eq!(f1("mit-restaurant", "UniNER-7B", "zero-shot"), Some(31.7));
    assert_eq!(f1("crossner-ai", "InstructUIE-11B", "zero-shot, re-evaluated"), Some(48.4));
    assert_eq!(f1("broad-twitter", "ChatGPT", "zero-shot"), Some(61.8));
    assert_eq!(f1("i2b2-2014", "UniNER-7B w/ sup", WITH_SUP), Some(91.2));
    assert_eq!(published("official-crossner-ai"), published("crossner-ai"));
    assert_eq!(published("instructuie-fabner"), published("FabNER"));
    assert_eq!(published("demo"), []);
}

#[test]
fn every_dataset_of_the_paper_has_its_rows() {
    let universal = of_list("universal-43");
    assert_eq!(universal.len(), 49);
    for Dataset { name, .. } in &universal {
        for (system, setting) in
            [("ChatGPT", "zero-shot"), ("UniNER-7B", "zero-shot"), ("UniNER-7B w/ sup", WITH_SUP)]
        {
            assert!(f1(name, system, setting).is_some(), "Fig. 9: {name}, {system}");
        }
    }
    let instructuie = of_list("instructuie-20");
    assert_eq!(instructuie.len(), 20);
    for Dataset { name, .. } in &instructuie {
        for system in ["BERT-base", "InstructUIE-11B", "UniNER-7B"] {
            assert!(f1(name, system, "supervised").is_some(), "Table 2: {name}, {system}");
        }
    }
    for list in ["zero-shot-7", "out-of-domain"] {
        for Dataset { name, .. } in of_list(list) {
            let of_tables = published(&name).into_iter().filter(|number| {
                ["Table 3", "Table 4", "Table 5", "Tables 3"]
                    .iter()
                    .any(|table| number.source.contains(table))
            });
            // Eight models of Table 3, of InstructUIE only on CrossNER; two more of Table 4, and
            // three partial ones of Table 5.
            let expected = if name.contains("mit") { 12 } else { 13 };
            assert_eq!(of_tables.count(), expected, "{name}");
        }
    }
}

#[test]
fn means_of_the_rows_are_the_printed_averages() {
    let printed = TABLE.system.iter().filter_map(|system| Some((system, system.average?)));
    let mut compared = 0;
    for (System { name, setting, f1, .. }, average) in printed {
        let mean = rounded_as(average, mean(f1.values().copied()));
        assert_eq!(mean.parse(), Ok(average), "{name}, {setting}");
        compared += 1;
    }
    assert_eq!(compared, 19);
    let all = |name, setting| mean(system(&TABLE.system, name, setting).f1.values().copied());
    assert_eq!(format!("{:.1}", all("ChatGPT", "zero-shot")), "33.9");
    assert_eq!(format!("{:.1}", all("UniNER-7B", "zero-shot")), "40.7");
    assert_eq!(format!("{:.1}", all("UniNER-7B w/ sup", WITH_SUP)), "78.8");
}

/// Averages of groups for which the numbers of each dataset are published, too.
#[test]
fn averages_of_groups_are_the_means_of_their_datasets() {
    let mut compared = BTreeMap::new();
    for PublishedAverages { name, datasets, systems } in published_averages() {
        let short =
            ["ChatGPT", "UniNER-7B", "UniNER-13B", "BERT-base", "InstructUIE-11B", "JPT-8B"];
        for Published { system, setting, f1: average, source, .. } in systems {
            let numbers = datasets.iter().map(|dataset| f1(dataset, system, setting));
            let numbers: Option<Vec<f64>> = numbers.collect();
            let Some(numbers) = numbers.filter(|_| short.contains(&system.as_str())) else {
                continue;
            };
            let mean = mean(numbers);
            // UniNER-7B has 53.45 of Fig. 9, and 53.41 of Table 3.
            assert!((mean - average).abs() < 0.06, "{name}: {system}, {mean}, {source}");
            *compared.entry(name.as_str()).or_insert(0) += 1;
        }
    }
    let counts: Vec<(&str, i32)> = compared.into_iter().collect();
    assert_eq!(
        counts,
        [
            ("18 of the datasets of InstructUIE, without ACE05 and GENIA", 1),
            ("CrossNER (5) and MIT (2)", 4),
            ("The 20 datasets of InstructUIE", 3)
        ]
    );
    let dizinier = mean([76.8, 76.8, 76.8, 76.8, 76.8, 78.5, 68.1]);
    assert_eq!(format!("{dizinier:.1}"), "75.8", "CrossNER has only an average");
}

#[test]
fn averages_of_domains_add_up_to_those_published() {
    assert_eq!(published_domains("law").len(), 7);
    assert_eq!(published_domains("pile"), []);
    for System { name, f1, average, .. } in &TABLE.domains {
        assert!(f1.keys().map(String::as_str).eq(OF_DOMAIN.map(|(domain, _)| domain)), "{name}");
        let sum: f64 = f1.values().zip(OF_DOMAIN).map(|(f1, (_, count))| f1 * count as f64).sum();
        assert_eq!(format!("{:.1}", sum / 49.0), format!("{:.1}", average.unwrap()), "{name}");
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for Dataset { domain, .. } in of_list("universal-43") {
        *counts.entry(domain).or_default() += 1;
    }
    let expected: BTreeMap<String, usize> =
        OF_DOMAIN.map(|(domain, count)| (domain.to_owned(), count)).into();
    assert_eq!(counts, expected, "our descriptions have the paper's domains");
}

/// As far as one decimal can show it, since both are rounded.
#[test]
fn labels_of_fig_5a_are_1_above_the_averages_of_fig_9() {
    for name in ["ChatGPT", "UniNER-7B"] {
        let datasets = system(&TABLE.system, name, "zero-shot");
        let labels = system(&TABLE.domains, name, "zero-shot");
        let mut rows = datasets.f1.values().copied();
        for ((_, count), (domain, label)) in OF_DOMAIN.into_iter().zip(&labels.f1) {
            let mean = mean(rows.by_ref().take(count));
            assert!((label - mean - 1.0).abs() < 0.11, "{name}, {domain}: {mean}, {label}");
        }
    }
}
