//! Rows that rot on the disk: noticed when they are read, named, and taken out; and fields from before rows had checksums.

mod support;

use fieldhead::store::{Entry, Origin, Rows, Sample, Store, StoreError, Version};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};
use support::Bench;
use support::disk::{Cable, head, recipe, sample};

type Table<K> = TableDefinition<'static, K, &'static [u8]>;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const SUMS: TableDefinition<(&str, u32, u64), u32> = TableDefinition::new("sums");
const SAMPLES: Table<u64> = TableDefinition::new("samples");
const PHOTOS: Table<u64> = TableDefinition::new("photos");
const RECIPES: Table<u32> = TableDefinition::new("recipes");
const FEATURES: Table<(u32, u64)> = TableDefinition::new("features");
const VERSIONS: Table<u64> = TableDefinition::new("versions");
const JOURNAL: Table<u64> = TableDefinition::new("journal");

fn disk(image: Vec<u8>) -> Cable {
    Cable::new(image, None, io::ErrorKind::Other)
}

fn raw(backend: impl StorageBackend) -> Database {
    redb::Builder::new().create_with_backend(backend).unwrap()
}

/// The database below a field in a folder.
fn raw_at(folder: &Path) -> Database {
    let mut builder = redb::Builder::new();
    builder.set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
    builder.open(folder.join("field.redb")).unwrap()
}

/// A field of four samples and one head.
fn image() -> Vec<u8> {
    let cable = disk(Vec::new());
    let store = Store::on(cable.clone(), 1).unwrap();
    for number in 0..4 {
        store
            .write(|tx| tx.add_sample(&sample(number), &recipe(40)))
            .unwrap();
    }
    store
        .write(|tx| tx.put_head(&head(), Origin::Train))
        .unwrap();
    drop(store);
    cable.durable()
}

