//! The doctor on boards that a test makes up: a tree of files, and a system that answers by a script.

use super::*;
use crate::board::find;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// A root folder with some files.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = tree.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    fn findings(&self, board: &str, system: &mut Script) -> Vec<Finding> {
        let profile = find(board, &[]).unwrap().profile;
        let subject = Subject {
            profile: &profile,
            root: self.0.path(),
            arch: if board == "host" { "x86_64" } else { "aarch64" },
            field: Path::new("field"),
            photo_bytes: 512 << 20,
        };
        check(&subject, system)
    }
}

type Formats = fn(String) -> Result<Vec<[u8; 4]>, LiveError>;
type Scanned = fn() -> Result<Vec<Presence>, DeviceError>;

/// A system that answers by a script; what it does not know is not there.
#[derive(Default)]
struct Script {
    cameras: BTreeMap<PathBuf, Formats>,
    scan: Option<Scanned>,
    chips: Vec<fn() -> Result<String, DeviceError>>,
    disk: Option<Disk>,
    programs: Vec<&'static str>,
    may_use: bool,
}

impl System for Script {
    fn camera(&mut self, device: &Path) -> Result<Vec<[u8; 4]>, LiveError> {
        let name = device.display().to_string();
        match self.cameras.get(device) {
            Some(answer) => answer(name),
            None => Err(LiveError::NoDevice { device: name }),
        }
    }
    fn scan(&mut self, _: &str) -> Result<Vec<Presence>, DeviceError> {
        self.scan.map_or(Ok(Vec::new()), |answer| answer())
    }
    fn chips(&mut self) -> Vec<(String, Result<String, DeviceError>)> {
        let chips = self.chips.iter().enumerate();
        chips
            .map(|(at, chip)| (format!("/dev/gpiochip{at}"), chip()))
            .collect()
    }
    fn may_use(&mut self, _: &Path) -> bool {
        self.may_use
    }
    fn disk(&mut self, _: &Path) -> io::Result<Disk> {
        self.disk.ok_or(io::Error::from(io::ErrorKind::NotFound))
    }
    fn has_program(&mut self, name: &str) -> bool {
        self.programs.contains(&name)
    }
}

const CORE: &str = "processor\t: 0\nFeatures\t: fp asimd crc32\n";

fn pi(cores: usize) -> Vec<(&'static str, String)> {
    vec![
        (
            "proc/device-tree/compatible",
            "raspberrypi,4-model-b\0brcm,bcm2711\0".into(),
        ),
        (
            "proc/device-tree/model",
            "Raspberry Pi 4 Model B Rev 1.4\0".into(),
        ),
        ("proc/cpuinfo", CORE.repeat(cores)),
        (
            "proc/meminfo",
            "MemTotal: 3880000 kB\nMemAvailable: 3000000 kB\n".into(),
        ),
        ("sys/class/thermal/thermal_zone0/temp", "48312\n".into()),
        (
            "sys/class/thermal/thermal_zone0/type",
            "cpu-thermal\n".into(),
        ),
        (
            "sys/devices/platform/soc/soc:firmware/get_throttled",
            "0\n".into(),
        ),
        ("sys/block/mmcblk0/device/type", "SD\n".into()),
        ("dev/i2c-1", String::new()),
        ("dev/spidev0.0", String::new()),
        ("dev/video0", String::new()),
    ]
}

fn tree(files: &[(&'static str, String)], changes: &[(&'static str, &str)]) -> Tree {
    let mut all: BTreeMap<&str, &str> = files.iter().map(|(name, text)| (*name, &**text)).collect();
    all.extend(changes.iter().copied());
    Tree::new(&all.into_iter().collect::<Vec<_>>())
}

