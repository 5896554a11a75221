//! Where the field is kept: room, and how worn the flash is.

use super::{Finding, Subject, System, entries, text};
use std::path::Path;

/// Below this a commit may fail: redb grows its file by doubling regions, and a field of some hundred samples has 50 MB.
const LEAST_BYTES: u64 = 64 << 20;

pub(super) fn space(subject: &Subject<'_>, system: &mut impl System) -> Vec<Finding> {
    let folder = subject.field.display();
    let disk = match system.disk(subject.field) {
        Ok(disk) => disk,
        Err(error) => {
            let found = format!("{folder} cannot be looked at: {error}");
            return vec![Finding::fail("disk", found, "name another with --field")];
        }
    };
    let found = format!("{} MB are free for {folder}", disk.free_bytes >> 20);
    if !disk.writable {
        return vec![Finding::fail(
            "disk",
            format!("{folder} cannot be written"),
            "check its owner, and that its disk is not mounted read-only (`findmnt`)",
        )];
    }
    if disk.free_bytes < LEAST_BYTES {
        return vec![Finding::fail("disk", found, "free some space")];
    }
    if disk.free_bytes < LEAST_BYTES + subject.photo_bytes {
        return vec![Finding::warn(
            "disk",
            format!(
                "{found}, its photos may take {} MB more",
                subject.photo_bytes >> 20
            ),
            "free some space, or lower photos_mb in field.toml",
        )];
    }
    vec![Finding::ok("disk", found)]
}

/// Wear as eMMC tells it: JEDEC eMMC 5.0 (JESD84-B50), DEVICE_LIFE_TIME_EST_TYP_A and _B in tenths, PRE_EOL_INFO; Linux,
/// Documentation/driver-api/mmc/mmc-dev-attrs.rst. SD cards have no such register.
pub(super) fn wear(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for block in entries(&root.join("sys/block"), "mmcblk") {
        let name = block.file_name().unwrap_or_default().to_string_lossy();
        let device = block.join("device");
        match text(&device.join("type")).as_deref().map(str::trim) {
            Some("SD") => findings.push(Finding::ok(
                "wear",
                format!("{name} is an SD card, which does not tell its wear"),
            )),
            Some("MMC") => findings.extend(emmc(&name, &device)),
            _ => {}
        }
    }
    findings
}

fn emmc(name: &str, device: &Path) -> Option<Finding> {
    let numbers = |file: &str| -> Vec<u32> {
        let text = text(&device.join(file)).unwrap_or_default();
        let words = text.split_whitespace();
        let hex = words.map(|word| u32::from_str_radix(word.trim_start_matches("0x"), 16));
        hex.filter_map(Result::ok).collect()
    };
    let life = numbers("life_time").into_iter().max().filter(|&n| n > 0)?;
    let reserve = numbers("pre_eol_info").first().copied().unwrap_or(0);
    let cure = "copy the field elsewhere, and change the module";
    if life > 10 {
        let found = format!("{name} has used up its life");
        return Some(Finding::fail("wear", found, cure));
    }
    let found = format!(
        "{name} has used {} to {} % of its life",
        10 * (life - 1),
        10 * life
    );
    Some(match (life, reserve) {
        (_, 3) => Finding::fail(
            "wear",
            format!("{found}, and its reserve is nearly gone"),
            cure,
        ),
        (9.., _) | (_, 2) => Finding::warn("wear", found, cure),
        _ => Finding::ok("wear", found),
    })
}
