//! The names of the demo corpus, and which split may use which.
//!
//! A made-up name has two parts. Each combination of parts belongs to exactly one [`Pool`], decided by the sum of
//! the positions of its parts modulo 5. So every part occurs in training, while no name of a held-out pool does:
//! what a model can know of a held-out name is its pieces.

/// A disjoint share of all made-up names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// Three fifths of the names.
    Train,
    /// One fifth, which occurs in the validation split only.
    Validation,
    /// One fifth, which occurs in the test split only.
    Test,
}

/// The two parts of made-up names.
#[derive(Debug)]
pub(super) struct Parts {
    starts: &'static [&'static str],
    ends: &'static [&'static str],
}

impl Parts {
    /// The names of a pool; neighbours differ in their first part.
    pub(super) fn names(&self, pool: Pool) -> Vec<String> {
        let ends = self.ends.iter().enumerate();
        ends.flat_map(|(end_idx, end)| {
            let starts = self.starts.iter().enumerate();
            let mine = starts.filter(move |(start_idx, _)| pool_of(start_idx + end_idx) == pool);
            mine.map(move |(_, start)| format!("{start}{end}"))
        })
        .collect()
    }
}

fn pool_of(position_sum: usize) -> Pool {
    match position_sum % 5 {
        0 => Pool::Test,
        1 => Pool::Validation,
        _ => Pool::Train,
    }
}

/// A place in a sentence that takes a name.
#[derive(Debug)]
pub(super) struct Slot {
    /// As written in sentences, without the braces.
    pub(super) name: &'static str,
    /// The type of the entity.
    pub(super) entity_type: &'static str,
    /// Where made-up names come from.
    pub(super) parts: &'static Parts,
    /// At most so many names of a pool are used, so that nearly all of the train pool do occur in training.
    pub(super) limit: usize,
    /// Wordings, given out by the position of the made-up name. The name replaces `*`, or `{city}` where it is a
    /// city inside the entity.
    pub(super) forms: &'static [&'static str],
}

impl Slot {
    /// The made-up name number `number` (any number) of a pool and its wording.
    pub(super) fn pick(&self, pool: Pool, number: usize) -> (String, &'static str) {
        let mut names = self.parts.names(pool);
        let used = self.limit.min(names.len());
        let idx = (number % used) * names.len() / used;
        (names.swap_remove(idx), self.forms[idx % self.forms.len()])
    }
}

const PLACES: Parts = Parts {
    starts: &[
        "Bal", "Bren", "Cal", "Cor", "Dar", "Fen", "Gar", "Hal", "Hol", "Kel", "Lan", "Lor", "Mar", "Nor",
        "Pel", "Ros", "Sal", "Tor", "Ven", "Wal",
    ],
    ends: &[
        "bury", "den", "dale", "ford", "gate", "ham", "holm", "ley", "mar", "more", "rick", "ston", "ton",
        "wick", "worth",
    ],
};

const DRUGS: Parts = Parts {
    starts: &["alvo", "beni", "cora", "fluma", "ibra", "keto", "lumi", "nova", "rova", "zelo"],
    ends: &["cin", "dine", "fen", "lol", "mab", "pam", "statin", "tol", "vir", "zine"],
};

const TITLES: Parts = Parts {
    starts: &[
        "Silver ", "Broken ", "Golden ", "Quiet ", "Burning ", "Hidden ", "Lonely ", "Paper ", "Crystal ",
        "Frozen ", "Little ", "Purple ",
    ],
    ends: &[
        "River", "Morning", "Garden", "Window", "Mountain", "Summer", "Shadow", "Mirror", "Bridge", "Island",
    ],
};

const BRANDS: Parts = Parts {
    starts: &["Opti", "Nexo", "Luma", "Aero", "Cyber", "Dyna", "Echo", "Giga", "Micro", "Zeno"],
    ends: &["core", "line", "pad", "phone", "pod", "scan", "track", "vue", "wave", "desk"],
};

const FULL_NAMES: &[&str] = &[
    "Adam *", "Alice *", "Boris *", "Carla *", "Chen *", "Elena *", "Farid *", "Greta *", "Hugo *", "Ines *",
    "Jonas *", "Karim *", "Laura *", "Maria *", "Nadia *", "Oscar *", "Rita *", "Sofia *", "Tom *", "Yuki *",
];

/// Every slot. Surnames, cities and what is named after them share one list of made-up names.
pub(super) const SLOTS: &[Slot] = &[
    Slot { name: "person", entity_type: "person", parts: &PLACES, limit: 180, forms: FULL_NAMES },
    Slot { name: "surname", entity_type: "person", parts: &PLACES, limit: 120, forms: &["*"] },
    Slot { name: "city", entity_type: "city", parts: &PLACES, limit: 180, forms: &["*"] },
    organization("school", &["University of {city}", "* College", "{city} University"]),
    organization("hospital", &["{city} General Hospital", "* Clinic"]),
    organization("airline", &["* Airlines", "Air *"]),
    organization("label", &["* Records", "* Music"]),
    organization("orchestra", &["{city} Symphony Orchestra", "* Quartet"]),
    organization("company", &["* Motors", "* and Partners", "* Systems", "* Group"]),
    organization("bank", &["Bank of {city}", "* Capital"]),
    Slot { name: "medication", entity_type: "medication", parts: &DRUGS, limit: 60, forms: &["*"] },
    Slot {
        name: "condition",
        entity_type: "medical condition",
        parts: &PLACES,
        limit: 80,
        forms: &["* syndrome", "* fever", "* disease"],
    },
    Slot { name: "song", entity_type: "song", parts: &TITLES, limit: 72, forms: &["*"] },
    Slot {
        name: "product",
        entity_type: "product",
        parts: &BRANDS,
        limit: 60,
        forms: &["*", "* Pro", "* 40"],
    },
];

const fn organization(name: &'static str, forms: &'static [&'static str]) -> Slot {
    Slot { name, entity_type: "organization", parts: &PLACES, limit: 50, forms }
}