/// Flips the lowest bit of a byte in a row.
fn flip<K>(db: &Database, table: Table<K>, key: K, at: usize)
where
    K: redb::Key + for<'a> redb::Value<SelfType<'a> = K> + Copy,
{
    let transaction = db.begin_write().unwrap();
    {
        let mut table = transaction.open_table(table).unwrap();
        let mut bytes = table.get(key).unwrap().unwrap().value().to_vec();
        bytes[at] ^= 1;
        table.insert(key, bytes.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
}

/// The field of an image in which something was done below the store.
fn after(image: &[u8], damage: impl FnOnce(&Database)) -> Store {
    let cable = disk(image.to_vec());
    let db = raw(cable.clone());
    damage(&db);
    drop(db);
    Store::on(disk(cable.durable()), 1).unwrap()
}

fn told<T>(result: Result<T, StoreError>) -> String {
    result
        .err()
        .map_or(String::new(), |error| error.to_string())
}

#[test]
fn a_bit_lost_in_any_row_is_an_error_that_names_the_row_and_the_others_are_read() {
    let image = image();
    let store = after(&image, |db| flip(db, FEATURES, (0, 3), 7));
    let said = told(store.features(&recipe(40)));
    assert!(said.contains("sample 3's features are damaged"), "{said}");
    assert!(said.contains("fieldhead forget --sample 3"), "{said}");
    assert_eq!(store.samples().unwrap().len(), 4);
    assert!(store.current_head().is_ok() && store.photo(3).is_ok());

    let store = after(&image, |db| flip(db, PHOTOS, 2, 1500));
    assert!(told(store.photo(2)).contains("sample 2's photo is damaged"));
    assert!(store.photo(1).unwrap().is_some() && store.features(&recipe(40)).is_ok());

    let store = after(&image, |db| flip(db, SAMPLES, 4, 2));
    for said in [told(store.samples()), told(store.sample(4))] {
        assert!(said.contains("sample 4's record is damaged"), "{said}");
    }
    assert!(store.sample(1).is_ok());

    let store = after(&image, |db| flip(db, RECIPES, 0, 2));
    assert!(told(store.features(&recipe(40))).contains("recipe 0 is damaged"));
    let store = after(&image, |db| flip(db, VERSIONS, 1, 2));
    assert!(told(store.versions()).contains("head version 1 is damaged"));
    let store = after(&image, |db| flip(db, JOURNAL, 2, 2));
    assert!(told(store.journal()).contains("journal entry 2 is damaged"));
}

#[test]
fn a_row_under_another_key_and_a_row_without_its_checksum_are_noticed() {
    let image = image();
    let store = after(&image, |db| {
        let transaction = db.begin_write().unwrap();
        {
            let mut table = transaction.open_table(FEATURES).unwrap();
            let other = table.get((0, 1)).unwrap().unwrap().value().to_vec();
            table.insert((0, 2), other.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
    });
    assert!(told(store.features(&recipe(40))).contains("sample 2's features"));
    let store = after(&image, |db| {
        let transaction = db.begin_write().unwrap();
        let mut sums = transaction.open_table(SUMS).unwrap();
        assert!(sums.remove(("photos", 0, 1)).unwrap().is_some());
        drop(sums);
        transaction.commit().unwrap();
    });
    assert!(told(store.photo(1)).contains("sample 1's photo"));
}

#[test]
fn a_bit_lost_in_the_file_itself_is_noticed() {
    let image = image();
    let row: Vec<u8> = [2f32; 40].iter().flat_map(|x| x.to_le_bytes()).collect();
    let places = (0..image.len() - row.len()).filter(|&at| image[at..].starts_with(&row));
    let mut bytes = image.clone();
    let mut found = 0;
    for at in places {
        bytes[at + 50] ^= 4;
        found += 1;
    }
    assert!(found > 0);
    let store = Store::on(disk(bytes), 1).unwrap();
    assert!(told(store.features(&recipe(40))).contains("sample 3's features are damaged"));
}

#[test]
fn a_sample_goes_whatever_of_it_is_damaged_and_leaves_nothing_behind() {
    let image = image();
    let store = after(&image, |db| {
        flip(db, SAMPLES, 3, 2);
        flip(db, PHOTOS, 3, 99);
        flip(db, FEATURES, (0, 3), 99);
    });
    store.write(|tx| tx.remove_sample(3, 9)).unwrap();
    assert_eq!(store.find_content(&[2; 32], "class 0").unwrap(), None);
    assert_eq!(store.find_content(&[1; 32], "class 1").unwrap(), Some(2));
    let kept: Vec<u64> = store.samples().unwrap().into_keys().collect();
    assert_eq!(kept, [1, 2, 4]);
    assert_eq!(store.features(&recipe(40)).unwrap().ids, kept);
    assert_eq!(store.photo_bytes().unwrap(), 3 * 3000);
    assert_eq!(
        told(store.write(|tx| tx.remove_sample(3, 9))),
        told(store.sample(3))
    );
}

#[test]
fn without_a_sample_its_rows_are_not_looked_at() {
    let damage = |db: &Database| {
        flip(db, SAMPLES, 3, 2);
        flip(db, FEATURES, (0, 3), 99);
    };
    let store = after(&image(), damage).without(3).unwrap();
    assert_eq!(store.samples().unwrap().len(), 3);
    assert_eq!(store.features(&recipe(40)).unwrap().ids, [1, 2, 4]);
    assert!(matches!(store.without(9), Err(StoreError::NoSample(9))));
}

/// Makes the field below a database one of version 1: the same rows without checksums.
fn to_version_1(db: &Database) {
    let transaction = db.begin_write().unwrap();
    assert!(transaction.delete_table(SUMS).unwrap());
    let mut meta = transaction.open_table(META).unwrap();
    meta.insert("format", 1).unwrap();
    drop(meta);
    transaction.commit().unwrap();
}

fn format(db: &Database) -> u64 {
    let meta = db.begin_read().unwrap().open_table(META).unwrap();
    meta.get("format").unwrap().unwrap().value()
}

type Everything = (
    BTreeMap<u64, Sample>,
    Rows,
    Vec<Vec<u8>>,
    Vec<Version>,
    Vec<Entry>,
);

fn everything(store: &Store) -> Everything {
    let samples = store.samples().unwrap();
    let photos = samples.keys().map(|id| store.photo(*id).unwrap().unwrap());
    let photos = photos.collect();
    let features = store.features(&recipe(40)).unwrap();
    let versions = store.versions().unwrap();
    (
        samples,
        features,
        photos,
        versions,
        store.journal().unwrap(),
    )
}

fn version_1() -> Vec<u8> {
    let cable = disk(image());
    let db = raw(cable.clone());
    to_version_1(&db);
    drop(db);
    cable.durable()
}

#[test]
fn a_field_of_version_1_is_read_as_it_is_and_checked_from_its_first_change_on() {
    let (old, new) = (version_1(), image());
    let cable = disk(old);
    let store = Store::on(cable.clone(), 1).unwrap();
    let before = everything(&store);
    assert_eq!(before, everything(&Store::on(disk(new), 1).unwrap()));
    drop(store);
    assert_eq!(format(&raw(disk(cable.durable()))), 1);

    let store = Store::on(cable.clone(), 1).unwrap();
    store.write(|_| Ok(())).unwrap();
    assert_eq!(everything(&store), before);
    drop(store);
    let store = after(&cable.durable(), |db| {
        assert_eq!(format(db), 2);
        flip(db, FEATURES, (0, 1), 3);
    });
    assert!(told(store.features(&recipe(40))).contains("sample 1's features"));
}

#[test]
fn an_upgrade_that_the_power_interrupts_leaves_the_field_as_it_was_or_whole() {
    let old = version_1();
    let whole = disk(old.clone());
    let store = Store::on(whole.clone(), 1).unwrap();
    let before = everything(&store);
    store.write(|_| Ok(())).unwrap();
    drop(store);
    let (mut as_it_was, mut upgraded) = (0, 0);
    for dies_at in 1..=whole.operations() {
        let cable = Cable::new(old.clone(), Some(dies_at), io::ErrorKind::StorageFull);
        let done = Store::on(cable.clone(), 1).and_then(|store| store.write(|_| Ok(())));
        let left = cable.durable();
        let version = format(&raw(disk(left.clone())));
        assert!(version == 2 || done.is_err(), "operation {dies_at}");
        as_it_was += usize::from(version == 1);
        upgraded += usize::from(version == 2);
        let store = Store::on(disk(left), 1).unwrap();
        assert_eq!(everything(&store), before, "operation {dies_at}");
        store.write(|_| Ok(())).unwrap();
        assert_eq!(everything(&store), before, "operation {dies_at}");
    }
    assert!(as_it_was > 0 && upgraded > 0, "{as_it_was} {upgraded}");
}

#[test]
fn a_program_meets_a_field_of_a_later_version() {
    let cable = disk(image());
    let db = raw(cable.clone());
    let transaction = db.begin_write().unwrap();
    let mut meta = transaction.open_table(META).unwrap();
    meta.insert("format", 3).unwrap();
    drop(meta);
    transaction.commit().unwrap();
    drop(db);
    let opened = Store::on(disk(cable.durable()), 1);
    assert!(matches!(opened, Err(StoreError::Format(3))));
}

/// A field of nine samples with a head, in which something was done below the store.
fn damaged_field(damage: impl FnOnce(&Database)) -> Bench {
    let bench = Bench::new();
    bench.photos("train", 3, 1);
    bench.ok(&[
        "--fit",
        "squash",
        "--features",
        "final",
        "collect",
        "--from",
        "train",
    ]);
    bench.ok(&["train"]);
    let db = raw_at(&bench.path("field"));
    damage(&db);
    bench
}

#[test]
fn damaged_features_stop_training_until_their_sample_is_forgotten() {
    let bench = damaged_field(|db| flip(db, FEATURES, (0, 4), 1000));
    let said = "sample 4's features are damaged inside field.redb; take it out with `fieldhead forget --sample 4`";
    bench.refused(&["train"], 5, said);
    bench.refused(&["correct", "--label", "nut", "--sample", "1"], 5, said);
    for looks in [
        &["samples"][..],
        &["history"],
        &["predict", "train/gear"],
        &["class"],
    ] {
        bench.ok(looks);
    }
    let forgot = bench.ok(&["forget", "--sample", "4", "--json"]).one();
    assert_eq!(forgot["version"], 2);
    bench.ok(&["train"]);
    assert_eq!(bench.ok(&["samples", "--json"]).json().len(), 8);
}

#[test]
fn a_damaged_photo_is_in_the_way_of_what_needs_it_only() {
    let bench = damaged_field(|db| flip(db, PHOTOS, 4, 1000));
    for needs_none in [
        &["train"][..],
        &["samples"],
        &["history"],
        &["predict", "train/gear"],
    ] {
        bench.ok(needs_none);
    }
    let again = ["--fit", "crop", "train"];
    bench.refused(&again, 5, "sample 4's photo is damaged");
    bench.ok(&["forget", "--sample", "4"]);
    bench.ok(&again);
}

#[test]
fn of_two_damaged_samples_one_goes_first_and_the_head_follows_with_the_second() {
    let bench = damaged_field(|db| {
        flip(db, SAMPLES, 2, 5);
        flip(db, FEATURES, (0, 4), 8);
    });
    bench.refused(&["samples"], 5, "fieldhead forget --sample 2");
    // One that is whole would stay in the head.
    let whole = ["forget", "--sample", "1"];
    bench.refused(&whole, 5, "fieldhead forget --sample 2");
    let first = bench.ok(&["forget", "--sample", "4", "--json"]).one();
    assert_eq!(first["version"], serde_json::Value::Null);
    let damage = first["damage"].as_str().unwrap();
    assert!(damage.contains("fieldhead forget --sample 2"), "{damage}");
    bench.ok(&["predict", "train/gear"]);
    let second = bench.ok(&["forget", "--sample", "2", "--json"]).one();
    assert_eq!(second["version"], 2);
    assert_eq!(bench.ok(&["history", "--json"]).json()[1]["n"], 7);
    bench.ok(&["train"]);
}

#[test]
fn a_shipped_field_is_not_written_by_who_only_reads_it() {
    let bench = Bench::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1");
    fs::create_dir(bench.path("field")).unwrap();
    for name in ["field.redb", "field.toml"] {
        fs::copy(shipped.join(name), bench.path("field").join(name)).unwrap();
    }
    assert_eq!(bench.ok(&["samples", "--json"]).json().len(), 5);
    bench.ok(&["history"]);
    let bytes = |folder: &Path| fs::read(folder.join("field.redb")).unwrap();
    assert_eq!(bytes(&bench.path("field")), bytes(&shipped));
    bench.ok(&["rollback", "1"]);
    assert_eq!(format(&raw_at(&bench.path("field"))), 2);
}
