//! The way of the data: the only file that knows the order of the rooms.
//!
//! Owns: picture → features ([`Embedder`]), samples into the store ([`take_in`], [`add`]), samples out of it as a training set
//! ([`training_set`]), and the changes of the head ([`train`], [`correct`], [`relabel`], [`forget`]). Does not own: any arithmetic,
//! any file, any printing.
//!
//! Invariant: a change is computed first and committed last, in one transaction; a failure on the way leaves the field as it was.

use crate::backbone::{Backbone, BackboneError, Found};
use crate::config::Settings;
use crate::features::{FeatureError, FeatureSet, Hash, Recipe};
use crate::head::{self, Head, HeadError, Request, Samples};
use crate::label::{self, LabelError};
use crate::learn::{self, LearnError, Report};
use crate::preprocess::{self, Fit, Image, PreprocessError};
use crate::source::Payload;
use crate::store::{HeadRecord, NewSample, Origin, Photo, Rows, Sample, Store, StoreError};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The most bytes one kept picture may take. At 320 pixels and JPEG quality 90 a photo takes 30 to 60 KB.
const KEPT_PHOTO_BYTES: usize = 128 * 1024;

/// What can go wrong on the way.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    #[error(transparent)]
    Features(#[from] FeatureError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Learn(#[from] LearnError),
    #[error(transparent)]
    Label(#[from] LabelError),
    #[error(
        "the head was made with the backbone '{head}' ({head_hash}), and '{given}' ({given_hash}) was given; name the right one with --backbone, or train again"
    )]
    OtherBackbone {
        head: String,
        head_hash: String,
        given: String,
        given_hash: String,
    },
    #[error(
        "the head needs the backbone '{backbone}' ({hash}), which is not installed; put its folder into ./models or one of FIELDHEAD_MODELS, or name it with --backbone DIR"
    )]
    NotInstalled { backbone: String, hash: String },
    #[error(
        "{missing} of {all} samples have no kept picture and were never embedded this way; train with the settings they were collected with, or collect them again"
    )]
    NoPicture { missing: usize, all: usize },
    #[error(
        "the head in use was imported, and the samples it learned from are not in this field; collect samples and run `fieldhead train`"
    )]
    ForeignHead,
    #[error(
        "this picture is sample {id} already, with that label; to weigh it more, collect another picture of the same thing"
    )]
    AlreadyLearned { id: u64 },
    #[error(
        "sample {id} shows the same picture as sample {twin}, which has that label already; take it out with `fieldhead forget --sample {id}`"
    )]
    Twin { id: u64, twin: u64 },
    #[error("the field has no samples; collect some with `fieldhead collect --from DIR`")]
    NoSamples,
}

/// A loaded backbone with the view in which it sees pictures.
pub struct Embedder {
    backbone: Backbone,
    recipe: Recipe,
}

impl Embedder {
    /// `kernel` as for [`Backbone::load`].
    pub fn load(
        found: &Found,
        fit: Fit,
        set: FeatureSet,
        kernel: Option<&str>,
    ) -> Result<Embedder, PipelineError> {
        let backbone = Backbone::load(found, set, kernel)?;
        let recipe = backbone.recipe(fit);
        Ok(Embedder { backbone, recipe })
    }

    /// The embedder for a head: same backbone (by hash), same view, same outputs.
    pub fn for_recipe(
        found: &Found,
        recipe: &Recipe,
        kernel: Option<&str>,
    ) -> Result<Embedder, PipelineError> {
        if found.card.sha256 != recipe.backbone_hash {
            return Err(PipelineError::OtherBackbone {
                head: recipe.backbone.clone(),
                head_hash: crate::backbone::short(&recipe.backbone_hash),
                given: found.card.name.clone(),
                given_hash: crate::backbone::short(&found.card.sha256),
            });
        }
        let embedder = Embedder::load(found, recipe.view.fit, recipe.set, kernel)?;
        if !embedder.recipe.same_space(recipe) {
            return Err(PipelineError::Features(FeatureError::Width {
                expected: recipe.width as usize,
                got: embedder.recipe.width as usize,
            }));
        }
        Ok(embedder)
    }

    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// Features of one picture. `threads` as for [`Backbone::embed_on`].
    pub fn embed(&self, image: &Image, threads: usize) -> Result<Vec<f32>, PipelineError> {
        let view = &self.recipe.view;
        let pixels = preprocess::fit_to(image, view.fit, view.width, view.height, view.pad)?;
        Ok(self.backbone.embed_on(&pixels, threads)?)
    }

