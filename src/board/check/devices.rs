//! What hangs on the board: cameras, buses, lines.

use super::{Finding, Severity, Subject, System, entries, text as file};
use crate::board::{Bus, Camera};
use crate::device::scan::Presence;
use crate::source::camera::{layout_of, text};
use crate::source::{self, LiveError, Spec};
use std::path::{Path, PathBuf};

/// Beginnings of the names of V4L2 devices that work on pictures from elsewhere, as a Raspberry Pi has a dozen of them:
/// raspberrypi/linux, drivers/staging/vc04_services and drivers/media/platform/raspberrypi.
const NO_CAMERAS: [&str; 5] = [
    "bcm2835-codec",
    "bcm2835-isp",
    "pispbe",
    "rpi-hevc",
    "rpivid",
];

pub(super) fn cameras(subject: &Subject<'_>, system: &mut impl System) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for camera in &subject.profile.cameras {
        match source::parse(&camera.source) {
            Ok(Spec::Command(spec)) => findings.extend(program(camera, spec.program(), system)),
            Ok(Spec::Camera(spec)) => {
                findings.extend(device(&spec.device, Some(camera), system));
                seen.push(spec.device);
            }
            // A profile holds no other.
            Ok(_) | Err(_) => {}
        }
    }
    for path in entries(&subject.root.join("dev"), "video") {
        let node = path.file_name().unwrap_or_default();
        let about = subject.root.join("sys/class/video4linux").join(node);
        let name = file(&about.join("name")).unwrap_or_default();
        let path = Path::new("/dev").join(node);
        let elsewhere = NO_CAMERAS.iter().any(|other| name.starts_with(other));
        if !seen.contains(&path) && !elsewhere {
            findings.extend(device(&path, None, system));
        }
    }
    if !findings.iter().any(|it| it.severity == Severity::Ok) {
        findings.push(Finding::warn(
            "camera",
            "no camera can be used",
            "plug in a USB camera, or connect a camera module and install its programs; photos from files work all the same",
        ));
    }
    findings
}

fn program(camera: &Camera, program: &str, system: &mut impl System) -> Option<Finding> {
    let found = format!("{}: {program}", camera.name);
    system.has_program(program).then(|| {
        Finding::ok(
            "camera",
            format!("{found} is installed; --source '{}'", camera.source),
        )
    })
}

/// A device that is not there, or does not capture (a codec, a metadata node), is nothing to report unless nothing else is found.
fn device(path: &Path, camera: Option<&Camera>, system: &mut impl System) -> Option<Finding> {
    let name = path.display();
    let formats = match system.camera(path) {
        Ok(formats) => formats,
        Err(LiveError::NoDevice { .. } | LiveError::NotACamera { .. }) => return None,
        Err(error) => return Some(Finding::of_error("camera", &error)),
    };
    if formats.is_empty() {
        return None;
    }
    let names: Vec<String> = formats.iter().map(text).collect();
    let names = names.join(", ");
    if !formats.iter().any(|format| layout_of(format).is_some()) {
        // A raw sensor, as the CSI cameras of both families are to V4L2.
        return Some(Finding::warn(
            "camera",
            format!("{name} gives {names}, none of which is understood"),
            "use the board's own program as --source 'command:…' (`fieldhead board list`)",
        ));
    }
    let called = camera.map_or(String::new(), |camera| format!(" ({})", camera.name));
    Some(Finding::ok(
        "camera",
        format!("{name}{called} gives {names}; --source camera:{name}"),
    ))
}

pub(super) fn i2c(subject: &Subject<'_>, system: &mut impl System) -> Vec<Finding> {
    let buses = subject.profile.i2c.iter();
    buses
        .map(|bus| match there("i2c", subject, bus) {
            Some(missing) => missing,
            None => match system.scan(&bus.device) {
                Ok(found) => Finding::ok("i2c", format!("{}: {}", bus.device, answers(&found))),
                Err(error) => Finding::of_error("i2c", &error),
            },
        })
        .collect()
}

fn answers(found: &[Presence]) -> String {
    if found.is_empty() {
        return "nothing answers".into();
    }
    let told: Vec<String> = found
        .iter()
        .map(|presence| match presence {
            Presence::Answers(address) => format!("{address:#04x}"),
            Presence::Held(address) => format!("{address:#04x} (held by a driver)"),
        })
        .collect();
    format!("answers at {}", told.join(", "))
}

pub(super) fn spi(subject: &Subject<'_>, system: &mut impl System) -> Vec<Finding> {
    let buses = subject.profile.spi.iter();
    buses
        .map(|bus| match there("spi", subject, bus) {
            Some(missing) => missing,
            None if system.may_use(Path::new(&bus.device)) => Finding::ok("spi", &bus.device),
            None => Finding::warn(
                "spi",
                format!("{} may not be opened", bus.device),
                "put the user into the group spi (`sudo usermod -aG spi $USER`) and log in again",
            ),
        })
        .collect()
}

/// What is said of a bus whose device is not there.
fn there(area: &'static str, subject: &Subject<'_>, bus: &Bus) -> Option<Finding> {
    let path = subject.root.join(bus.device.trim_start_matches('/'));
    (!path.exists()).then(|| {
        Finding::warn(
            area,
            format!("{} is not there", bus.device),
            format!("where it is needed: {}", bus.enable),
        )
    })
}

pub(super) fn gpio(subject: &Subject<'_>, system: &mut impl System) -> Vec<Finding> {
    let Some(gpio) = &subject.profile.gpio else {
        return Vec::new();
    };
    let mut labels = Vec::new();
    let mut refused = Vec::new();
    for (path, label) in system.chips() {
        match label {
            Ok(label) if label == gpio.chip => {
                let pins = gpio.pins.len();
                let found = format!("{path} is {label}, {pins} pins of the header");
                return vec![Finding::ok("gpio", found)];
            }
            Ok(label) => labels.push(label),
            Err(error) => refused.push(Finding::of_error("gpio", &error)),
        }
    }
    if !refused.is_empty() {
        return refused;
    }
    let there = match labels.is_empty() {
        true => "none".to_owned(),
        false => labels.join(", "),
    };
    vec![Finding::warn(
        "gpio",
        format!("there is no GPIO chip {}, there is {there}", gpio.chip),
        "check --board; the kernel needs CONFIG_GPIO_CDEV_V1",
    )]
}
