//! A field on a disk whose power can be cut.

use super::{Blob, blobs};
use fieldhead::features::{FeatureSet, Recipe};
use fieldhead::head::{self, ClassWeights, HeadKind, Normalization, Request, Settings};
use fieldhead::preprocess::{Fit, View};
use fieldhead::store::{HeadRecord, NewSample, Photo, Sample};
use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex};

/// A disk whose power can be cut: `live` is what a running process sees, `durable` what was synced.
#[derive(Debug, Default)]
pub struct Disk {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Operations that change something, so far.
    operations: usize,
    /// The operation at which the disk dies for good.
    dies_at: Option<usize>,
    kind: Option<io::ErrorKind>,
}

#[derive(Clone, Debug)]
pub struct Cable(Arc<Mutex<Disk>>);

impl Cable {
    pub fn new(durable: Vec<u8>, dies_at: Option<usize>, kind: io::ErrorKind) -> Cable {
        Cable(Arc::new(Mutex::new(Disk {
            live: durable.clone(),
            durable,
            operations: 0,
            dies_at,
            kind: Some(kind),
        })))
    }

    fn change(&self, change: impl FnOnce(&mut Disk)) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.operations += 1;
        if disk.dies_at.is_some_and(|at| disk.operations >= at) {
            return Err(io::Error::from(disk.kind.unwrap()));
        }
        change(&mut disk);
        Ok(())
    }

    pub fn durable(&self) -> Vec<u8> {
        self.0.lock().unwrap().durable.clone()
    }

    pub fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }
}

impl StorageBackend for Cable {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let start = offset as usize;
        let part = disk.live.get(start..start + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|disk| disk.live.resize(len as usize, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|disk| disk.durable.clone_from(&disk.live))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|disk| disk.live[offset as usize..][..data.len()].copy_from_slice(data))
    }
}

pub fn recipe(width: u32) -> Recipe {
    Recipe {
        backbone: "test".into(),
        backbone_hash: [7; 32],
        view: View {
            fit: Fit::Squash,
            width: 224,
            height: 224,
            pad: [116; 3],
        },
        set: FeatureSet::Final,
        width,
    }
}

pub fn sample(number: u64) -> NewSample {
    NewSample {
        sample: Sample {
            label: format!("class {}", number % 2),
            burst: format!("burst {number}"),
            time_us: number,
            source: "test".into(),
            content: [number as u8; 32],
            photo: Some(Photo {
                width: 8,
                height: 8,
                bytes: 3000,
                verbatim: true,
            }),
        },
        features: vec![number as f32; 40],
        photo: Some(vec![number as u8; 3000]),
    }
}

pub fn head() -> HeadRecord {
    let settings = Settings {
        kind: HeadKind::Ridge,
        normalization: Normalization::L2,
        penalty: 0.1,
        class_weights: ClassWeights::Balanced,
    };
    let trained = head::train(&blobs(&Blob::FEW, 1), settings).unwrap();
    HeadRecord {
        recipe: recipe(40),
        learned: trained.learned().clone(),
        request: Request::default(),
        chosen_upto_id: 1,
        native: true,
        time_us: 5,
    }
}
