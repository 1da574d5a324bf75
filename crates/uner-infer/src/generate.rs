//! Greedy decoding of many prompts at once with a KV cache.

use burn::tensor::{Device, Tensor};
use uner_kernels::Visibility;
use uner_kernels::attention::PADDING;
use uner_model::{Context, KvCache, Llama, LlamaConfig};

/// A model that continues prompts.
#[derive(Debug, Clone, Copy)]
pub struct Generator<'a> {
    /// The model.
    pub model: &'a Llama,
    /// Its dimensions.
    pub config: &'a LlamaConfig,
}

/// The model's logits are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model's logits are infinite or not numbers (NaN): its weights are damaged, or too large for its precision; `uner probe` \
     writes logits and gradients to compare"
)]
pub struct NotFinite {
    /// Index of the prompt.
    pub row: usize,
}

/// The rows of a batch while they grow. Shorter prompts are padded on the left, so that all grow at
/// the same index.
struct Rows {
    document: Vec<Vec<i32>>,
    positions: Vec<i32>,
}

impl Generator<'_> {
    /// Continues each prompt greedily, by at most `max_new_tokens` tokens. Stops before a token for
    /// which `ends` is true. The first of equally probable tokens wins.
    ///
    /// # Errors
    /// [`NotFinite`], for the first row that has not ended and whose logits are not finite.
    ///
    /// # Panics
    /// When a prompt is empty.
    pub fn greedy(
        &self,
        prompts: &[Vec<u32>],
        max_new_tokens: usize,
        ends: impl Fn(u32) -> bool,
    ) -> Result<Vec<Vec<u32>>, NotFinite> {
        let mut answers = vec![Vec::new(); prompts.len()];
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        if prompts.is_empty() || max_new_tokens == 0 {
            return Ok(answers);
        }
        assert!(prompts.iter().all(|prompt| !prompt.is_empty()), "a prompt has at least one token");
        let device = self.model.head().device();
        let mut cache = self.model.cache(self.config, prompts.len(), longest + max_new_tokens);
        let mut rows = Rows::new(prompts, longest);
        let mut finished = vec![false; prompts.len()];
        let logits = self.prefill(prompts, longest, &rows, &mut cache, &device);
        let mut next = most_probable(logits, &finished)?;
        for new_tokens in 1..=max_new_tokens {
            for ((answer, finished), &token) in answers.iter_mut().zip(&mut finished).zip(&next) {
                *finished = *finished || ends(token);
                if !*finished {
                    answer.push(token);
                }
            }
            if new_tokens == max_new_tokens || finished.iter().all(|finished| *finished) {
                break;
            }
            rows.grow();
            let ids: Vec<i32> = next.iter().map(|&token| token as i32).collect();
            let context = rows.context(self.config, &rows.positions, &device);
            let hidden = self.model.hidden(&ids, &context, Some(&mut cache.layers));
            next = most_probable(self.model.logits(hidden), &finished)?;
        }
        Ok(answers)
    }

    /// Fills the cache with all prompts and returns the logits of each prompt's first new token,
    /// `[n, vocab]`.
    fn prefill(
        &self,
        prompts: &[Vec<u32>],
        longest: usize,
        rows: &Rows,
        cache: &mut KvCache,
        device: &Device,
    ) -> Tensor<2> {
        let mut ids = Vec::with_capacity(prompts.len() * longest);
        let mut positions = Vec::with_capacity(ids.capacity());
        for prompt in prompts {
            let padding = longest - prompt.len();
            ids.extend(std::iter::repeat_n(0, padding).chain(prompt.iter().map(|&id| id as i32)));
            positions.extend(std::iter::repeat_n(0, padding).chain(0..prompt.len() as i32));
        }
        let context = rows.context(self.config, &positions, device);
        let hidden = self.model.hidden(&ids, &context, Some(&mut cache.layers));
        let width = self.config.hidden_size;
        let last = hidden.reshape([prompts.len(), longest, width]).narrow(1, longest - 1, 1);
        self.model.logits(last.reshape([prompts.len(), width]))
    }
}

impl Rows {
    fn new(prompts: &[Vec<u32>], longest: usize) -> Self {
        let document = |prompt: &Vec<u32>| {
            let padding = std::iter::repeat_n(PADDING, longest - prompt.len());
            padding.chain(std::iter::repeat_n(0, prompt.len())).collect()
        };
        Self {
            document: prompts.iter().map(document).collect(),
            positions: prompts.iter().map(|prompt| prompt.len() as i32 - 1).collect(),
        }
    }

    fn grow(&mut self) {
        self.document.iter_mut().for_each(|row| row.push(0));
        self.positions.iter_mut().for_each(|position| *position += 1);
    }

    fn context<'a>(
        &self,
        config: &'a LlamaConfig,
        positions: &[i32],
        device: &Device,
    ) -> Context<'a> {
        let rows = self.document.len();
        let visibility = Visibility::packed(&self.document.concat(), rows, device);
        Context::new(config, positions, rows, visibility, device)
    }
}

/// The index of the largest entry in each row of `logits`, `[n, vocab]`; the first of equal ones.
/// Rows that are `finished` get any index.
fn most_probable(logits: Tensor<2>, finished: &[bool]) -> Result<Vec<u32>, NotFinite> {
    let [_, vocab] = logits.dims();
    let values: Vec<f32> = logits.try_into_vec_as().expect("logits are floats");
    let is_finite = |row: &[f32]| {
        row.chunks(1024).all(|group| group.iter().fold(true, |all, value| all & value.is_finite()))
    };
    let largest = |(row, (values, finished)): (usize, (&[f32], &bool))| {
        if !finished && !is_finite(values) {
            return Err(NotFinite { row });
        }
        let pairs = values.iter().enumerate();
        let first = pairs.reduce(|best, next| if next.1 > best.1 { next } else { best });
        Ok(first.map_or(0, |(index, _)| index as u32))
    };
    values.chunks_exact(vocab).zip(finished).enumerate().map(largest).collect()
}
