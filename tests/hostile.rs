//! Bytes from outside: whatever comes, every parser answers with a value or an error.

mod support;

use fieldhead::backbone::Card;
use fieldhead::board::Profile;
use fieldhead::config::Settings;
use fieldhead::features::npz::{self, Table};
use fieldhead::features::{FeatureSet, Recipe};
use fieldhead::head::{HeadKind, Normalization, Request};
use fieldhead::learn;
use fieldhead::preprocess::{Fit, View, decode};
use fieldhead::source;
use fieldhead::source::line::{Light, Line};
use fieldhead::store::{HeadRecord, fhead};
use proptest::prelude::*;
use std::sync::LazyLock;
use support::{Blob, blobs};

/// One thing done to a file: a byte changed, a piece cut out, a piece doubled, the end cut off.
#[derive(Clone, Debug)]
enum Damage {
    Set(usize, u8),
    Cut(usize, usize),
    Double(usize, usize),
    End(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<usize>(), 1usize..64).prop_map(|(at, n)| Damage::Cut(at, n)),
        (any::<usize>(), 1usize..64).prop_map(|(at, n)| Damage::Double(at, n)),
        any::<usize>().prop_map(Damage::End),
    ]
}

fn apply(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        let n = bytes.len().max(1);
        match *damage {
            Damage::Set(at, byte) => {
                if let Some(to) = bytes.get_mut(at % n) {
                    *to = byte;
                }
            }
            Damage::Cut(at, count) => {
                let start = (at % n).min(bytes.len());
                bytes.drain(start..(start + count).min(bytes.len()));
            }
            Damage::Double(at, count) => {
                let start = (at % n).min(bytes.len());
                let piece = bytes[start..(start + count).min(bytes.len())].to_vec();
                bytes.splice(start..start, piece);
            }
            Damage::End(at) => bytes.truncate(at % n),
        }
    }
    bytes
}

static PICTURES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let (_, image) = Line::new(1, Light::day()).next();
    let rgb = image::RgbImage::from_raw(image.width, image.height, image.rgb).unwrap();
    [image::ImageFormat::Jpeg, image::ImageFormat::Png].map(|format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        rgb.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    })
});

static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let request = Request {
        kind: Some(HeadKind::Softmax),
        normalization: Some(Normalization::Standardize),
        ..Request::default()
    };
    let (trained, _) = learn::train(&blobs(&Blob::FEW, 1), &request).unwrap();
    assert!(trained.learned().calibration.novelty.is_some());
    let record = HeadRecord {
        recipe: Recipe {
            backbone: "test".into(),
            backbone_hash: [1; 32],
            view: View {
                fit: Fit::Crop,
                width: 224,
                height: 224,
                pad: [0; 3],
            },
            set: FeatureSet::Multi,
            width: 40,
        },
        learned: trained.learned().clone(),
        request,
        chosen_upto_id: 3,
        native: true,
        time_us: 9,
    };
    fhead::encode(&record).unwrap()
});

static FEATURES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let samples = blobs(&Blob::FEW, 1);
    let table = Table {
        width: samples.width(),
        rows: samples.rows().to_vec(),
        labels: samples.labels.clone(),
        names: samples.names().to_vec(),
        bursts: Some(samples.groups.clone()),
    };
    npz::encode(&table).unwrap()
});

#[test]
fn a_head_comes_back_as_it_was() {
    let record = fhead::decode(&HEAD).unwrap();
    assert_eq!(fhead::encode(&record).unwrap(), *HEAD);
}

#[test]
fn every_truncation_and_every_flipped_bit_of_a_head_is_refused() {
    for length in 0..HEAD.len() {
        assert!(fhead::decode(&HEAD[..length]).is_err(), "{length}");
    }
    for at in 0..HEAD.len() {
        let mut bytes = HEAD.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(fhead::decode(&bytes).is_err(), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_pictures_are_decoded_or_refused(which in 0usize..2, damages in proptest::collection::vec(damage(), 1..6)) {
        if let Ok(image) = decode(&apply(&PICTURES[which], &damages)) {
            prop_assert_eq!(image.rgb.len(), image.width as usize * image.height as usize * 3);
        }
    }

    #[test]
    fn bytes_behind_a_pictures_magic_are_refused_calmly(which in 0usize..2, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let magic: [&[u8]; 2] = [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"];
        let _ = decode(&[magic[which], &bytes].concat());
    }

    #[test]
    fn damaged_heads_are_refused(damages in proptest::collection::vec(damage(), 1..6)) {
        let bytes = apply(&HEAD, &damages);
        prop_assert!(bytes == *HEAD || fhead::decode(&bytes).is_err());
    }

    #[test]
    fn damaged_features_are_read_whole_or_refused(damages in proptest::collection::vec(damage(), 1..6)) {
        if let Ok(table) = npz::decode(&apply(&FEATURES, &damages)) {
            prop_assert_eq!(table.rows.len(), table.labels.len() * table.width);
            prop_assert!(table.labels.iter().all(|&label| (label as usize) < table.names.len()));
        }
    }

    #[test]
    fn texts_are_parsed_or_refused(text in "\\PC{0,200}") {
        let _ = Card::parse(&text);
        let _ = Profile::parse("hostile.toml", &text);
        let _ = Settings::parse(&text);
        for kind in ["camera", "command", "command,format=s16le,", ""] {
            let _ = source::parse(&format!("{kind}{text}"));
        }
        let opened = source::parse(&format!("line:{text}")).is_ok();
        prop_assert!(text.contains(',') || opened == text.parse::<u64>().is_ok());
    }
}
