//! `uner import`: a GGUF file as a model folder.

use anyhow::Result;
use safetensors::Dtype;
use uner_infer::import;
use uner_model::gguf::Gguf;

use super::export::refuse_existing;
use crate::args::ImportArgs;

pub(crate) fn run(args: &ImportArgs) -> Result<()> {
    refuse_existing(&args.output, "folder")?;
    let file = Gguf::open(&args.file)?;
    let [name, licence] = file.origin();
    let kinds: Vec<String> =
        file.kinds().into_iter().map(|(kind, count)| format!("{count} of {kind}")).collect();
    tracing::info!(
        "`{}`: {}, licence {}; tensors: {}",
        args.file.display(),
        name.unwrap_or("a model without a name"),
        licence.unwrap_or("not named"),
        kinds.join(", ")
    );
    let dtype = args.dtype.unwrap_or_else(|| file.dtype());
    import(&file, dtype, args.max_shard_size, &args.output)?;
    if dtype == Dtype::BF16 && file.dtype() != Dtype::BF16 {
        tracing::warn!(
            "the weights are rounded to bf16; `--dtype f32` keeps them, in twice the bytes"
        );
    }
    tracing::info!("wrote `{}`", args.output.display());
    Ok(())
}
