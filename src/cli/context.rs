//! What every verb starts from: the field folder, its settings, the backbone.

use super::args::{Choice, Common};
use super::exit::Usage;
use super::output::Output;
use anyhow::Result;
use fieldhead::backbone::{self, Backbone, Found, find};
use fieldhead::config::{FILE_NAME, Settings};
use fieldhead::features::{FeatureSet, Recipe};
use fieldhead::head::Request;
use fieldhead::pipeline::{self, Embedder, PipelineError};
use fieldhead::preprocess::{Fit, Modality};
use fieldhead::source::{Clock, folder};
use fieldhead::store::{Store, StoreError};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The most files of a folder that are looked at to tell what it holds.
const LOOKED_AT: usize = 16;

/// What most of some files hold, looking at a few from everywhere among them. Of as many, what bears the mark of its kind goes before
/// what only looks like numbers.
fn most_of(files: &[&Path]) -> Option<Modality> {
    let step = files.len().div_ceil(LOOKED_AT).max(1);
    let kind = |path: &&Path| Modality::of(&folder::read(path).ok()?);
    let kinds: Vec<Modality> = files.iter().step_by(step).filter_map(kind).collect();
    let count = |kind: &Modality| {
        let marked = !matches!(kind, Modality::Window { .. });
        (kinds.iter().filter(|other| *other == kind).count(), marked)
    };
    kinds.iter().copied().rev().max_by_key(count)
}

#[derive(Clone)]
pub struct Context {
    pub folder: PathBuf,
    pub settings: Settings,
    pub out: Output,
    /// Folders in which backbones are looked for.
    pub search: Vec<PathBuf>,
    /// What the command line names: a backbone, a fit, features.
    asked: Option<String>,
    asked_fit: Option<Choice<Fit>>,
    asked_set: Option<Choice<FeatureSet>>,
    /// The kernel that `FIELDHEAD_KERNEL` names.
    kernel: Option<String>,
    pub threads: usize,
    /// Monotonic time since the program began.
    pub clock: Clock,
}

