//! Proposes the format of a JSON file from the keys of its first records.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Candidate, Misfit, columns::Column};
use crate::{
    JsonRecords,
    format::{
        Container, Conversations, Encoding, Export, Format, Gliner, Instructuie, Jsonl,
        LabelStudio, Queries, Spacy, TokenClassification,
    },
};

/// Records that are looked at.
const FIRST: usize = 50;
const FORMATS: [&str; 3] = ["jsonl", "label-studio", "instructuie"];

/// The formats that a JSON file may have. The reader of each is tried afterwards.
pub(super) fn candidates(path: &Path) -> Result<Vec<Candidate>, Misfit> {
    let records: Vec<Value> = JsonRecords::open(path, None)
        .map_err(|error| Misfit::new(format!("JSON ({error})"), &[]))?
        .take(FIRST)
        .filter_map(|record| record.ok().map(|record| record.value))
        .collect();
    let Some(first) = records.first() else {
        return Err(Misfit::new("JSON: the file has no records in one array or one per line", &[]));
    };
    if first.is_array() {
        return spacy_pairs(first);
    }
    let objects: Vec<&Map<String, Value>> = records.iter().filter_map(Value::as_object).collect();
    let Some(object) = objects.first() else {
        return Err(Misfit::new("JSON: its records are neither objects nor pairs", &FORMATS));
    };
    let container = container(path);
    if let Some(candidate) = of_a_tool(&objects, container) {
        return Ok(vec![candidate]);
    }
    let found: Vec<Candidate> =
        [spans(&objects), queries(&objects)].into_iter().flatten().collect();
    if found.is_empty() {
        let keys: Vec<String> = object.keys().map(|key| format!("`{key}`")).collect();
        return Err(Misfit::new(
            format!("JSON: its records have the keys {}, and no list of spans", keys.join(", ")),
            &FORMATS,
        ));
    }
    Ok(found)
}

/// Whether a file is one array.
fn container(path: &Path) -> Container {
    let has_array = |container| {
        JsonRecords::open(path, Some(container))
            .is_ok_and(|mut records| records.next().is_some_and(|record| record.is_ok()))
    };
    if has_array(Container::Array) { Container::Array } else { Container::Lines }
}

fn candidate(format: Format, name: &'static str, reason: impl Into<String>) -> Candidate {
    Candidate { format, name, reason: reason.into(), notes: Vec::new() }
}

/// spaCy's format. Overlapping entities are in the group `sc` of `spans`.
fn spacy(objects: &[&Map<String, Value>]) -> Format {
    let has_group =
        objects.iter().any(|object| object.get("spans").is_some_and(|s| s.get("sc").is_some()));
    let spans = if has_group { vec!["sc".to_owned()] } else { Vec::new() };
    Format::Spacy(Spacy { spans, ..Spacy::default() })
}

fn spacy_pairs(first: &Value) -> Result<Vec<Candidate>, Misfit> {
    let is_pair = first[0].is_string() && (first[1].is_object() || first[1].is_array());
    if !is_pair {
        return Err(Misfit::new("JSON: its records are arrays, but not `[text, …]`", &["spacy"]));
    }
    let reason = "its records are pairs `[text, {\"entities\": […]}]`";
    Ok(vec![candidate(spacy(&[]), "spacy", reason)])
}

