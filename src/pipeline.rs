//! The way of the data: the only room that knows the order of the others.
//!
//! Owns: picture → features ([`Embedder`]), samples into the store ([`take_in`], [`add`]), samples out of it as a training set
//! ([`training_set`]), the choice of how pictures are seen ([`choose`]), and the changes of the head ([`train`], [`correct`],
//! [`relabel`], [`forget`], [`ClassChange`]). Does not own: any arithmetic, any file, any printing.
//!
//! Invariant: a change is computed first and committed last, in one transaction; a failure on the way leaves the field as it was.

mod choose;
mod classes;
mod embedder;
mod set;

pub use choose::{Chosen, candidates, candidates_for, choose};
pub use classes::ClassChange;
pub use embedder::{Embedder, check_backbone};
pub use set::{Photos, TrainingSet, group, store_joined, training_set};

use crate::backbone::BackboneError;
use crate::config::Settings;
use crate::features::{FeatureError, Hash, Recipe};
use crate::head::{self, Head, HeadError, Request};
use crate::label::{self, LabelError};
use crate::learn::{self, LearnError, Report};
use crate::preprocess::{self, Capture, Kept, Modality, PreprocessError};
use crate::source::Payload;
use crate::store::{HeadRecord, NewSample, Origin, Photo, Sample, Store, StoreError};
use sha2::{Digest, Sha256};

/// The most bytes one kept picture may take. At 320 pixels and JPEG quality 90 a photo takes 30 to 60 KB.
const KEPT_PHOTO_BYTES: usize = 128 * 1024;
/// The most bytes of a sound or a window: 30 seconds of one channel at 16 kHz and 16 bits.
const KEPT_RECORDING_BYTES: usize = 1024 * 1024;

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
        "the head was trained with {option} {head}, and {option} {given} was given; leave {option} out, or train this field again with `train {option} {given}`"
    )]
    OtherView {
        option: &'static str,
        head: String,
        given: String,
    },
    #[error(
        "the head needs the backbone '{backbone}' ({hash}), which is not installed; put its folder into ./models or one of FIELDHEAD_MODELS, or name it with --backbone DIR"
    )]
    NotInstalled { backbone: String, hash: String },
    #[error(
        "of {all} samples, {missing} {} no kept picture and {} never embedded this way; train with the settings they were collected with, or collect them again",
        if *missing == 1 { "has" } else { "have" },
        if *missing == 1 { "was" } else { "were" }
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
    #[error("the field has no class '{class}'; `fieldhead class` lists those that it has")]
    NoClass { class: String },
    #[error("there is a class '{class}' already; `fieldhead class merge` makes one class of two")]
    ClassThere { class: String },
    #[error("both names are '{class}'; give the class another name, or name another class")]
    SameClass { class: String },
    #[error("the field has no samples; collect some with `fieldhead collect --from DIR`")]
    NoSamples,
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

/// Makes a storable sample of a picture or a window: decode, embed, and keep a copy that later views can be made from.
pub fn take_in(
    embedder: &Embedder,
    payload: &Payload,
    naming: Naming,
    keep_photo: bool,
    threads: usize,
) -> Result<NewSample, PipelineError> {
    label::check_new(&naming.label)?;
    let copy = |capture: &Capture, original| match (embedder.takes(), capture) {
        (Modality::Picture, Capture::Picture(image)) => {
            preprocess::keep(image, original, KEPT_PHOTO_BYTES)
        }
        _ => preprocess::keep_recording(capture, original, KEPT_RECORDING_BYTES),
    };
    let (features, kept): (Vec<f32>, Option<Kept>) = match payload {
        Payload::Encoded(bytes) => {
            let capture = embedder.decode(bytes)?;
            let kept = keep_photo.then(|| copy(&capture, bytes)).transpose()?;
            (embedder.embed_capture(&capture, threads)?, kept.flatten())
        }
        Payload::Decoded(image) => {
            embedder.takes().check(Modality::Picture)?;
            let kept = keep_photo.then(|| preprocess::keep(image, &[], KEPT_PHOTO_BYTES));
            (embedder.embed(image, threads)?, kept.transpose()?.flatten())
        }
    };
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

/// A head that was computed and waits for its commit.
pub struct Change {
    pub record: HeadRecord,
    pub report: Option<Report>,
}

/// Trains a head from scratch with the settings and on the samples that were chosen.
pub fn train(chosen: &Chosen, request: &Request, time_us: u64) -> Result<Change, PipelineError> {
    let (head, report) = learn::finish(&chosen.set.samples, request, &chosen.choice)?;
    Ok(Change {
        record: HeadRecord {
            recipe: chosen.recipe.clone(),
            learned: head.learned().clone(),
            request: request.clone(),
            chosen_upto_id: chosen.set.ids.last().copied().unwrap_or(0),
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
    label::check_new(&naming.label)?;
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
    label::check_new(label)?;
    head.learn(&member.features, label, member.group)?;
    head.forget(&member.features, &member.label)?;
    Ok(HeadRecord {
        learned: head.learned().clone(),
        time_us,
        ..record.clone()
    })
}

/// The head as if a sample had never been collected: everything is chosen again without it, and what was learned after training is
/// learned again in the same order. Where the samples it was trained on are of one class without it, everything is chosen on all
/// that are left. `candidates`, `set_of` and `out_of_time` as for [`choose`], with all samples of the field but that one
/// ([`Store::without`]).
pub fn forget(
    record: &HeadRecord,
    candidates: &[Recipe],
    mut set_of: impl FnMut(&Recipe) -> Result<TrainingSet, PipelineError>,
    out_of_time: impl Fn() -> bool,
    time_us: u64,
) -> Result<HeadRecord, PipelineError> {
    check_native(record)?;
    let all = set_of(candidates.first().ok_or(PipelineError::NoSamples)?)?;
    let trained_on = all.subset(|id| id <= record.chosen_upto_id);
    let upto = match trained_on.map(|set| set.samples.check_classes()) {
        Ok(Ok(())) => record.chosen_upto_id,
        _ => all.ids.last().copied().unwrap_or(0),
    };
    let base = |recipe: &Recipe| set_of(recipe)?.subset(|id| id <= upto);
    let chosen = choose(candidates, &record.request, base, out_of_time)?;
    let (mut head, _) = learn::finish(&chosen.set.samples, &record.request, &chosen.choice)?;
    let all = set_of(&chosen.recipe)?;
    for &id in all.ids.iter().filter(|&&id| id > upto) {
        let member = member(&all, id)?;
        head.learn(&member.features, &member.label, member.group)?;
    }
    Ok(HeadRecord {
        recipe: chosen.recipe,
        learned: head.learned().clone(),
        chosen_upto_id: upto,
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
