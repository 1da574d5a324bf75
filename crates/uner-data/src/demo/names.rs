//! The names of the demo corpus, and which split may use which.
//!
//! A made-up name has two or three parts. Each combination of parts belongs to exactly one
//! [`Pool`], decided by the sum of the indices of its parts modulo 5. So every part occurs in
//! training, but no name of a held-out pool does: a model can know only the pieces of such a name.
//! Most kinds have hundreds of names, too many to memorise in a few minutes, so a model has to copy
//! them from the text.

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

/// The parts of made-up names.
#[derive(Debug)]
pub(super) struct Parts {
    starts: &'static [&'static str],
    middles: &'static [&'static str],
    ends: &'static [&'static str],
}

impl Parts {
    /// The names of a pool; consecutive names differ in their first part.
    pub(super) fn names(&self, pool: Pool) -> Vec<String> {
        let mut names = Vec::new();
        for (end_idx, end) in self.ends.iter().enumerate() {
            for (middle_idx, middle) in self.middles.iter().enumerate() {
                for (start_idx, start) in self.starts.iter().enumerate() {
                    if pool_of(start_idx + middle_idx + end_idx) == pool {
                        names.push(format!("{start}{middle}{end}"));
                    }
                }
            }
        }
        names
    }
}

fn pool_of(position_sum: usize) -> Pool {
    match position_sum % 5 {
        0 => Pool::Test,
        1 => Pool::Validation,
        _ => Pool::Train,
    }
}

/// A position in a sentence that takes a name.
#[derive(Debug)]
pub(super) struct Slot {
    /// Its name in sentences, without the braces.
    pub(super) name: &'static str,
    /// The type of the entity.
    pub(super) entity_type: &'static str,
    /// The parts of its made-up names.
    pub(super) parts: &'static Parts,
    /// Wordings, assigned by the index of the made-up name. The name replaces `*`, or `{city}` if
    /// it is a city inside the entity.
    pub(super) forms: &'static [&'static str],
}

impl Slot {
    /// The made-up names of a pool, each with its wording.
    pub(super) fn names(&self, pool: Pool) -> Vec<(String, &'static str)> {
        self.parts.names(pool).into_iter().zip(self.forms.iter().copied().cycle()).collect()
    }
}

const PLACES: Parts = Parts {
    starts: &[
        "Bal", "Bren", "Cor", "Dar", "Fen", "Gar", "Kel", "Lor", "Mar", "Nor", "Pel", "Ros", "Tor",
        "Wal",
    ],
    middles: &["", "ing", "er", "el", "en", "ow"],
    ends: &["bury", "dale", "ford", "gate", "ham", "holm", "mouth", "port", "ton", "worth"],
};

const SURNAMES: Parts = Parts {
    starts: &[
        "Ander", "Berg", "Castel", "Dom", "Eris", "Ferr", "Gold", "Haas", "Ivan", "Jans", "Klein",
        "Lind", "Mon", "Nil",
    ],
    middles: &["", "el", "or", "an", "in"],
    ends: &["ano", "berg", "ez", "ini", "man", "ov", "ques", "sen", "ski", "stein"],
};

const DRUGS: Parts = Parts {
    starts: &["alvo", "beni", "cora", "fluma", "ibra", "keto", "lumi", "nova", "rova", "zelo"],
    middles: &["", "xi", "ro", "ma", "te"],
    ends: &["cin", "dine", "fen", "lol", "mab", "pam", "statin", "tol", "vir", "zine"],
};

const AILMENTS: Parts = Parts {
    starts: &["arthr", "cardi", "derm", "gastr", "hepat", "myel", "neur", "oste", "pulmon", "rhin"],
    middles: &["", "ocyt", "omy", "oplas"],
    ends: &["algia", "emia", "itis", "oma", "osis", "pathy"],
};

const TITLES: Parts = Parts {
    starts: &[
        "Silver ", "Broken ", "Golden ", "Quiet ", "Burning ", "Hidden ", "Lonely ", "Paper ",
        "Crystal ", "Frozen ", "Little ", "Purple ",
    ],
    middles: &[""],
    ends: &[
        "River", "Morning", "Garden", "Window", "Mountain", "Summer", "Shadow", "Mirror", "Bridge",
        "Island",
    ],
};

const BRANDS: Parts = Parts {
    starts: &["Opti", "Nexo", "Luma", "Aero", "Cyber", "Dyna", "Echo", "Giga", "Micro", "Zeno"],
    middles: &["", "ma", "ti", "ro"],
    ends: &["core", "line", "pad", "phone", "pod", "scan", "track", "vue", "wave", "desk"],
};

const FULL_NAMES: &[&str] = &[
    "Adam *", "Alice *", "Boris *", "Carla *", "Chen *", "Elena *", "Farid *", "Greta *", "Hugo *",
    "Ines *", "Jonas *", "Karim *", "Laura *", "Maria *", "Nadia *", "Oscar *", "Rita *",
    "Sofia *", "Tom *", "Yuki *",
];

/// Every slot. Organizations share names with cities or people, and some people share a city's
/// name.
pub(super) const SLOTS: &[Slot] = &[
    slot("person", "person", &SURNAMES, FULL_NAMES),
    slot("surname", "person", &SURNAMES, &["*"]),
    slot("namesake", "person", &PLACES, &["*"]),
    slot("city", "city", &PLACES, &["*"]),
    slot(
        "school",
        "organization",
        &PLACES,
        &["University of {city}", "* College", "{city} University"],
    ),
    slot("hospital", "organization", &PLACES, &["{city} General Hospital", "* Clinic"]),
    slot("airline", "organization", &PLACES, &["* Airlines", "Air *"]),
    slot("orchestra", "organization", &PLACES, &["{city} Symphony Orchestra", "* Quartet"]),
    slot("label", "organization", &SURNAMES, &["* Records", "* Music"]),
    slot(
        "company",
        "organization",
        &SURNAMES,
        &["* Motors", "* and Partners", "* Systems", "* Group"],
    ),
    slot("bank", "organization", &PLACES, &["Bank of {city}", "* Capital"]),
    slot("medication", "medication", &DRUGS, &["*"]),
    slot("condition", "medical condition", &AILMENTS, &["*", "chronic *"]),
    slot("song", "song", &TITLES, &["*"]),
    slot("product", "product", &BRANDS, &["*", "* Pro", "* 40"]),
];

const fn slot(
    name: &'static str,
    entity_type: &'static str,
    parts: &'static Parts,
    forms: &'static [&'static str],
) -> Slot {
    Slot { name, entity_type, parts, forms }
}
