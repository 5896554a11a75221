//! The machine itself: which board, its processor, memory, heat and power, and whether it keeps to its budgets.

use super::{Finding, Severity, Subject, entries, text};
use crate::board::{Profile, compatible};
use std::path::Path;

/// From here a Raspberry Pi slows down, and at 85 °C more so: raspberrypi.com, "Frequency management and thermal control". Jetsons
/// slow down some degrees later.
const WARM_MC: i64 = 80_000;
const HOT_MC: i64 = 85_000;
/// Temperatures that a sensor may say in earnest.
const SENSIBLE_MC: std::ops::RangeInclusive<i64> = -40_000..=150_000;
/// A part of the memory belongs to the GPU and the kernel: up to 76 MB and some of 512 on a Raspberry Pi.
const MEMORY_SHARE: f64 = 0.7;

pub(super) fn board(subject: &Subject<'_>) -> Vec<Finding> {
    let profile = subject.profile;
    let model = text(&subject.root.join("proc/device-tree/model"));
    let model = model.map(|model| model.trim_end_matches('\0').to_owned());
    let named = match &model {
        Some(model) => format!("{} ({model})", profile.name),
        None => profile.name.clone(),
    };
    let names = match compatible(subject.root) {
        Ok(names) => names,
        Err(error) => return vec![Finding::of_error("board", &error)],
    };
    let fits =
        profile.compatible.is_empty() || names.iter().any(|name| profile.compatible.contains(name));
    if fits {
        return vec![Finding::ok("board", named)];
    }
    let told = match names.first() {
        Some(name) => format!("the device tree says {name}"),
        None => "there is no device tree".into(),
    };
    let found = format!("the profile {} was asked for, and {told}", profile.name);
    vec![Finding::warn(
        "board",
        found,
        "leave --board out, or go on if this board is alike",
    )]
}

pub(super) fn cpu(subject: &Subject<'_>) -> Vec<Finding> {
    let cpu = &subject.profile.cpu;
    let built = subject.profile.target.split('-').next().unwrap_or_default();
    if built != "host" && built != subject.arch {
        return vec![Finding::warn(
            "cpu",
            format!(
                "this program is built for {}, the board is {built}",
                subject.arch
            ),
            "name the board that this is with --board, or install the package for it",
        )];
    }
    let Some(info) = text(&subject.root.join("proc/cpuinfo")) else {
        return vec![Finding::warn(
            "cpu",
            "/proc/cpuinfo cannot be read",
            "mount /proc",
        )];
    };
    let cores = info.lines().filter(|line| key(line) == "processor").count();
    let able = info
        .lines()
        .find(|line| ["Features", "flags"].contains(&key(line)));
    let able: Vec<&str> = able.map_or(Vec::new(), |line| line.split_whitespace().collect());
    let mut findings = Vec::new();
    if (cores as u64) < u64::from(cpu.cores) {
        findings.push(Finding::warn(
            "cpu",
            format!("{cores} of {} cores are there", cpu.cores),
            "look for maxcpus= or isolcpus= in /proc/cmdline",
        ));
    }
    for missing in cpu.features.iter().filter(|name| !able.contains(&&***name)) {
        findings.push(Finding::warn(
            "cpu",
            format!("the processor lacks {missing}, which a {} has", cpu.model),
            "check --board; the work is done by a slower kernel",
        ));
    }
    if findings.is_empty() {
        let features = cpu.features.iter().map(|name| format!(", {name}"));
        let found = format!(
            "{}, {cores} {}{}",
            cpu.model,
            if cores == 1 { "core" } else { "cores" },
            features.collect::<String>()
        );
        findings.push(Finding::ok("cpu", found));
    }
    findings
}

fn key(line: &str) -> &str {
    line.split(':').next().unwrap_or_default().trim()
}

pub(super) fn memory(subject: &Subject<'_>) -> Vec<Finding> {
    let info = text(&subject.root.join("proc/meminfo")).unwrap_or_default();
    // "kB" of /proc/meminfo is 1,024 bytes (proc(5)).
    let mb = |name: &str| -> Option<f64> {
        let line = info.lines().find(|line| key(line) == name)?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    };
    let (Some(total), Some(available)) = (mb("MemTotal"), mb("MemAvailable")) else {
        return vec![Finding::warn(
            "memory",
            "/proc/meminfo cannot be read",
            "mount /proc",
        )];
    };
    let found = format!("{available:.0} of {total:.0} MB are free");
    let needed = f64::from(subject.profile.budget.rss_mb_max);
    let expected = f64::from(subject.profile.memory_mb);
    if available < needed {
        return vec![Finding::fail(
            "memory",
            format!("{found}, {needed:.0} MB are needed"),
            "stop other programs, the desktop first",
        )];
    }
    if total < MEMORY_SHARE * expected {
        return vec![Finding::warn(
            "memory",
            format!("{found}, the smallest of these boards has {expected:.0} MB"),
            "check --board, and gpu_mem in /boot/firmware/config.txt on a Raspberry Pi",
        )];
    }
    vec![Finding::ok("memory", found)]
}

