//! The settings of a field: `field.toml`, raw and checked.
//!
//! Owns: what may be set, its defaults and its limits. Invariant: a [`Settings`] was checked; an unknown key is an error, never
//! silently ignored.

use crate::features::FeatureSet;
use crate::head::{ClassWeights, HeadKind, Request};
use crate::preprocess::Fit;
use serde::Deserialize;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The file inside a field folder.
pub const FILE_NAME: &str = "field.toml";
/// The longest settings file read.
const MAX_BYTES: u64 = 64 * 1024;
/// Default room for kept pictures. At about 40 KB each that is 12,000 samples, an eighth of an 8 GB card.
const PHOTOS_MB: u32 = 512;

/// What can be wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read or write {path}: {source}; check the path and its permissions", path = path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is not valid: {what}; correct the file, or delete it for the defaults", path = path.display())]
    Invalid { path: PathBuf, what: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    backbone: Option<String>,
    fit: Option<String>,
    features: Option<String>,
    head: Option<String>,
    photos_mb: Option<u32>,
    false_alarm_rate: Option<f64>,
    coverage: Option<f64>,
    class_weights: Option<String>,
}

/// Checked settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name or folder of the backbone.
    pub backbone: String,
    /// `None` lets the samples decide.
    pub fit: Option<Fit>,
    pub features: Option<FeatureSet>,
    /// Kind of head that `train` makes; `None` lets the samples decide.
    pub head: Option<HeadKind>,
    /// Room for kept pictures in all, in bytes.
    pub photo_budget_bytes: u64,
    /// Share of known samples that may be called unknown, 0 to 0.5.
    pub false_alarm_rate: f64,
    /// Share of answers whose set of labels should hold the right one, 0.5 to 0.999.
    pub coverage: f64,
    pub class_weights: ClassWeights,
}

impl Default for Settings {
    fn default() -> Self {
        let request = Request::default();
        Settings {
            backbone: crate::backbone::DEFAULT.into(),
            fit: None,
            features: None,
            head: None,
            photo_budget_bytes: u64::from(PHOTOS_MB) << 20,
            false_alarm_rate: request.false_alarm_rate,
            coverage: request.coverage,
            class_weights: request.class_weights,
        }
    }
}