    /// Decodes and embeds one payload.
    pub fn embed_payload(&self, it: &Payload, threads: usize) -> Result<Vec<f32>, PipelineError> {
        match it {
            Payload::Encoded(bytes) => self.embed(&preprocess::decode(bytes)?, threads),
            Payload::Decoded(image) => self.embed(image, threads),
        }
    }
}

/// SHA-256 of a payload: of the file's bytes, or of the size and the pixels.
pub fn content_hash(payload: &Payload) -> Hash {
    let mut hasher = Sha256::new();
    match payload {
        Payload::Encoded(bytes) => hasher.update(bytes),
        Payload::Decoded(image) => {
            hasher.update(image.width.to_le_bytes());
            hasher.update(image.height.to_le_bytes());
            hasher.update(&image.rgb);
        }
    }
    hasher.finalize().into()
}

/// The burst of a picture that nothing else is known of: itself. Its copies elsewhere are of the same burst.
pub fn own_burst(content: &Hash) -> String {
    crate::backbone::hex(content)
}

/// What a sample is called, beside its picture.
#[derive(Clone, Debug)]
pub struct Naming {
    pub label: String,
    pub burst: String,
    pub source: String,
    pub time_us: u64,
}

/// Makes a storable sample of a picture: decode, embed, and keep a copy that later views can be made from.
pub fn take_in(
    embedder: &Embedder,
    payload: &Payload,
    naming: Naming,
    keep_photo: bool,
    threads: usize,
) -> Result<NewSample, PipelineError> {
    label::check(&naming.label)?;
    let decoded;
    let (image, original): (&Image, &[u8]) = match payload {
        Payload::Encoded(bytes) => {
            decoded = preprocess::decode(bytes)?;
            (&decoded, bytes)
        }
        Payload::Decoded(image) => (image, &[]),
    };
    let features = embedder.embed(image, threads)?;
    let kept = keep_photo
        .then(|| preprocess::keep(image, original, KEPT_PHOTO_BYTES))
        .transpose()?
        .flatten();
    Ok(NewSample {
        sample: Sample {
            label: naming.label,
            burst: naming.burst,
            time_us: naming.time_us,
            source: naming.source,
            content: content_hash(payload),
            photo: kept.as_ref().map(|kept| Photo {
                width: kept.width,
                height: kept.height,
                bytes: kept.bytes.len() as u32,
                verbatim: kept.verbatim,
            }),
        },
        features,
        photo: kept.map(|kept| kept.bytes),
    })
}

/// Whether the photo budget has room; a field that is not made yet holds nothing.
pub fn keeps_photos(store: Option<&Store>, settings: &Settings) -> Result<bool, PipelineError> {
    let used = store.map_or(Ok(0), Store::photo_bytes)?;
    Ok(used + KEPT_PHOTO_BYTES as u64 <= settings.photo_budget_bytes)
}

/// Commits samples; their ids come back once all of them are on disk.
pub fn add(
    store: &Store,
    embedder: &Embedder,
    samples: &[NewSample],
) -> Result<Vec<u64>, PipelineError> {
    let ids = store.write(|tx| {
        samples
            .iter()
            .map(|sample| tx.add_sample(sample, embedder.recipe()))
            .collect()
    })?;
    Ok(ids)
}

/// All samples of the field as a head learns them, in order of their ids.
pub struct TrainingSet {
    pub ids: Vec<u64>,
    pub samples: Samples,
}

impl TrainingSet {
    /// The rows whose id satisfies `keep`.
    fn subset(&self, keep: impl Fn(u64) -> bool) -> Result<Samples, PipelineError> {
        let rows: Vec<usize> = (0..self.ids.len()).filter(|&i| keep(self.ids[i])).collect();
        Ok(self.samples.select(&rows)?)
    }
}

