//! Power cuts: what was acknowledged is there, what was not leaves no trace, the head answers.

mod support;

use fieldhead::random::SplitMix64;
use fieldhead::store::Store;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use support::Bench;

const CUTS: usize = 50;
/// The longest a process lives after its last line that was read: two inferences and their commits.
const LIFE_US: usize = 120_000;

#[test]
fn fifty_kills_while_collecting_lose_nothing_that_was_acknowledged() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    let mut random = SplitMix64::new(1);
    let mut acknowledged = vec![];
    for cut in 0..CUTS {
        let source = format!("line:{cut}");
        let args = [
            "--threads",
            "1",
            "collect",
            "--json",
            "--label",
            "gear",
            "--source",
            &source,
            "--count",
            "1000",
        ];
        let child = bench.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        acknowledged.extend(kill_at_random(child, &mut random));
        let store = Store::open(&bench.path("field")).unwrap();
        let there = store.samples().unwrap();
        assert_eq!(store.current_head().unwrap().0, 1);
        for id in &acknowledged {
            assert!(there.contains_key(id), "sample {id} of cut {cut} is lost");
        }
        // At most one sample a cut can have been committed without its line being read.
        assert!(there.len() <= 6 + acknowledged.len() + cut + 1);
        for id in there.keys() {
            assert!(store.photo(*id).unwrap().is_some());
        }
    }
    assert!(
        acknowledged.len() > CUTS / 4,
        "the kills came before anything happened"
    );
    bench.ok(&["predict", "train/gear/00.jpg"]);
}

/// Reads a random number of acknowledgements, lets a random time pass, kills, and reads what was still in the pipe.
fn kill_at_random(mut child: Child, random: &mut SplitMix64) -> Vec<u64> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ids: Vec<u64> = (0..random.below(4))
        .map(|_| id(&lines.next().unwrap().unwrap()))
        .collect();
    let (start, life_us) = (Instant::now(), random.below(LIFE_US) as u128);
    while start.elapsed().as_micros() < life_us {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    ids.extend(
        lines
            .map_while(Result::ok)
            .filter(|line| line.ends_with('}'))
            .map(|line| id(&line)),
    );
    ids
}

fn id(line: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["id"].as_u64().unwrap()
}

/// A field whose writer was killed, and the last sample that it acknowledged.
fn killed() -> (Bench, u64) {
    let bench = Bench::new();
    bench.photos("train", 1, 1);
    bench.ok(&["collect", "--from", "train"]);
    let mut child = bench
        .command(&[
            "collect", "--json", "--label", "gear", "--source", "line:1", "--count", "1000",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let last = id(&lines.next().unwrap().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    (bench, last)
}

#[test]
fn a_reader_repairs_what_a_killed_writer_left() {
    let (bench, last) = killed();
    let samples = bench.ok(&["samples", "--json"]).json();
    assert!(samples.iter().any(|s| s["id"] == last));
}

#[test]
fn what_a_killed_writer_left_is_read_where_it_cannot_be_repaired() {
    let (bench, last) = killed();
    // As on a full disk: writing beyond the first 32 or 64 KiB of a file fails.
    let program = env!("CARGO_BIN_EXE_fieldhead");
    let script = format!("trap '' XFSZ; ulimit -f 64; exec '{program}' samples --json");
    let ran = Command::new("sh")
        .args(["-c", &script])
        .current_dir(bench.dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    let line = format!("\"id\":{last},");
    assert!(
        told.contains(&line),
        "{told}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}
