//! `uner export`: a trained model as a folder, or a file, that other programs read.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use safetensors::Dtype;
use uner_infer::Export;
use uner_model::adapter::{CONFIG_FILE, base_format_of, base_of};
use uner_model::weights;
use uner_run::card;
use uner_run::lock::refuse_in_use;

use crate::args::ExportArgs;
use crate::model::find;

pub(crate) fn run(args: &ExportArgs) -> Result<()> {
    refuse_in_use(&args.model)?;
    let (folder, named) = find(&args.model, args.base.as_deref(), &args.accept_licence)?;
    let is_adapter = folder.join(CONFIG_FILE).exists();
    if args.merge && !is_adapter {
        bail!(
            "`{}` is not an adapter, so there is nothing to merge; leave out `--merge`",
            folder.display()
        );
    }
    uner_model::folder::verify(&folder)?;
    let base = match (named, is_adapter) {
        (Some(base), _) => Some(base),
        (None, true) if args.merge => base_of(&folder)?,
        (None, true) => base_of(&folder).ok().flatten(),
        (None, false) => None,
    };
    if args.merge && base_format_of(&folder)?.is_some() {
        tracing::warn!(
            "the adapter was trained on a quantised base and is merged into the unquantised \
             weights: outputs differ by the quantisation error"
        );
    }
    if args.merge {
        warn_of_rounding(args, base.as_deref().unwrap_or(&folder))?;
    }
    // A GGUF file has none.
    let title = args.output.as_deref().and_then(Path::file_name);
    let card = match title {
        Some(title) => card(&folder, &title.to_string_lossy(), args.merge)?,
        None => None,
    };
    let export = Export {
        folder: &folder,
        base: base.as_deref(),
        merge: args.merge,
        dtype: args.dtype,
        max_shard_bytes: args.max_shard_size,
        card: card.as_deref(),
    };
    let output = match (&args.gguf, &args.output) {
        (Some(file), _) => {
            refuse_existing(file, "file")?;
            ensure!(
                !is_adapter || args.merge,
                "`{}` is an adapter, and a GGUF file holds a whole model; add `--merge`",
                folder.display()
            );
            export.to_gguf(file)?;
            file
        }
        (None, Some(output)) => {
            refuse_existing(output, "folder")?;
            export.to_folder(output)?;
            output
        }
        (None, None) => bail!("name what to write: `--output DIR`, or `--gguf OUT.gguf`"),
    };
    tracing::info!("wrote `{}`", output.display());
    Ok(())
}

/// Warns if merging rounds weights: it writes them as `--dtype`, or in the type of the base.
fn warn_of_rounding(args: &ExportArgs, base: &Path) -> Result<()> {
    let dtype = match args.dtype {
        Some(dtype) => dtype,
        None => weights::dtype_of(&weights::read_config(base)?, &base.join("config.json"))?,
    };
    if dtype != Dtype::F32 {
        tracing::warn!(
            "the merged weights are rounded to {dtype:?}: logits may differ by tenths from those \
             of the adapter on its base; `--dtype f32` keeps them, in twice the bytes"
        );
    }
    Ok(())
}

/// Refuses to overwrite an existing `what`.
pub(crate) fn refuse_existing(output: &Path, what: &str) -> Result<()> {
    ensure!(!output.exists(), "`{}` exists; name a {what} that does not", output.display());
    Ok(())
}