impl Settings {
    /// The settings of a field folder; the defaults where it has no file.
    pub fn load(folder: &Path) -> Result<Settings, ConfigError> {
        let path = folder.join(FILE_NAME);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Settings::default()),
            Err(source) => return Err(ConfigError::Io { path, source }),
        };
        text(bytes)
            .and_then(|text| Settings::parse(&text))
            .map_err(|what| ConfigError::Invalid { path, what })
    }

    /// Parses and checks the text of a `field.toml`.
    pub fn parse(text: &str) -> Result<Settings, String> {
        let raw: Raw = toml::from_str(text).map_err(|e| e.to_string().trim().to_owned())?;
        let defaults = Settings::default();
        let settings = Settings {
            backbone: raw.backbone.unwrap_or(defaults.backbone),
            fit: fixed(raw.fit, "fit")?,
            features: fixed(raw.features, "features")?,
            head: fixed(raw.head, "head")?,
            photo_budget_bytes: raw
                .photos_mb
                .map_or(defaults.photo_budget_bytes, |mb| u64::from(mb) << 20),
            false_alarm_rate: raw.false_alarm_rate.unwrap_or(defaults.false_alarm_rate),
            coverage: raw.coverage.unwrap_or(defaults.coverage),
            class_weights: fixed(raw.class_weights, "class_weights")?.unwrap_or_default(),
        };
        settings.request().check().map_err(|e| e.to_string())?;
        Ok(settings)
    }

    /// What these settings ask of a head.
    pub fn request(&self) -> Request {
        Request {
            kind: self.head,
            fit: self.fit,
            set: self.features,
            class_weights: self.class_weights,
            false_alarm_rate: self.false_alarm_rate,
            coverage: self.coverage,
            ..Request::default()
        }
    }

    /// Writes a commented file into a new field folder; one that is there already is left alone.
    pub fn write_if_absent(&self, folder: &Path) -> Result<(), ConfigError> {
        let path = folder.join(FILE_NAME);
        if path.exists() {
            return Ok(());
        }
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            let part = folder.join("field.toml.part");
            let mut file = std::fs::File::create(&part)?;
            file.write_all(self.to_text().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, &path)?;
            std::fs::File::open(folder)?.sync_all()
        };
        write().map_err(|source| ConfigError::Io { path, source })
    }

    fn to_text(&self) -> String {
        fn shown(value: Option<impl ToString>) -> String {
            value.map_or("auto".into(), |value| value.to_string())
        }
        format!(
            "# Settings of this field. A later choice of backbone, fit or features needs no new photos.\n\
             backbone = {backbone}          # name, or folder with card.toml\n\
             fit = \"{fit}\"              # auto | squash | crop | letterbox | both\n\
             features = \"{features}\"          # auto | final | multi (final and pooled inner stages)\n\
             head = \"{head}\"               # auto | softmax | ridge | prototype | lda | mlp\n\
             photos_mb = {photos_mb}             # room for kept pictures\n\
             false_alarm_rate = {rate}     # share of known samples that may be called unknown\n\
             coverage = {coverage}              # share of answers whose set holds the right label\n\
             class_weights = \"{class_weights}\"   # balanced | none\n",
            backbone = toml::Value::from(self.backbone.as_str()),
            fit = shown(self.fit),
            features = shown(self.features),
            head = shown(self.head),
            photos_mb = self.photo_budget_bytes >> 20,
            rate = self.false_alarm_rate,
            coverage = self.coverage,
            class_weights = self.class_weights,
        )
    }
}

/// What a key fixes; `auto`, or no key, leaves it to the samples.
fn fixed<T: std::str::FromStr>(text: Option<String>, key: &str) -> Result<Option<T>, String>
where
    T::Err: std::fmt::Display,
{
    match text.as_deref() {
        None | Some("auto") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|e| format!("{key}: {e}")),
    }
}

/// The first bytes of a file, one more than a settings file may have.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    // Before it is opened: opening a pipe waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!(
            "it has more than the {MAX_BYTES} bytes that are read"
        ));
    }
    String::from_utf8(bytes).map_err(|e| format!("it is not UTF-8 text: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let settings = Settings {
            backbone: "a \"quoted\" \\ name".into(),
            fit: Some(Fit::Crop),
            features: Some(FeatureSet::Multi),
            head: Some(HeadKind::Ridge),
            photo_budget_bytes: 7 << 20,
            false_alarm_rate: 0.1,
            coverage: 0.95,
            class_weights: ClassWeights::None,
        };
        assert_eq!(Settings::parse(&settings.to_text()), Ok(settings));
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
    }

    #[test]
    fn a_file_is_read_whole_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let long = |bytes: usize| format!("#{}\nhead = \"lda\"\n", "x".repeat(bytes));
        std::fs::write(&path, long(60_000)).unwrap();
        let settings = Settings::load(folder.path()).unwrap();
        assert_eq!(settings.head, Some(HeadKind::Lda));
        for (bytes, part) in [
            (long(66_000).into_bytes(), "65536 bytes"),
            (vec![b'#', 0xff], "UTF-8"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = Settings::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = Settings::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a file"), "{error}");
    }

    #[test]
    fn an_unknown_key_or_value_is_named() {
        for (text, part) in [
            ("fits = \"crop\"", "fits"),
            ("fit = \"cover\"", "cover"),
            ("features = multi", "features"),
            ("head = \"tree\"", "tree"),
            ("false_alarm_rate = 2.0", "false alarm rate"),
            ("coverage = 1.5", "coverage is 1.5"),
            ("coverage = nan", "coverage is NaN"),
            ("class_weights = \"rare\"", "rare"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