/// Reads the samples of the field under a recipe. `embed` is called for those that were never embedded by it, with their kept
/// picture; what it gives is stored.
pub fn training_set(
    store: &Store,
    recipe: &Recipe,
    embed: impl FnOnce(&[(u64, Vec<u8>)]) -> Result<Vec<Vec<f32>>, PipelineError>,
) -> Result<TrainingSet, PipelineError> {
    let samples = store.samples()?;
    if samples.is_empty() {
        return Err(PipelineError::NoSamples);
    }
    let stored = store.features(recipe)?;
    let missing: Vec<u64> = samples
        .keys()
        .filter(|id| stored.ids.binary_search(id).is_err())
        .copied()
        .collect();
    let rows = if missing.is_empty() && stored.ids.len() == samples.len() {
        stored.numbers
    } else {
        let new = embed_missing(store, recipe, &missing, samples.len(), embed)?;
        merge(&samples, &stored, new, recipe.width as usize)
    };
    let set = assemble(&samples, rows, recipe)?;
    Ok(TrainingSet {
        ids: samples.into_keys().collect(),
        samples: set,
    })
}

/// Stored and new rows in order of the samples.
fn merge(
    samples: &BTreeMap<u64, Sample>,
    stored: &Rows,
    new: Vec<(u64, Vec<f32>)>,
    width: usize,
) -> Vec<f32> {
    let mut new: BTreeMap<u64, Vec<f32>> = new.into_iter().collect();
    let mut rows = Vec::with_capacity(samples.len() * width);
    for id in samples.keys() {
        match stored.ids.binary_search(id) {
            Ok(index) => rows.extend(&stored.numbers[index * width..(index + 1) * width]),
            Err(_) => rows.extend(new.remove(id).unwrap_or_default()),
        }
    }
    rows
}

fn embed_missing(
    store: &Store,
    recipe: &Recipe,
    missing: &[u64],
    all: usize,
    embed: impl FnOnce(&[(u64, Vec<u8>)]) -> Result<Vec<Vec<f32>>, PipelineError>,
) -> Result<Vec<(u64, Vec<f32>)>, PipelineError> {
    let mut photos = Vec::new();
    for &id in missing {
        if let Some(photo) = store.photo(id)? {
            photos.push((id, photo));
        }
    }
    if photos.len() < missing.len() {
        return Err(PipelineError::NoPicture {
            missing: missing.len() - photos.len(),
            all,
        });
    }
    let vectors = embed(&photos)?;
    let rows: Vec<(u64, Vec<f32>)> = photos.into_iter().map(|(id, _)| id).zip(vectors).collect();
    store.write(|tx| {
        rows.iter()
            .try_for_each(|(id, vector)| tx.put_features(recipe, *id, vector))
    })?;
    Ok(rows)
}

fn assemble(
    samples: &BTreeMap<u64, Sample>,
    rows: Vec<f32>,
    recipe: &Recipe,
) -> Result<Samples, PipelineError> {
    let mut names: Vec<String> = samples.values().map(|s| s.label.clone()).collect();
    names.sort();
    names.dedup();
    let (mut labels, mut groups) = (Vec::new(), Vec::new());
    for sample in samples.values() {
        labels.push(names.binary_search(&sample.label).unwrap_or(0) as u32);
        groups.push(group(&sample.burst));
    }
    Ok(Samples::new(
        recipe.width as usize,
        rows,
        labels,
        names,
        groups,
    )?)
}

/// The number of a burst: equal bursts have equal numbers.
pub fn group(burst: &str) -> u64 {
    let digest = Sha256::digest(burst.as_bytes());
    u64::from_le_bytes(digest[..8].try_into().unwrap_or_default())
}

/// A head that was computed and waits for its commit.
pub struct Change {
    pub record: HeadRecord,
    pub report: Option<Report>,
}

/// Trains a head from scratch on everything in the set.
pub fn train(
    set: &TrainingSet,
    recipe: &Recipe,
    request: &Request,
    time_us: u64,
) -> Result<Change, PipelineError> {
    let (head, report) = learn::train(&set.samples, request)?;
    Ok(Change {
        record: HeadRecord {
            recipe: recipe.clone(),
            learned: head.learned().clone(),
            request: request.clone(),
            chosen_upto_id: set.ids.last().copied().unwrap_or(0),
            native: true,
            time_us,
        },
        report: Some(report),
    })
}