pub(super) fn heat(root: &Path) -> Vec<Finding> {
    let zones = entries(&root.join("sys/class/thermal"), "thermal_zone");
    let hottest = zones
        .iter()
        .filter_map(|zone| {
            let mc: i64 = text(&zone.join("temp"))?.trim().parse().ok()?;
            let kind = text(&zone.join("type")).unwrap_or_default();
            SENSIBLE_MC
                .contains(&mc)
                .then(|| (mc, kind.trim().to_owned()))
        })
        .max();
    let Some((mc, zone)) = hottest else {
        return vec![Finding::ok(
            "heat",
            "this machine does not tell its temperature",
        )];
    };
    let found = format!("{}.{} °C ({zone})", mc / 1_000, mc.abs() % 1_000 / 100);
    let cure = "give it a heat sink, a fan or shade; it slows down to save itself";
    vec![match mc {
        HOT_MC.. => Finding::fail("heat", found, cure),
        WARM_MC.. => Finding::warn("heat", found, cure),
        _ => Finding::ok("heat", found),
    }]
}

/// What the firmware of a Raspberry Pi tells: raspberrypi.com, "The vcgencmd tool", get_throttled. The bits from 16 on say that it
/// happened since the start.
pub(super) fn power(root: &Path) -> Vec<Finding> {
    const STATES: [(u32, &str, &str); 4] = [
        (
            0,
            "the voltage is too low",
            "take the power supply and the cable that are made for this board",
        ),
        (
            1,
            "the frequency is capped",
            "cool it, and check its power supply",
        ),
        (2, "it is throttled", "cool it, and check its power supply"),
        (
            3,
            "it is at its soft temperature limit",
            "give it a heat sink or a fan",
        ),
    ];
    let path = root.join("sys/devices/platform/soc/soc:firmware/get_throttled");
    let Some(text) = text(&path) else {
        return Vec::new();
    };
    let digits = text.trim().trim_start_matches("0x");
    let Ok(bits) = u32::from_str_radix(digits, 16) else {
        let found = format!("get_throttled says '{}', expected a number", text.trim());
        return vec![Finding::warn("power", found, "update the firmware")];
    };
    let mut findings = Vec::new();
    for (bit, state, cure) in STATES {
        if bits & (1 << bit) != 0 {
            findings.push(Finding::fail("power", format!("{state} now"), cure));
        } else if bits & (1 << (16 + bit)) != 0 {
            let found = format!("since the start there was a time when {state}");
            findings.push(Finding::warn("power", found, cure));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("power", "neither undervoltage nor throttling"));
    }
    findings
}

/// What a benchmark measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Bench {
    /// Name of the kernel that ran.
    pub kernel: String,
    pub threads: usize,
    /// Each inference in ms, in any order; at least one.
    pub latencies_ms: Vec<f64>,
    /// Peak resident memory, in MB; `None` where the system does not tell.
    pub rss_mb: Option<f64>,
}

impl Bench {
    /// The latency that `share` of the inferences do not exceed, in ms: the nearest rank.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        let at = rank.clamp(1, sorted.len().max(1)) - 1;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// What a benchmark's figures mean for a board.
pub fn bench(profile: &Profile, bench: &Bench) -> Vec<Finding> {
    let p99 = bench.quantile_ms(0.99);
    let most = f64::from(profile.budget.latency_ms_p99_max);
    let found = format!(
        "{:.1} ms an inference, 99 of 100 within {p99:.1} ms ({most:.0} allowed); {} of them on {} {}",
        bench.quantile_ms(0.5),
        bench.latencies_ms.len(),
        bench.threads,
        if bench.threads == 1 {
            "thread"
        } else {
            "threads"
        }
    );
    let slow = "stop other programs, look at heat and power above, and at the governor (cpufreq/scaling_governor)";
    let mut findings = vec![kernel(profile, &bench.kernel)];
    findings.push(match p99 <= most {
        true => Finding::ok("latency", found),
        false => Finding::fail("latency", found, slow),
    });
    if let Some(rss) = bench.rss_mb {
        let most = f64::from(profile.budget.rss_mb_max);
        let found = format!("{rss:.1} MB at the peak ({most:.0} allowed)");
        findings.push(match rss <= most {
            true => Finding::ok("rss", found),
            false => Finding::fail(
                "rss",
                found,
                "take a smaller backbone (`fieldhead backbones`)",
            ),
        });
    }
    findings
}

fn kernel(profile: &Profile, name: &str) -> Finding {
    let fastest = !["portable", "tract"].contains(&name);
    let arm = profile.cpu.features.iter().any(|name| name == "asimd");
    Finding {
        severity: if fastest || !arm {
            Severity::Ok
        } else {
            Severity::Warn
        },
        cure: (!fastest && arm)
            .then(|| "unset FIELDHEAD_KERNEL; this processor has a faster one".into()),
        ..Finding::ok("kernel", name)
    }
}