fn sound() -> Script {
    let mut cameras: BTreeMap<PathBuf, Formats> = BTreeMap::new();
    cameras.insert("/dev/video0".into(), |_| Ok(vec![*b"YUYV", *b"MJPG"]));
    Script {
        cameras,
        scan: Some(|| Ok(vec![Presence::Answers(0x48), Presence::Held(0x50)])),
        chips: vec![|| Ok("raspberrypi-exp-gpio".into()), || {
            Ok("pinctrl-bcm2711".into())
        }],
        disk: Some(Disk {
            free_bytes: 20 << 30,
            writable: true,
        }),
        programs: vec!["rpicam-vid"],
        may_use: true,
    }
}

/// The findings of an area.
fn of(area: &str, findings: &[Finding]) -> Vec<Finding> {
    let those = findings.iter().filter(|finding| finding.area == area);
    those.cloned().collect()
}

#[test]
fn a_sound_board_has_nothing_to_cure() {
    let findings = tree(&pi(4), &[]).findings("raspberry-pi-4", &mut sound());
    for finding in &findings {
        assert_eq!(
            (finding.severity, &finding.cure),
            (Severity::Ok, &None),
            "{finding:?}"
        );
    }
    let text: Vec<String> = findings
        .iter()
        .map(|it| format!("{}: {}", it.area, it.found))
        .collect();
    for part in [
        "board: raspberry-pi-4 (Raspberry Pi 4 Model B Rev 1.4)",
        "cpu: Cortex-A72, 4 cores, asimd",
        "memory: 3072 of 3973 MB are free",
        "heat: 48.3 °C (cpu-thermal)",
        "power: neither undervoltage nor throttling",
        "disk: 20480 MB are free for field",
        "wear: mmcblk0 is an SD card, which does not tell its wear",
        "i2c: /dev/i2c-1: answers at 0x48, 0x50 (held by a driver)",
        "spi: /dev/spidev0.0",
        "gpio: /dev/gpiochip1 is pinctrl-bcm2711, 28 pins of the header",
    ] {
        assert!(text.iter().any(|line| line == part), "{part}: {text:#?}");
    }
    let cameras = of("camera", &findings);
    assert!(
        cameras[0]
            .found
            .contains("rpicam-vid is installed; --source 'command:rpicam-vid")
    );
    assert!(
        cameras[1]
            .found
            .contains("gives YUYV, MJPG; --source camera:/dev/video0")
    );
}