/// The format of a tool, by the keys that only this tool writes.
fn of_a_tool(objects: &[&Map<String, Value>], container: Container) -> Option<Candidate> {
    let any = |key: &str, is: fn(&Value) -> bool| {
        objects.iter().any(|object| object.get(key).is_some_and(is))
    };
    let has = |key: &str| objects.iter().any(|object| object.contains_key(key));
    if any("conversations", Value::is_array) {
        let (merge, encoding) = (false, Encoding::default());
        let format = Format::Conversations(Conversations { container, merge, encoding });
        return Some(candidate(format, "conversations", "its records have `conversations`"));
    }
    if any("tokenized_text", Value::is_array) {
        let format = Format::Gliner(Gliner { container, ..Gliner::default() });
        return Some(candidate(format, "gliner", "its records have `tokenized_text` and `ner`"));
    }
    if any("sentence", Value::is_string) && any("entities", Value::is_array) {
        let format = Format::Instructuie(Instructuie { container, ..Instructuie::default() });
        return Some(candidate(
            format,
            "instructuie",
            "its records have `sentence` and `entities`",
        ));
    }
    if has("data") && (has("annotations") || has("completions")) {
        let text = text_key(objects.first()?.get("data")?);
        let format = Format::LabelStudio(LabelStudio { text, ..LabelStudio::default() });
        return Some(candidate(
            format,
            "label-studio",
            "its records have `data` and `annotations`",
        ));
    }
    if has("annotator") || has("annotation_id") || has("lead_time") {
        let format = Format::LabelStudio(LabelStudio::default());
        let reason = "its records have `annotator` or `lead_time`, as JSON-MIN has";
        return Some(candidate(format, "label-studio", reason));
    }
    if any("ents", Value::is_array) || any("paragraphs", Value::is_array) {
        let format = spacy(objects);
        return Some(candidate(format, "spacy", "its records have `ents` or `paragraphs`"));
    }
    let tagged = any("spans", Value::is_array);
    if tagged && (has("_task_hash") || has("_input_hash") || has("answer")) {
        let format = Format::Prodigy(Export::default());
        return Some(candidate(
            format,
            "prodigy",
            "its records have `spans` and `answer` or hashes",
        ));
    }
    of_doccano(objects).or_else(|| token_classification(objects))
}

/// doccano's rows have arrays under `label` or `labels`, or `start_offset` in their entities.
fn of_doccano(objects: &[&Map<String, Value>]) -> Option<Candidate> {
    let format = Format::Doccano(Export::default());
    let lists = |key: &'static str| {
        objects.iter().filter_map(move |object| object.get(key)?.as_array()?.first())
    };
    if lists("entities").any(|entity| entity.get("start_offset").is_some()) {
        return Some(candidate(format, "doccano", "its entities have `start_offset`"));
    }
    if ["label", "labels"].into_iter().any(|key| lists(key).any(is_triple)) {
        let reason = "its records have `[start, end, label]` under `label` or `labels`";
        return Some(candidate(format, "doccano", reason));
    }
    None
}

/// Rows of tokens and their tags, as datasets of Hugging Face have. Tags that are numbers are
/// proposed, too: the reader then says what is missing.
fn token_classification(objects: &[&Map<String, Value>]) -> Option<Candidate> {
    let first = objects.first()?;
    let lists = first.iter().filter_map(|(key, value)| Some((key, value.as_array()?)));
    let lists: Vec<(&String, &Vec<Value>)> = lists.filter(|(_, list)| !list.is_empty()).collect();
    let (tokens, words) = *lists.iter().find(|(key, list)| {
        key.contains("token") && list.iter().all(Value::is_string) || *key == "words"
    })?;
    let mut tagged: Vec<(&String, Column)> = Vec::new();
    for (key, list) in
        lists.iter().filter(|(key, list)| *key != tokens && list.len() == words.len())
    {
        let column = tag_column(objects, key);
        if column.has_tags() || list.iter().all(Value::is_u64) {
            tagged.push((key, column));
        }
    }
    // Datasets have tags of parts of speech and of chunks, too.
    let at = tagged.iter().position(|(key, _)| key.contains("ner"));
    let (tags, column) = tagged.get(at.unwrap_or(0))?;
    let reason = format!("its records have tokens `{tokens}` and as many tags `{tags}`");
    let format = Format::TokenClassification(TokenClassification {
        tokens: tokens.clone(),
        tags: (*tags).clone(),
        id: id_key(objects).unwrap_or_else(|| "id".to_owned()),
        scheme: column.scheme(),
        ..TokenClassification::default()
    });
    Some(candidate(format, "token-classification", reason))
}

fn tag_column(objects: &[&Map<String, Value>], key: &str) -> Column {
    let mut column = Column::default();
    for list in objects.iter().filter_map(|object| object.get(key)?.as_array()) {
        list.iter().filter_map(Value::as_str).for_each(|tag| column.add(tag));
        column.end_sentence();
    }
    column
}

fn is_triple(value: &Value) -> bool {
    value[0].is_u64() && value[1].is_u64() && value[2].is_string()
}