/// Refuses a head that cannot go on learning here, because what it learned from is elsewhere.
pub fn check_native(record: &HeadRecord) -> Result<(), PipelineError> {
    record
        .native
        .then_some(())
        .ok_or(PipelineError::ForeignHead)
}

/// The head that goes on learning from where `record` stands.
pub fn resume(
    record: &HeadRecord,
    set: TrainingSet,
) -> Result<Box<dyn Head + Send>, PipelineError> {
    check_native(record)?;
    Ok(head::resume(&record.learned, set.samples)?)
}

/// Learns one more sample, with the head that [`resume`] gave for `record`.
pub fn correct(
    record: &HeadRecord,
    head: &mut dyn Head,
    features: &[f32],
    naming: &Naming,
) -> Result<HeadRecord, PipelineError> {
    label::check(&naming.label)?;
    head.learn(features, &naming.label, group(&naming.burst))?;
    Ok(HeadRecord {
        learned: head.learned().clone(),
        time_us: naming.time_us,
        ..record.clone()
    })
}

/// A sample as it stands in a training set.
pub struct Member {
    features: Vec<f32>,
    label: String,
    group: u64,
}

/// The sample `id` of a set.
pub fn member(set: &TrainingSet, id: u64) -> Result<Member, PipelineError> {
    let row = set
        .ids
        .binary_search(&id)
        .map_err(|_| StoreError::NoSample(id))?;
    Ok(Member {
        features: set.samples.row(row).to_vec(),
        label: set.samples.label(row).to_owned(),
        group: set.samples.groups[row],
    })
}

/// Learns that a sample carries another label, with the head that [`resume`] gave for `record`.
pub fn relabel(
    record: &HeadRecord,
    head: &mut dyn Head,
    member: &Member,
    label: &str,
    time_us: u64,
) -> Result<HeadRecord, PipelineError> {
    label::check(label)?;
    head.learn(&member.features, label, member.group)?;
    head.forget(&member.features, &member.label)?;
    Ok(HeadRecord {
        learned: head.learned().clone(),
        time_us,
        ..record.clone()
    })
}

/// The head as if sample `id` had never been collected: settings are chosen again without it, and what was learned after
/// training is learned again in the same order. Where the samples it was trained on are of one class without it, settings are
/// chosen on all that are left.
pub fn forget(
    record: &HeadRecord,
    set: &TrainingSet,
    id: u64,
    time_us: u64,
) -> Result<HeadRecord, PipelineError> {
    check_native(record)?;
    let left = set.ids.iter().copied().filter(|&other| other != id);
    let trained_on = set.subset(|other| other != id && other <= record.chosen_upto_id)?;
    let (base, chosen_upto_id) = if trained_on.check_classes().is_ok() {
        (trained_on, record.chosen_upto_id)
    } else {
        (
            set.subset(|other| other != id)?,
            left.clone().next_back().unwrap_or(0),
        )
    };
    let (mut head, _) = learn::train(&base, &record.request)?;
    for later in left.filter(|&other| other > chosen_upto_id) {
        let member = member(set, later)?;
        head.learn(&member.features, &member.label, member.group)?;
    }
    Ok(HeadRecord {
        learned: head.learned().clone(),
        chosen_upto_id,
        time_us,
        ..record.clone()
    })
}

/// The sample that holds these bytes, and its label.
pub fn find_content(
    store: &Store,
    content: &Hash,
    labels: &[String],
) -> Result<Option<(u64, String)>, PipelineError> {
    for label in labels {
        if let Some(id) = store.find_content(content, label)? {
            return Ok(Some((id, label.clone())));
        }
    }
    Ok(None)
}

/// Commits a head version.
pub fn put_head(store: &Store, record: &HeadRecord, origin: Origin) -> Result<u64, PipelineError> {
    Ok(store.write(|tx| tx.put_head(record, origin))?)
}
