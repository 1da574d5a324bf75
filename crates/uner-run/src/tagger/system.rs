//! A token classifier as a system that is measured.

use std::path::Path;

use anyhow::Result;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use uner_data::{Entity, Example, FoundEntity, Span};
use uner_eval::system::{OnAnswered, Questions};
use uner_eval::{Answer, EvalError, System};
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_model::bert::{BertConfig, EncoderContext, TokenClassifier};
use uner_trainer::Batch;
use uner_trainer::data::sequence::Sequence;

use super::encode::{Encoder, TagSet, Window, Word, words};

/// Most tokens of a batch, padding included.
const BATCH_TOKENS: usize = 4096;

/// A trained token classifier.
#[derive(Debug)]
pub struct Tagger {
    pub(super) config: BertConfig,
    pub(super) encoder: Encoder,
    pub(super) tags: TagSet,
}

/// A token classifier that is measured.
#[derive(Debug)]
pub struct TaggerSystem<'a> {
    /// Its name in reports.
    pub name: String,
    /// Labels and tokenizer.
    pub tagger: &'a Tagger,
    /// The weights.
    pub model: &'a TokenClassifier,
}

/// The class of a word, and its probability.
type Class = (i32, f64);

impl Tagger {
    /// Reads a checkpoint of a token classifier.
    ///
    /// # Errors
    /// When the folder is damaged, or not one of a classifier of BIO tags.
    pub fn load(folder: &Path, device: &Device) -> Result<(Self, TokenClassifier)> {
        uner_model::folder::verify(folder)?;
        let (config, model) = uner_model::bert::load(folder, device)?;
        Ok((Self::open(folder, config)?, model))
    }

    /// The tokenizer of a folder, and the labels of a configuration. Texts are read in windows as
    /// long as the encoder allows.
    pub(super) fn open(folder: &Path, config: BertConfig) -> Result<Self> {
        Ok(Self {
            encoder: Encoder::open(folder, config.max_position_embeddings)?,
            tags: TagSet::of_labels(&config.labels())?,
            config,
        })
    }

    /// The entities of texts, in order.
    fn entities(&self, model: &TokenClassifier, texts: &[&str]) -> Result<Vec<Vec<FoundEntity>>> {
        let words: Vec<Vec<Word>> = texts.iter().map(|text| words(text)).collect();
        let mut classes: Vec<Vec<Class>> =
            words.iter().map(|words| vec![(0, 1.0); words.len()]).collect();
        let mut windows = Vec::new();
        for (text, words) in words.iter().enumerate() {
            let of_text = self.encoder.windows(words)?;
            windows.extend(of_text.into_iter().map(|window| (text, window)));
        }
        // Windows of similar length need little padding.
        windows.sort_by_key(|(text, window)| (window.ids.len(), *text));
        let mut rest = windows.as_slice();
        while !rest.is_empty() {
            let fits = |count: &usize| count * rest[count - 1].1.ids.len() <= BATCH_TOKENS;
            let count = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
            let (batch, others) = rest.split_at(count);
            self.classify(model, batch, &mut classes);
            rest = others;
        }
        let of_text = texts.iter().zip(&words).zip(&classes);
        Ok(of_text.map(|((text, words), classes)| self.found(text, words, classes)).collect())
    }

    /// Computes the most probable class of each word of some windows.
    fn classify(
        &self,
        model: &TokenClassifier,
        windows: &[(usize, Window)],
        classes: &mut [Vec<Class>],
    ) {
        let row = |(_, window): &(usize, Window)| {
            let labels = vec![IGNORE_INDEX; window.ids.len()];
            vec![Sequence::new(window.ids.clone(), labels)]
        };
        let batch = Batch::new(&windows.iter().map(row).collect::<Vec<_>>());
        let length = batch.ids.len() / batch.rows;
        let firsts = |(row, (_, window)): (usize, &(usize, Window))| {
            let offset = row * length;
            window.firsts.iter().map(move |(_, index)| (offset + index) as i32).collect::<Vec<_>>()
        };
        let at: Vec<i32> = windows.iter().enumerate().flat_map(firsts).collect();
        let Batch { positions, document, rows, .. } = &batch;
        let context =
            EncoderContext::new(&self.config, positions, document, *rows, &model.device());
        let logits = model.logits(model.words(&batch.ids), &context, &at);
        let probabilities = values(softmax(logits, 1));
        let labels = self.config.id2label.len();
        let mut found = probabilities.chunks(labels).map(|of_word| {
            let best = (0..labels).max_by(|&a, &b| of_word[a].total_cmp(&of_word[b]));
            let best = best.expect("a classifier has labels");
            (best as i32, f64::from(of_word[best]))
        });
        for (text, window) in windows {
            for &(word, _) in &window.firsts {
                classes[*text][word] = found.next().expect("a row of logits for each word");
            }
        }
    }

    /// The entities of one text. The probability is the product of those of the tags.
    fn found(&self, text: &str, words: &[Word], classes: &[Class]) -> Vec<FoundEntity> {
        let numbers: Vec<i32> = classes.iter().map(|(class, _)| *class).collect();
        let entities = self.tags.entities(&numbers).into_iter();
        let entity = |(entity_type, range): (&str, std::ops::Range<usize>)| {
            let (start, end) = (words[range.start].span.start, words[range.end - 1].span.end);
            FoundEntity {
                entity: Entity {
                    text: text.chars().skip(start).take(end - start).collect(),
                    entity_type: entity_type.to_owned(),
                    span: Some(Span { start, end }),
                },
                probability: Some(classes[range].iter().map(|(_, each)| each).product()),
            }
        };
        entities.map(entity).collect()
    }
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("floats that the device computed")
}

impl System for TaggerSystem<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn answer(
        &mut self,
        Questions { examples, .. }: Questions,
        answered: &mut OnAnswered,
    ) -> Result<Vec<Vec<Answer>>, EvalError> {
        let texts: Vec<&str> = examples.iter().map(|example| example.text.as_str()).collect();
        let found = self.tagger.entities(self.model, &texts);
        let found = found.map_err(|error| EvalError::System(error.into()))?;
        let answers = |(example, found): (&Example, Vec<FoundEntity>)| {
            let of_type = |entity_type: &String| {
                let is_of_type = |found: &&FoundEntity| found.entity.entity_type == *entity_type;
                Answer::of_entities(entity_type, found.iter().filter(is_of_type).cloned().collect())
            };
            example.queries.iter().map(of_type).collect()
        };
        let answers: Vec<Vec<Answer>> = examples.iter().zip(found).map(answers).collect();
        if answered(answers.iter().map(Vec::len).sum()).is_break() {
            return Err(EvalError::Stopped);
        }
        Ok(answers)
    }
}