/// The key of the text in Label Studio's `data`, if it is not the reader's default: the key of the
/// longest string, if `data` has several.
fn text_key(data: &Value) -> Option<String> {
    let data = data.as_object()?;
    let strings: Vec<(&String, &str)> =
        data.iter().filter_map(|(key, value)| Some((key, value.as_str()?))).collect();
    if data.contains_key("text") || strings.len() < 2 {
        return None;
    }
    strings.into_iter().max_by_key(|(_, text)| text.len()).map(|(key, _)| key.clone())
}

/// Rows with a text and a list of spans, under any keys.
fn spans(objects: &[&Map<String, Value>]) -> Option<Candidate> {
    let (row, list, spans) = objects.iter().find_map(|object| {
        let lists = object.iter().filter_map(|(key, value)| Some((key, value.as_array()?)));
        let found = lists.filter(|(_, list)| list.first().is_some_and(is_span));
        let (key, list) = found.max_by_key(|(_, list)| list.len())?;
        Some((*object, key, list))
    })?;
    let mut keys = Jsonl { entities: list.clone(), ..Jsonl::default() };
    keys.text = text_of(row, spans)?;
    if let Some(spans) = spans.iter().map(Value::as_object).collect::<Option<Vec<_>>>() {
        [keys.start, keys.end] = offset_keys(&spans)?;
        keys.label = label_key(&spans, &row[&keys.text], &keys)?;
        keys.mention = mention_key(&spans, &keys);
    }
    keys.id = id_key(objects).unwrap_or(keys.id);
    keys.queries = queries_key(objects);
    let reason = format!(
        "its records have a text `{}` and spans `{}` (`{}`, `{}`, `{}`)",
        keys.text, keys.entities, keys.start, keys.end, keys.label
    );
    Some(candidate(Format::Jsonl(keys), "jsonl", reason))
}

fn is_span(value: &Value) -> bool {
    let numbers = |object: &Map<String, Value>| object.values().filter(|v| v.is_u64()).count();
    is_triple(value) || value.as_object().is_some_and(|object| numbers(object) >= 2)
}

/// The key of the text: `text`, or the longest string of the row.
fn text_of(row: &Map<String, Value>, spans: &[Value]) -> Option<String> {
    let strings = row.iter().filter_map(|(key, value)| Some((key, value.as_str()?)));
    let longest = strings.max_by_key(|(key, text)| (*key == "text", text.len()))?;
    (!spans.is_empty()).then(|| longest.0.clone())
}

/// The keys of start and end: two keys of numbers of which one is never larger than the other.
/// Known names are preferred to others, such as token positions.
fn offset_keys(spans: &[&Map<String, Value>]) -> Option<[String; 2]> {
    let first = spans.first()?;
    let numbers: Vec<&String> =
        first.iter().filter(|(_, value)| value.is_u64()).map(|(key, _)| key).collect();
    let known = [
        ("start", "end"),
        ("start_offset", "end_offset"),
        ("start_char", "end_char"),
        ("begin", "end"),
        ("from", "to"),
        ("offset_start", "offset_end"),
        ("start", "stop"),
    ];
    let has = |key: &str| numbers.iter().any(|number| *number == key);
    if let Some((start, end)) = known.into_iter().find(|(start, end)| has(start) && has(end)) {
        return Some([start.to_owned(), end.to_owned()]);
    }
    let ordered = |a: &str, b: &str| {
        spans.iter().all(|span| {
            matches!((span.get(a).and_then(Value::as_u64), span.get(b).and_then(Value::as_u64)), (Some(a), Some(b)) if a < b)
        })
    };
    let pairs = numbers.iter().flat_map(|a| numbers.iter().map(move |b| (*a, *b)));
    let found: Vec<(&String, &String)> = pairs.filter(|(a, b)| ordered(a, b)).collect();
    match found[..] {
        [(start, end)] => Some([start.clone(), end.clone()]),
        _ => None,
    }
}

