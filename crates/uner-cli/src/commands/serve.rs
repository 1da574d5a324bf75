//! `uner serve`: models behind HTTP.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use uner_infer::trained_types;
use uner_model::folder::is_checkpoint_name;
use uner_serve::{ApiKeys, Config, Limits, Served, bind};

use crate::Ending;
use crate::args::serve::ServeArgs;
use crate::model::{self, find};
use crate::terminal::interrupt;

/// The environment variable with API keys.
const KEYS: &str = "UNER_API_KEYS";

pub(crate) fn run(args: &ServeArgs) -> Result<Ending> {
    let keys = keys(args)?;
    let has_keys = !keys.is_empty();
    let server = bind(Config {
        address: args.listen,
        keys,
        origins: origins(args)?,
        limits: Limits {
            queue: args.queue.get() as usize,
            body: args.max_body,
            types: args.max_types.get(),
            time: Duration::from_secs(args.timeout.get().into()),
            ..Limits::default()
        },
        logs_texts: args.log_texts,
    })?;
    let address = server.address()?;
    let stop = server.stop();
    interrupt::stop_with(move || stop.stop())?;
    if !has_keys && !address.ip().is_loopback() {
        tracing::warn!("everybody who reaches {address} may ask: there are no API keys");
    }
    server.run(|| models(args), || tracing::info!("http://{address} answers"))?;
    tracing::info!("stopped");
    Ok(Ending::Done)
}

fn keys(args: &ServeArgs) -> Result<ApiKeys> {
    match (&args.api_keys, std::env::var_os(KEYS)) {
        (Some(file), _) => Ok(ApiKeys::from_file(file)?),
        // Bytes that are not text make a key unusable; without keys, everybody could ask.
        (None, Some(list)) => Ok(ApiKeys::from_list(&list.to_string_lossy(), KEYS)?),
        (None, None) => Ok(ApiKeys::default()),
    }
}

/// The origins that may read answers. One with a path would never match.
fn origins(args: &ServeArgs) -> Result<Vec<String>> {
    for origin in &args.allow_origin {
        let host = origin.split_once("://").map(|(_, host)| host);
        ensure!(
            origin == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains('/')),
            "`--allow-origin {origin}`: an origin is a scheme and a host, such as \
             `https://example.org`, without a path"
        );
    }
    Ok(args.allow_origin.clone())
}

/// Reads all models, the default first.
fn models(args: &ServeArgs) -> Result<Vec<Served>> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&args.model)?,
    };
    let others = args.adapter.iter().map(|named| (named.name.clone(), named.folder.as_path()));
    let mut models: Vec<Served> = Vec::new();
    for (name, folder) in std::iter::once((name, args.model.as_path())).chain(others) {
        tracing::info!("loading `{name}` from `{}`", folder.display());
        let predictor = model::load(folder, &args.options)?;
        let predictor = models.iter().fold(predictor, |own, other| own.sharing(&other.predictor));
        let (found, _) = find(folder, None, &args.options.accept_licence)?;
        models.push(Served { name, predictor, entity_types: trained_types(&found)? });
    }
    Ok(models)
}

/// The name of a model: that of its run, or of its folder.
fn name_of(model: &Path) -> Result<String> {
    let absolute = std::path::absolute(model)?;
    let mut names = absolute.iter().rev().map(|part| part.to_string_lossy());
    let name =
        names.find(|name| !is_checkpoint_name(name)).context("a model's folder has a name")?;
    Ok(name.into_owned())
}