impl Context {
    pub fn new(common: &Common) -> Result<Context> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match common.threads {
            0 => cores,
            n => n.into(),
        };
        // This thread is of the pool, so that what it shares out need not wake another one first.
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .use_current_thread()
            .build_global()?;
        let context = Context {
            folder: common.field.clone(),
            settings: Settings::default(),
            out: Output::new(common.json),
            search: search_path(),
            asked: common.backbone.clone(),
            asked_fit: common.fit,
            asked_set: common.set,
            kernel: std::env::var("FIELDHEAD_KERNEL")
                .ok()
                .filter(|name| !name.is_empty()),
            threads,
            clock: clock(),
        };
        context.with_settings_of_field()
    }

    /// This context with the settings of the field, as they are by now, and what the command line names instead.
    fn with_settings_of_field(mut self) -> Result<Context> {
        let mut settings = Settings::load(&self.folder)?;
        if let Some(backbone) = &self.asked {
            settings.backbone.clone_from(backbone);
        }
        settings.fit = self.asked_fit.map_or(settings.fit, |choice| choice.0);
        settings.features = self.asked_set.map_or(settings.features, |choice| choice.0);
        self.settings = settings;
        Ok(self)
    }

    /// This context with other results than those on stdout.
    pub fn with_output(&self, out: Output) -> Context {
        let mut context = self.clone();
        context.out = out;
        context
    }

    /// This context with the settings as the field has them by now; as it is where there is no field.
    pub fn reloaded(&self) -> Result<Context> {
        match self.folder.join(FILE_NAME).exists() {
            true => self.clone().with_settings_of_field(),
            false => Ok(self.clone()),
        }
    }

    /// This context for a new field of such files: where nothing names a backbone, by the built-in one that takes them.
    pub fn suited<'a>(&self, files: impl Iterator<Item = &'a Path>) -> Result<Context> {
        match self.folder.join(FILE_NAME).exists() {
            true => Ok(self.clone()),
            false => self.suited_anyway(files),
        }
    }

    /// This context for such files, whatever the field holds: where the command line names no backbone, and that of the settings takes
    /// something else, by the built-in one that takes them.
    pub fn suited_anyway<'a>(&self, files: impl Iterator<Item = &'a Path>) -> Result<Context> {
        match most_of(&files.collect::<Vec<_>>()) {
            Some(kind) => self.with_built_in(kind),
            None => Ok(self.clone()),
        }
    }

    /// As [`Context::suited`], for what a source gives.
    pub fn suited_to(&self, kind: Modality) -> Result<Context> {
        match self.folder.join(FILE_NAME).exists() {
            true => Ok(self.clone()),
            false => self.with_built_in(kind),
        }
    }

    fn with_built_in(&self, kind: Modality) -> Result<Context> {
        let mut context = self.clone();
        match (&self.asked, self.found()?.card.modality.check(kind)) {
            (Some(_), taken) => taken?,
            (None, Err(_)) => context.settings.backbone = find::usual_for(kind),
            (None, Ok(())) => {}
        }
        Ok(context)
    }

    /// Whether the command line names a backbone.
    pub fn names_backbone(&self) -> bool {
        self.asked.is_some()
    }

    /// The backbone of the settings or of the command line.
    pub fn found(&self) -> Result<Found> {
        Ok(find::find(&self.settings.backbone, &self.search)?)
    }

    /// The backbone of the settings, loaded, with the view of the settings; what they leave to the samples is as by default.
    pub fn embedder(&self) -> Result<Embedder> {
        Ok(self.embedder_of(&self.found()?, &self.recipe()?)?)
    }

    /// Says once which operators of the backbone have no integer step: they are slower, not wrong.
    fn name_floats(&self, embedder: &Embedder) {
        if let Some(floats) = in_floats(embedder.backbone()) {
            let name = &embedder.recipe().backbone;
            self.out.note(format!("{name} runs in floats: {floats}"));
        }
    }

    /// The recipe of the settings; what they leave to the samples is as by default. Reads the card, not the model.
    pub fn recipe(&self) -> Result<Recipe> {
        Ok(self.candidates()?.swap_remove(0))
    }

    /// The recipes that the settings leave to choose from, first the one that is taken without evidence.
    pub fn candidates(&self) -> Result<Vec<Recipe>> {
        let card = self.found()?.card;
        let fit = chosen(self.asked_fit).filter(|fit| *fit != Fit::Squash);
        if let (Modality::Window { .. }, Some(fit)) = (card.modality, fit) {
            let name = &card.name;
            let what = format!(
                "{name} sees windows in one way, and fit {fit} is for pictures; leave --fit out"
            );
            return Err(Usage(what).into());
        }
        let Settings { fit, features, .. } = self.settings;
        Ok(pipeline::candidates_for(&card, fit, features))
    }

    /// The recipes that a head was chosen from, when it was trained by `request` and sees by `recipe`.
    pub fn candidates_for(&self, recipe: &Recipe, request: &Request) -> Result<Vec<Recipe>> {
        self.check_asked(recipe)?;
        let card = self.found_for(recipe)?.card;
        Ok(pipeline::candidates_for(&card, request.fit, request.set))
    }

    /// The embedder that a head needs.
    pub fn embedder_for(&self, recipe: &Recipe) -> Result<Embedder, PipelineError> {
        self.embedder_of(&self.found_for(recipe)?, recipe)
    }

    /// Refuses another backbone, fit or features on the command line than those of a head's recipe.
    pub fn check_asked(&self, recipe: &Recipe) -> Result<(), PipelineError> {
        let other = |option, head: &dyn Display, given: &dyn Display| PipelineError::OtherView {
            option,
            head: head.to_string(),
            given: given.to_string(),
        };
        if let Some(name) = &self.asked {
            pipeline::check_backbone(&find::find(name, &self.search)?, recipe)?;
        }
        match (chosen(self.asked_fit), chosen(self.asked_set)) {
            (Some(fit), _) if fit != recipe.view.fit => Err(other("--fit", &recipe.view.fit, &fit)),
            (_, Some(set)) if set != recipe.set => Err(other("--features", &recipe.set, &set)),
            _ => Ok(()),
        }
    }

    /// Every backbone that is installed, and the one named on the command line.
    pub fn installed(&self) -> Result<Vec<Found>> {
        let mut all = find::installed(&self.search);
        if let Some(name) = &self.asked {
            let named = find::find(name, &self.search)?;
            if !all.iter().any(|it| it.card.sha256 == named.card.sha256) {
                all.push(named);
            }
        }
        Ok(all)
    }

    /// The backbone named on the command line, or the one with the recipe's hash.
    fn found_for(&self, recipe: &Recipe) -> Result<Found, PipelineError> {
        if let Some(name) = &self.asked {
            return Ok(find::find(name, &self.search)?);
        }
        find::installed(&self.search)
            .into_iter()
            .chain(find::find(&self.settings.backbone, &self.search))
            .chain(find::find(&recipe.backbone, &self.search))
            .find(|found| found.card.sha256 == recipe.backbone_hash)
            .ok_or_else(|| PipelineError::NotInstalled {
                backbone: recipe.backbone.clone(),
                hash: backbone::short(&recipe.backbone_hash),
            })
    }

    /// The embedder of a backbone for a recipe.
    pub fn embedder_of(&self, found: &Found, recipe: &Recipe) -> Result<Embedder, PipelineError> {
        let embedder = Embedder::for_recipe(found, recipe, self.kernel.as_deref())?;
        self.name_floats(&embedder);
        Ok(embedder)
    }

    pub fn open(&self) -> Result<Store> {
        Ok(Store::open(&self.folder)?)
    }

    /// Opens the field for writing when there is one.
    pub fn open_if_there(&self) -> Result<Option<Store>> {
        match Store::open(&self.folder) {
            Ok(store) => Ok(Some(store)),
            Err(StoreError::Missing(_)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    pub fn open_read_only(&self) -> Result<Store> {
        Ok(Store::open_read_only(&self.folder)?)
    }

    /// Opens the field for what seldom has to store anything: for writing, or, beside a writer and on a disk that takes nothing, for
    /// reading.
    pub fn open_to_look(&self) -> Result<Store> {
        match Store::open(&self.folder) {
            Err(StoreError::InUse(_) | StoreError::ReadOnly(_)) => self.open_read_only(),
            other => Ok(other?),
        }
    }

    /// Opens the field, making it with the settings of this call when it is not there.
    pub fn create(&self) -> Result<Store> {
        let store = Store::create(&self.folder, now_us())?;
        self.settings.write_if_absent(&self.folder)?;
        Ok(store)
    }
}

/// What the command line fixes; `auto` fixes nothing.
fn chosen<T>(asked: Option<Choice<T>>) -> Option<T> {
    asked.and_then(|choice| choice.0)
}

/// `FIELDHEAD_MODELS`, `./models`, `/usr/share/fieldhead/models`.
fn search_path() -> Vec<PathBuf> {
    let mut path: Vec<PathBuf> = std::env::var_os("FIELDHEAD_MODELS")
        .map(|value| std::env::split_paths(&value).collect())
        .unwrap_or_default();
    path.push("models".into());
    path.push("/usr/share/fieldhead/models".into());
    path
}

fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed().as_micros() as u64)
}

/// Microseconds since 1970-01-01 UTC; 0 on a board whose clock was never set before that.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

/// The first node that runs in floats, and how many more there are.
pub fn in_floats(backbone: &Backbone) -> Option<String> {
    let left = backbone.left_in_floats();
    let first = left.first()?;
    Some(match left.len() - 1 {
        0 => first.clone(),
        more => format!("{first}, and {more} more"),
    })
}

#[cfg(test)]
impl Context {
    /// A field in a folder, with the backbones of the repository and one way to see pictures.
    pub fn of(folder: &std::path::Path) -> Context {
        let settings = Settings {
            fit: Some(fieldhead::preprocess::Fit::Squash),
            features: Some(fieldhead::features::FeatureSet::Final),
            ..Settings::default()
        };
        Context {
            folder: folder.into(),
            settings,
            out: Output::new(true),
            search: vec![concat!(env!("CARGO_MANIFEST_DIR"), "/models").into()],
            asked: None,
            asked_fit: None,
            asked_set: None,
            kernel: None,
            threads: 1,
            clock: clock(),
        }
    }
}