/// The key of the label: a known name, or the string that is not a mention of the text.
fn label_key(spans: &[&Map<String, Value>], text: &Value, keys: &Jsonl) -> Option<String> {
    let first = spans.first()?;
    let known =
        ["label", "labels", "type", "entity_type", "tag", "category", "class", "entity_group"];
    if let Some(key) = known
        .into_iter()
        .find(|key| first.get(*key).is_some_and(|value| value.is_string() || value.is_array()))
    {
        return Some(key.to_owned());
    }
    let text = text.as_str()?;
    let strings = first.iter().filter(|(key, _)| **key != keys.start && **key != keys.end);
    let others: Vec<&String> = strings
        .filter(|(_, value)| value.as_str().is_some_and(|value| !text.contains(value)))
        .map(|(key, _)| key)
        .collect();
    (others.len() == 1).then(|| others[0].clone())
}

/// The key of the mention, if its strings are the text at the spans; else the default, which is
/// optional.
fn mention_key(spans: &[&Map<String, Value>], keys: &Jsonl) -> String {
    let default = Jsonl::default().mention;
    let Some(first) = spans.first() else { return default };
    let known = ["text", "mention", "word", "entity", "name", "value", "surface", "span_text"];
    let is_other =
        |key: &&&str| **key != keys.label && first.get(**key).is_some_and(Value::is_string);
    known.iter().find(is_other).map_or(default, |key| (*key).to_owned())
}

/// The key of identifiers, if all rows have it.
fn id_key(objects: &[&Map<String, Value>]) -> Option<String> {
    let known = ["id", "_id", "uid", "doc_id", "document_id", "guid"];
    let has = |key: &&&str| {
        objects
            .iter()
            .all(|object| object.get(**key).is_some_and(|v| v.is_string() || v.is_number()))
    };
    known.iter().find(has).map(|key| (*key).to_owned())
}

/// The key of the types that were asked, as `uner` writes it.
fn queries_key(objects: &[&Map<String, Value>]) -> Option<String> {
    let is_list =
        |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    let has = |object: &&Map<String, Value>| object.get("queries").is_some_and(is_list);
    objects.iter().all(has).then(|| "queries".to_owned())
}

/// Rows with a text, one label and the list of its mentions, under any keys.
fn queries(objects: &[&Map<String, Value>]) -> Option<Candidate> {
    let first = objects.first()?;
    let is_answer = |key: &String| {
        objects.iter().all(|object| match object.get(key) {
            Some(Value::Array(list)) => list.iter().all(Value::is_string),
            Some(Value::String(list)) => serde_json::from_str::<Vec<String>>(list).is_ok(),
            _ => false,
        })
    };
    let answers: Vec<&String> = first.keys().filter(|key| is_answer(key)).collect();
    let [answer] = answers[..] else { return None };
    let mean_len = |key: &String| {
        let lengths = objects.iter().map(|object| object.get(key).and_then(Value::as_str));
        lengths.map(|text| text.map(str::len)).sum::<Option<usize>>()
    };
    let mentions = |object: &Map<String, Value>| -> Vec<String> {
        match object.get(answer) {
            Some(Value::String(list)) => serde_json::from_str(list).unwrap_or_default(),
            Some(list) => serde_json::from_value(list.clone()).unwrap_or_default(),
            None => Vec::new(),
        }
    };
    // The text contains the mentions, in whatever case and white space.
    let num_found = |key: &String| {
        let found = |object: &&&Map<String, Value>| {
            let text = object.get(key).and_then(Value::as_str).unwrap_or_default();
            !mentions(object).is_empty()
                && mentions(object).iter().all(|m| text.contains(m.as_str()))
        };
        objects.iter().filter(found).count()
    };
    let strings: Vec<&String> =
        first.keys().filter(|key| *key != answer && mean_len(key).is_some()).collect();
    let text = *strings.iter().max_by_key(|key| (num_found(key), mean_len(key)))?;
    let labels = strings.iter().filter(|key| **key != text && is_label(key));
    let label = (*labels.min_by_key(|key| mean_len(key))?).clone();
    let reason =
        format!("its records have a text `{text}`, a type `{label}` and a list `{answer}`");
    let (text, answer) = (text.clone(), answer.clone());
    let format = Format::Queries(Queries { text, label, answer, encoding: Encoding::default() });
    Some(candidate(format, "queries", reason))
}

/// Whether a key may name a type, and not an identifier.
fn is_label(key: &str) -> bool {
    let key = key.to_lowercase();
    !key.contains("id") || key.contains("label") || key.contains("type")
}
