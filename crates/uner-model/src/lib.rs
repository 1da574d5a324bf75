//! LLaMA: the model, its KV cache, and Hugging Face weights in and out.
