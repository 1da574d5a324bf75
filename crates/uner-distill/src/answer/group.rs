//! A group in brackets, and the entities in it.

use super::ParsedAnswer;

/// Keys under which models write the mention, in lower case.
const MENTION_KEYS: [&str; 8] =
    ["entity", "text", "mention", "name", "value", "word", "entity_name", "concept"];
/// Keys under which they write its type.
const TYPE_KEYS: [&str; 7] =
    ["type", "entity_type", "label", "category", "definition", "type_of_entity", "class"];

/// A text in a group.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) text: String,
    pub(super) is_quoted: bool,
}

/// A group that is open.
#[derive(Debug)]
pub(super) struct Group {
    /// Its opening bracket.
    bracket: u8,
    /// The texts directly in it; in an object those without a key.
    items: Vec<Item>,
    /// The entries of an object.
    entries: Vec<(String, String)>,
    /// The key whose value follows.
    key: Option<String>,
    /// The number of groups directly in it.
    pub(super) num_groups: usize,
}

impl Group {
    pub(super) fn new(bracket: u8) -> Self {
        Self { bracket, items: Vec::new(), entries: Vec::new(), key: None, num_groups: 0 }
    }

    pub(super) fn is_object(&self) -> bool {
        self.bracket == b'{'
    }

    /// Whether it is a tuple with a mention and a type, so that no group can follow in it.
    pub(super) fn is_open_pair(&self) -> bool {
        let is_pair =
            matches!(&self.items[..], [first, second] if first.is_quoted && second.is_quoted);
        self.bracket == b'(' && self.num_groups == 0 && is_pair
    }

    pub(super) fn is_empty_list(&self) -> bool {
        self.bracket == b'[' && self.items.is_empty() && self.num_groups == 0
    }

    pub(super) fn push(&mut self, item: Item) {
        match self.key.take() {
            Some(key) => self.entries.push((key, item.text)),
            None => self.items.push(item),
        }
    }

    /// Makes the last text a key.
    pub(super) fn name_last(&mut self) {
        if let Some(last) = self.items.pop() {
            self.key = Some(last.text);
        }
    }

    /// The key whose value a closed group is.
    pub(super) fn take_key(&mut self) -> Option<String> {
        self.key.take()
    }

    /// Adds the entities in it. `key` is its key in an object, `is_inner` says whether it is inside
    /// another group.
    pub(super) fn read(&self, key: Option<&str>, is_inner: bool, parsed: &mut ParsedAnswer) {
        if self.is_object() {
            return self.read_object(parsed);
        }
        let quoted: Vec<&Item> = self.items.iter().filter(|item| item.is_quoted).collect();
        // `{"person": ["Ada", "Bob"]}`
        if let Some(key) = key
            && self.bracket == b'['
            && self.num_groups == 0
        {
            parsed.pairs.extend(quoted.iter().map(|item| pair(&item.text, key)));
            return;
        }
        match (&quoted[..], &self.items[..]) {
            ([mention, entity_type], _) => {
                parsed.pairs.push(pair(&mention.text, &entity_type.text));
            }
            // `("Ada", None)`
            ([_], [mention, entity_type]) => {
                parsed.pairs.push(pair(&mention.text, &entity_type.text));
            }
            // `(Ada, person)`, but neither a sentence nor offsets.
            ([], [mention, entity_type])
                if is_inner
                    && self.bracket == b'('
                    && entity_type.text.contains(char::is_alphabetic) =>
            {
                parsed.pairs.push(pair(&mention.text, &entity_type.text));
            }
            ([], _) => {}
            _ => parsed.unreadable += 1,
        }
    }

    fn read_object(&self, parsed: &mut ParsedAnswer) {
        let of = |names: &[&str]| {
            let is_named = |key: &str| names.contains(&&*key.to_lowercase().replace(' ', "_"));
            self.entries.iter().find(|(key, _)| is_named(key)).map(|(_, value)| value)
        };
        match (of(&MENTION_KEYS), of(&TYPE_KEYS)) {
            (Some(mention), Some(entity_type)) => parsed.pairs.push(pair(mention, entity_type)),
            // A record without its other half.
            (Some(_), None) | (None, Some(_)) => parsed.unreadable += 1,
            // `{"Ada": "person"}`
            (None, None) => {
                parsed.pairs.extend(self.entries.iter().map(|(key, value)| pair(key, value)));
            }
        }
    }
}

fn pair(mention: &str, entity_type: &str) -> (String, String) {
    (mention.trim().to_owned(), entity_type.trim().to_owned())
}