/// One thing is wrong on an otherwise sound board; what is said of it.
fn wrong(
    area: &str,
    changes: &[(&'static str, &str)],
    change: impl FnOnce(&mut Script),
) -> Vec<Finding> {
    let mut system = sound();
    change(&mut system);
    let findings = tree(&pi(4), changes).findings("raspberry-pi-4", &mut system);
    let found = of(area, &findings);
    let bad: Vec<Finding> = found
        .into_iter()
        .filter(|it| it.severity > Severity::Ok)
        .collect();
    for finding in &bad {
        assert!(
            finding.cure.as_ref().is_some_and(|cure| cure.len() > 8),
            "{finding:?}"
        );
    }
    bad
}

fn same(_: &mut Script) {}

/// The only bad finding: its severity, and that it says `part`.
fn one(found: &[Finding], severity: Severity, part: &str) {
    let [finding] = found else {
        panic!("{part}: {found:?}")
    };
    let all = format!(
        "{} {}",
        finding.found,
        finding.cure.as_deref().unwrap_or_default()
    );
    assert!(
        finding.severity == severity && all.contains(part),
        "{part}: {finding:?}"
    );
}

#[test]
fn what_is_wrong_with_the_machine_is_found_with_its_cure() {
    use Severity::{Fail, Warn};
    let other = [("proc/device-tree/compatible", "raspberrypi,5-model-b\0")];
    one(&wrong("board", &other, same), Warn, "raspberrypi,5-model-b");
    let cores = CORE.repeat(2);
    one(
        &wrong("cpu", &[("proc/cpuinfo", &cores)], same),
        Warn,
        "2 of 4 cores",
    );
    let bare = CORE.repeat(4).replace("asimd ", "");
    one(
        &wrong("cpu", &[("proc/cpuinfo", &bare)], same),
        Warn,
        "lacks asimd",
    );
    one(
        &wrong("memory", &[("proc/meminfo", "")], same),
        Warn,
        "/proc",
    );
    let full = "MemTotal: 3880000 kB\nMemAvailable: 30000 kB\n";
    one(
        &wrong("memory", &[("proc/meminfo", full)], same),
        Fail,
        "64 MB are needed",
    );
    let small = "MemTotal: 440000 kB\nMemAvailable: 300000 kB\n";
    one(
        &wrong("memory", &[("proc/meminfo", small)], same),
        Warn,
        "1024 MB",
    );
    let zone = "sys/class/thermal/thermal_zone0/temp";
    one(&wrong("heat", &[(zone, "81000")], same), Warn, "81.0 °C");
    one(&wrong("heat", &[(zone, "85100")], same), Fail, "fan");
    assert!(wrong("heat", &[(zone, "-256000")], same).is_empty());
    let throttled = "sys/devices/platform/soc/soc:firmware/get_throttled";
    let bits = |text| wrong("power", &[(throttled, text)], same);
    one(
        &bits("10000\n"),
        Warn,
        "there was a time when the voltage is too low",
    );
    one(&bits("0x10001\n"), Fail, "too low now");
    one(&bits("8"), Fail, "soft temperature limit");
    assert_eq!(bits("50005").len(), 2);
    one(&bits("no"), Warn, "'no'");
}

#[test]
fn what_is_wrong_with_the_disk_is_found_with_its_cure() {
    use Severity::{Fail, Warn};
    let disk = |free_mb: u64, writable| {
        wrong("disk", &[], |it| {
            it.disk = Some(Disk {
                free_bytes: free_mb << 20,
                writable,
            });
        })
    };
    one(&disk(300, true), Warn, "512 MB more");
    one(&disk(20, true), Fail, "20 MB are free");
    one(&disk(20_000, false), Fail, "read-only");
    one(&wrong("disk", &[], |it| it.disk = None), Fail, "--field");
    let emmc = |life: &str, reserve: &str| {
        let changes = [
            ("sys/block/mmcblk0/device/type", "MMC\n"),
            ("sys/block/mmcblk0/device/life_time", life),
            ("sys/block/mmcblk0/device/pre_eol_info", reserve),
        ];
        wrong("wear", &changes, same)
    };
    assert!(emmc("0x01 0x02\n", "0x01\n").is_empty());
    assert!(emmc("0x00 0x00\n", "0x00\n").is_empty());
    assert!(emmc("nonsense", "").is_empty());
    one(&emmc("0x01 0x09\n", "0x01\n"), Warn, "80 to 90 %");
    one(&emmc("0x01 0x01\n", "0x02\n"), Warn, "0 to 10 %");
    one(&emmc("0x01 0x01\n", "0x03\n"), Fail, "reserve");
    one(&emmc("0x0b 0x01\n", "0x01\n"), Fail, "used up");
}

#[test]
fn what_is_wrong_with_a_camera_is_found_with_its_cure() {
    use Severity::Warn;
    let answers = |answer: Formats| {
        wrong("camera", &[], |it| {
            it.cameras.insert("/dev/video0".into(), answer);
        })
    };
    one(
        &answers(|device| Err(LiveError::Denied { device })),
        Warn,
        "group video",
    );
    one(
        &answers(|device| Err(LiveError::Busy { device })),
        Warn,
        "fuser",
    );
    one(
        &answers(|_| Ok(vec![*b"pRAA", *b"RG10"])),
        Warn,
        "pRAA, RG10",
    );
    // A device that captures nothing is not worth a word while there is another camera.
    assert!(answers(|_| Ok(Vec::new())).is_empty());
    let none = wrong("camera", &[], |it| {
        it.cameras.clear();
        it.programs.clear();
    });
    one(&none, Warn, "no camera can be used");
    // One that the profile does not name is found too.
    let mut system = sound();
    system
        .cameras
        .insert("/dev/video9".into(), |_| Ok(vec![*b"GREY"]));
    let findings = tree(&pi(4), &[("dev/video9", "")]).findings("raspberry-pi-4", &mut system);
    let cameras = of("camera", &findings);
    assert!(
        cameras
            .iter()
            .any(|it| it.found.contains("/dev/video9 gives GREY"))
    );
}

#[test]
fn what_is_wrong_with_a_bus_or_the_lines_is_found_with_its_cure() {
    use Severity::Warn;
    let mut files = pi(4);
    files.retain(|(name, _)| !name.starts_with("dev/"));
    let findings = tree(&files, &[]).findings("raspberry-pi-4", &mut sound());
    one(&of("i2c", &findings), Warn, "dtparam=i2c_arm=on");
    one(&of("spi", &findings), Warn, "dtparam=spi=on");
    let scans = |answer: Scanned| wrong("i2c", &[], |it| it.scan = Some(answer));
    let denied: Scanned = || {
        Err(DeviceError::Denied {
            device: "/dev/i2c-1".into(),
            group: "i2c",
        })
    };
    one(&scans(denied), Warn, "group i2c");
    let stuck: Scanned = || {
        Err(DeviceError::Bus {
            bus: "/dev/i2c-1".into(),
            address: 8,
            what: "stuck".into(),
        })
    };
    one(&scans(stuck), Warn, "pull-up");
    assert!(scans(|| Ok(Vec::new())).is_empty());
    one(
        &wrong("spi", &[], |it| it.may_use = false),
        Warn,
        "group spi",
    );
    let other = wrong("gpio", &[], |it| {
        it.chips = vec![|| Ok("tegra-gpio".into())]
    });
    one(&other, Warn, "there is tegra-gpio");
    one(
        &wrong("gpio", &[], |it| it.chips.clear()),
        Warn,
        "there is none",
    );
    let refused = wrong("gpio", &[], |it| {
        it.chips = vec![|| {
            Err(DeviceError::Denied {
                device: "/dev/gpiochip0".into(),
                group: "gpio",
            })
        }];
    });
    one(&refused, Warn, "group gpio");
}

#[test]
fn an_empty_root_is_looked_at_without_a_word_of_what_is_not_known() {
    let findings = Tree::new(&[]).findings("host", &mut Script::default());
    let areas: Vec<&str> = findings.iter().map(|it| it.area).collect();
    assert_eq!(areas, ["board", "cpu", "memory", "heat", "disk", "camera"]);
}

#[test]
fn a_program_for_another_processor_is_told() {
    let profile = find("raspberry-pi-5", &[]).unwrap().profile;
    let tree = Tree::new(&[]);
    let subject = Subject {
        profile: &profile,
        root: tree.0.path(),
        arch: "x86_64",
        field: Path::new("field"),
        photo_bytes: 0,
    };
    let findings = check(&subject, &mut sound());
    one(&of("cpu", &findings), Severity::Warn, "built for x86_64");
    one(&of("board", &findings), Severity::Warn, "no device tree");
}

#[test]
fn figures_are_held_against_the_budgets() {
    let profile = find("raspberry-pi-4", &[]).unwrap().profile;
    let measured = |slow: usize, rss_mb, kernel: &str| {
        let mut latencies_ms = vec![30.0; 1_000 - slow];
        latencies_ms.extend(vec![90.0; slow]);
        let bench = Bench {
            kernel: kernel.into(),
            threads: 4,
            latencies_ms,
            rss_mb,
        };
        let findings = super::bench(&profile, &bench);
        findings.iter().map(|it| it.severity).collect::<Vec<_>>()
    };
    use Severity::{Fail, Ok, Warn};
    assert_eq!(measured(10, Some(64.0), "neon"), [Ok, Ok, Ok]);
    assert_eq!(measured(11, Some(64.1), "neon"), [Ok, Fail, Fail]);
    assert_eq!(measured(0, None, "portable"), [Warn, Ok]);
    let one = Bench {
        kernel: "neon".into(),
        threads: 1,
        latencies_ms: vec![7.0],
        rss_mb: None,
    };
    assert_eq!((one.quantile_ms(0.99), one.quantile_ms(0.0)), (7.0, 7.0));
}
