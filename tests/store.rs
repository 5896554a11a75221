//! The store below its promise: every operation of the disk fails in turn, and the power goes with it.

mod support;

use fieldhead::store::{HeadRecord, Origin, Store, StoreError};
use std::io;
use support::disk::{Cable, head, recipe, sample};

/// Collects, trains, forgets; stops at the first error. Returns the ids that were acknowledged and how many heads were.
fn work(store: &Store, head: &HeadRecord) -> (Vec<u64>, u64, Option<StoreError>) {
    let (mut ids, mut versions) = (Vec::new(), 0);
    for number in 0..4 {
        match store.write(|tx| tx.add_sample(&sample(number), &recipe(40))) {
            Ok(id) => ids.push(id),
            Err(error) => return (ids, versions, Some(error)),
        }
        match store.write(|tx| tx.put_head(head, Origin::Train)) {
            Ok(version) => versions = version,
            Err(error) => return (ids, versions, Some(error)),
        }
    }
    (ids, versions, None)
}

#[test]
fn whatever_operation_fails_acknowledged_work_is_there_after_the_power_returns() {
    let head = head();
    let empty = Cable::new(Vec::new(), None, io::ErrorKind::Other);
    drop(Store::on(empty.clone(), 1).unwrap());
    let image = empty.durable();
    let whole = Cable::new(image.clone(), None, io::ErrorKind::Other);
    let store = Store::on(whole.clone(), 1).unwrap();
    assert!(work(&store, &head).2.is_none());
    drop(store);
    let operations = whole.operations();
    assert!(operations > 30, "{operations}");
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        for dies_at in 1..=operations {
            let cable = Cable::new(image.clone(), Some(dies_at), kind);
            let (ids, version, error) = match Store::on(cable.clone(), 1) {
                Ok(store) => work(&store, &head),
                Err(error) => (vec![], 0, Some(error)),
            };
            if let (io::ErrorKind::StorageFull, Some(error)) = (kind, error) {
                let said = error.to_string();
                assert!(
                    said.contains("full") || said.contains("earlier write"),
                    "{said}"
                );
            }
            let again = Cable::new(cable.durable(), None, io::ErrorKind::Other);
            let store = Store::on(again, 1).unwrap();
            let there = store.samples().unwrap();
            assert!(
                ids.iter().all(|id| there.contains_key(id)),
                "operation {dies_at}"
            );
            assert!(there.len() <= ids.len() + 1);
            for id in there.keys() {
                assert_eq!(store.photo(*id).unwrap().map(|p| p.len()), Some(3000));
            }
            assert_eq!(store.features(&recipe(40)).unwrap().ids.len(), there.len());
            if version > 0 {
                let (current, found) = store.current_head().unwrap();
                assert!(current >= version && found == head);
            }
        }
    }
}

#[test]
fn a_head_that_does_not_fit_its_recipe_is_never_put_in_use() {
    let cable = Cable::new(Vec::new(), None, io::ErrorKind::Other);
    let store = Store::on(cable, 1).unwrap();
    let mut wrong = head();
    wrong.recipe.width = 41;
    assert!(
        store
            .write(|tx| tx.put_head(&wrong, Origin::Train))
            .is_err()
    );
    assert!(matches!(store.current_head(), Err(StoreError::NoHead)));
    assert!(store.versions().unwrap().is_empty());
}

#[test]
fn features_that_are_not_finite_are_not_stored() {
    let store = Store::on(Cable::new(Vec::new(), None, io::ErrorKind::Other), 1).unwrap();
    let mut bad = sample(0);
    bad.features[3] = f32::NAN;
    assert!(store.write(|tx| tx.add_sample(&bad, &recipe(40))).is_err());
    assert!(store.samples().unwrap().is_empty() && store.photo_bytes().unwrap() == 0);
}

#[test]
fn forgetting_leaves_nothing_behind() {
    let store = Store::on(Cable::new(Vec::new(), None, io::ErrorKind::Other), 1).unwrap();
    let id = store
        .write(|tx| tx.add_sample(&sample(1), &recipe(40)))
        .unwrap();
    assert_eq!(store.find_content(&[1; 32], "class 1").unwrap(), Some(id));
    store.write(|tx| tx.remove_sample(id, 9)).unwrap();
    assert!(
        store.samples().unwrap().is_empty() && store.features(&recipe(40)).unwrap().ids.is_empty()
    );
    assert_eq!(
        (store.photo(id).unwrap(), store.photo_bytes().unwrap()),
        (None, 0)
    );
    assert_eq!(store.find_content(&[1; 32], "class 1").unwrap(), None);
    let next = store
        .write(|tx| tx.add_sample(&sample(2), &recipe(40)))
        .unwrap();
    assert!(next > id, "ids are never used again");
}

#[test]
fn a_copy_stays_known_when_its_twin_is_forgotten() {
    let store = Store::on(Cable::new(Vec::new(), None, io::ErrorKind::Other), 1).unwrap();
    let add = || store.write(|tx| tx.add_sample(&sample(1), &recipe(40)));
    let (first, second) = (add().unwrap(), add().unwrap());
    store.write(|tx| tx.remove_sample(first, 9)).unwrap();
    assert_eq!(
        store.find_content(&[1; 32], "class 1").unwrap(),
        Some(second)
    );
}

#[test]
fn a_disk_overwritten_anywhere_gives_an_error_and_no_panic() {
    let head = head();
    let whole = Cable::new(Vec::new(), None, io::ErrorKind::Other);
    let store = Store::on(whole.clone(), 1).unwrap();
    assert!(work(&store, &head).2.is_none());
    drop(store);
    let image = whole.durable();
    let mut damaged = 0;
    for page in 1..image.len() / 4096 {
        for pattern in [0x00, 0xff, 0x5a] {
            let mut bytes = image.clone();
            bytes[page * 4096..(page + 1) * 4096].fill(pattern);
            let Ok(store) = Store::on(Cable::new(bytes, None, io::ErrorKind::Other), 1) else {
                continue;
            };
            let reads = [
                store.samples().is_err(),
                store.features(&recipe(40)).is_err(),
                store.current_head().is_err(),
                store.versions().is_err(),
                store.journal().is_err(),
                store.photo(1).is_err(),
            ];
            let written = work(&store, &head).2;
            let removed = store.write(|tx| tx.remove_sample(1, 3));
            damaged += usize::from(reads.contains(&true) || written.is_some() || removed.is_err());
        }
    }
    assert!(damaged > 0);
}
