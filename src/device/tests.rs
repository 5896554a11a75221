//! Buttons, lamps and sensors against scripted pins and buses: everything that is said over them, and every refusal.

use super::adxl345::Adxl345;
use super::button::{Active, Button, Debounce, Event};
use super::lamp::{Hysteresis, Lamp, Lamps, Timing};
use super::panel::{Action, Panel};
use super::scan::{ADDRESSES, Presence, scan};
use super::sensor::{Chip, SensorSpec};
use super::tmp105::{Kind, Tmp105};
use super::*;
use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
use embedded_hal_mock::eh1::MockError;
use embedded_hal_mock::eh1::digital::{Mock as Pin, State, Transaction as Level};
use embedded_hal_mock::eh1::i2c::{Mock as Bus, Transaction as Said};

const NACK: ErrorKind = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
const MS: u64 = 1_000;

/// A pin to ground that is pressed where `levels` has a 1, read once a digit.
fn pressed(levels: &str) -> Pin {
    let levels: Vec<Level> = levels
        .chars()
        .map(|c| Level::get(if c == '1' { State::Low } else { State::High }))
        .collect();
    Pin::new(&levels)
}

#[test]
fn bounces_are_no_presses() {
    let mut level = Debounce::default();
    let raw = [true, false, true, true, false, true];
    for (at, raw) in raw.into_iter().enumerate() {
        assert_eq!(level.update(raw, at as u64 * MS), None);
    }
    assert_eq!(level.update(true, 16 * MS), None);
    assert_eq!(level.update(true, 17 * MS), Some(true));
    assert_eq!(level.update(true, 99 * MS), None);
    assert_eq!(level.update(false, 100 * MS), None);
    assert_eq!(level.update(false, 112 * MS), Some(false));
}

#[test]
fn a_button_that_is_held_says_so_again_and_again() {
    let mut pin = pressed("11111100");
    let mut button = Button::new(pin.clone(), "GPIO17", Active::Low);
    let times = [0, 12, 100, 262, 300, 512, 600, 612];
    let events: Vec<Option<Event>> = times
        .iter()
        .map(|ms| button.poll(ms * MS).unwrap())
        .collect();
    let (p, h, r) = (
        Some(Event::Pressed { since_us: 0 }),
        Some(Event::Held),
        Some(Event::Released),
    );
    assert_eq!(events, [None, p, None, h, None, h, None, r]);
    pin.done();
}

#[test]
fn a_line_that_fails_is_an_error_and_no_press() {
    let failing = Level::get(State::Low).with_error(MockError::Io(std::io::ErrorKind::Other));
    let mut pin = Pin::new(&[failing]);
    let mut button = Button::new(pin.clone(), "GPIO17", Active::Low);
    let error = button.poll(0).unwrap_err().to_string();
    assert!(error.contains("pin GPIO17 failed"), "{error}");
    pin.done();
}

/// Polls a panel every 6 ms; what was asked for, as text.
fn played(labels: &[(&str, &str)], wrong: &str) -> Vec<String> {
    let mut pins: Vec<Pin> = labels.iter().map(|(_, levels)| pressed(levels)).collect();
    let mut wrong_pin = pressed(wrong);
    let button = |pin: &Pin| Button::new(pin.clone(), "pin", Active::Low);
    let buttons = labels.iter().zip(&pins);
    let buttons = buttons.map(|((label, _), pin)| ((*label).to_owned(), button(pin)));
    let mut panel = Panel::new(buttons.collect(), Some(button(&wrong_pin)));
    let mut asked = Vec::new();
    for at in 0..wrong.len() as u64 {
        let actions = panel.poll(at * 6 * MS).unwrap();
        asked.extend(actions.iter().map(|action| match action {
            Action::Collect { label, press } => format!("{label} {press}"),
            Action::Wrong { since_us } => format!("wrong since {} ms", since_us / MS),
            Action::Correct { label } => format!("correct {label}"),
        }));
    }
    for pin in &mut pins {
        pin.done();
    }
    wrong_pin.done();
    asked
}

#[test]
fn press_and_hold_collects_and_one_press_is_one_burst() {
    let held = format!("{}{}111000", "1".repeat(90), "0".repeat(4));
    let idle = "0".repeat(held.len());
    // 90 reads of 6 ms: settled after 12 ms, then every 252 ms.
    assert_eq!(
        played(&[("gear", &held)], &idle),
        ["gear 1", "gear 1", "gear 1", "gear 2"]
    );
}

#[test]
fn wrong_and_a_label_corrects_once_and_not_after_a_while() {
    let gear = "0000000000111000111000";
    let wrong = "1110000000000000000000";
    assert_eq!(
        played(&[("gear", gear)], wrong),
        ["wrong since 0 ms", "correct gear", "gear 1"]
    );
    let long = 1_700;
    let gear = format!("{}111000", "0".repeat(long));
    let wrong = format!("111{}", "0".repeat(long + 3));
    assert_eq!(
        played(&[("gear", &gear)], &wrong),
        ["wrong since 0 ms", "gear 1"]
    );
}

#[test]
fn a_correction_does_not_wait_for_a_button_that_is_stuck() {
    let stuck = "1111111111111111";
    let wrong = "0000111000000000";
    let other = "0000000000111100";
    assert_eq!(
        played(&[("a", stuck), ("b", other)], wrong),
        ["a 1", "wrong since 24 ms", "correct b"]
    );
}

#[test]
fn while_one_button_collects_the_others_do_not() {
    let first = "1111111111000000";
    let other = "0001111111111111";
    let idle = "0".repeat(first.len());
    assert_eq!(played(&[("a", first), ("b", other)], &idle), ["a 1"]);
}

#[test]
fn a_wavering_decision_changes_nothing_and_a_lasting_one_does() {
    let timing = Timing {
        settle_us: 100,
        hold_us: 1_000,
    };
    let mut it = Hysteresis::new(timing);
    assert_eq!(it.update(Some(1), 0), None);
    assert_eq!(it.update(Some(1), 100), Some(1));
    for now_us in (150..1_000).step_by(50) {
        let decided = if now_us % 100 == 0 { Some(1) } else { Some(2) };
        assert_eq!(it.update(decided, now_us), Some(1));
    }
    assert_eq!(it.update(Some(2), 1_000), Some(1));
    // It lasted long enough, but the first one has to stay on for its time.
    assert_eq!(it.update(Some(2), 1_099), Some(1));
    assert_eq!(it.update(Some(2), 1_100), Some(2));
    assert_eq!(it.update(None, 1_200), Some(2));
    assert_eq!(it.update(None, 2_100), None);
}

fn lamp(pin: &Pin, active: Active, label: Option<&str>) -> Lamp<Pin> {
    Lamp {
        pin: pin.clone(),
        name: "GPIO5".into(),
        active,
        label: label.map(str::to_owned),
    }
}

const AT_ONCE: Timing = Timing {
    settle_us: 0,
    hold_us: 0,
};

#[test]
fn one_lamp_is_on_at_a_time_and_all_are_off_at_the_end() {
    use State::{High, Low};
    let levels =
        |levels: &[State]| Pin::new(&levels.iter().map(|l| Level::set(*l)).collect::<Vec<_>>());
    let mut gear = levels(&[Low, High, Low, Low]);
    let mut unknown = levels(&[High, Low, High, High]);
    {
        let all = vec![
            lamp(&gear, Active::High, Some("gear")),
            lamp(&unknown, Active::Low, None),
        ];
        let mut lamps = Lamps::new(all, AT_ONCE).unwrap();
        lamps.show(Some("gear"), 1).unwrap();
        lamps.show(Some("gear"), 2).unwrap();
        lamps.show(None, 3).unwrap();
        lamps.show(Some("a label without a lamp"), 4).unwrap();
    }
    gear.done();
    unknown.done();
}

#[test]
fn a_lamp_that_fails_is_an_error_and_is_tried_again() {
    let broken = || Level::set(State::High).with_error(MockError::Io(std::io::ErrorKind::Other));
    let mut pin = Pin::new(&[
        Level::set(State::Low),
        broken(),
        Level::set(State::High),
        Level::set(State::Low),
    ]);
    {
        let all = vec![lamp(&pin, Active::High, Some("gear"))];
        let mut lamps = Lamps::new(all, AT_ONCE).unwrap();
        let error = lamps.show(Some("gear"), 1).unwrap_err().to_string();
        assert!(error.contains("GPIO5"), "{error}");
        lamps.show(Some("gear"), 2).unwrap();
    }
    pin.done();
}

#[test]
fn a_tmp105_is_set_to_twelve_bits_and_says_what_the_datasheet_says() {
    // Datasheet, table 5: 12-bit data and their temperatures.
    for (bytes, mc) in [
        ([0x7f, 0xf0], 127_937),
        ([0x50, 0x00], 80_000),
        ([0x19, 0x00], 25_000),
        ([0x00, 0x40], 250),
        ([0x00, 0x00], 0),
        ([0xff, 0xc0], -250),
        ([0xe7, 0x00], -25_000),
        ([0xc9, 0x00], -55_000),
    ] {
        let mut bus = Bus::new(&[
            Said::write(0x48, vec![0x01, 0x60]),
            Said::write_read(0x48, vec![0x00], bytes.to_vec()),
        ]);
        let mut sensor = Tmp105::new(bus.clone(), "i2c", 0x48, Kind::Tmp105).unwrap();
        assert_eq!(sensor.temperature_mc().unwrap(), mc);
        bus.done();
    }
    let mut bus = Bus::new(&[Said::write_read(0x4f, vec![0x00], vec![0xe7, 0x80])]);
    let mut sensor = Tmp105::new(bus.clone(), "i2c", 0x4f, Kind::Lm75).unwrap();
    assert_eq!(sensor.temperature_mc().unwrap(), -24_500);
    bus.done();
}

#[test]
fn a_sensor_that_does_not_answer_is_told_from_a_bus_that_fails() {
    for (kind, part) in [
        (NACK, "nothing answers at address 0x48 of /dev/i2c-1"),
        (ErrorKind::Bus, "pull-up"),
        (ErrorKind::ArbitrationLoss, "failed at address 0x48"),
    ] {
        let mut bus = Bus::new(&[Said::write(0x48, vec![0x01, 0x60]).with_error(kind)]);
        let refused = Tmp105::new(bus.clone(), "/dev/i2c-1", 0x48, Kind::Tmp105).err();
        let said = refused.map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains(part), "{said}");
        bus.done();
        let mut bus = Bus::new(&[Said::write_read(0x48, vec![0x00], vec![0, 0]).with_error(kind)]);
        let mut sensor = Tmp105::new(bus.clone(), "/dev/i2c-1", 0x48, Kind::Lm75).unwrap();
        let said = sensor.temperature_mc().unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
        bus.done();
    }
}

/// How an ADXL345 is set up.
fn set_up() -> Vec<Said> {
    let mut said = vec![Said::write_read(0x53, vec![0x00], vec![0xe5])];
    for (register, value) in [
        (0x2d, 0x00),
        (0x38, 0x00),
        (0x2c, 0x0a),
        (0x31, 0x0b),
        (0x38, 0x80),
        (0x2d, 0x08),
    ] {
        said.push(Said::write(0x53, vec![register, value]));
    }
    said
}

fn status(lost: u8, entries: u8) -> Vec<Said> {
    vec![
        Said::write_read(0x53, vec![0x30], vec![lost]),
        Said::write_read(0x53, vec![0x39], vec![entries]),
    ]
}

fn data(bytes: [u8; 6]) -> Vec<Said> {
    vec![Said::write_read(0x53, vec![0x32], bytes.to_vec())]
}

#[test]
fn an_adxl345_gives_all_that_it_kept_in_thousandths_of_g() {
    let script = [
        set_up(),
        status(0x82, 2),
        data([0x00, 0x01, 0x00, 0xff, 0x00, 0x00]),
        data([0xff, 0xff, 0x0a, 0x00, 0xf0, 0x0f]),
        status(0, 0),
    ];
    let mut bus = Bus::new(&script.concat());
    let mut sensor = Adxl345::new(bus.clone(), "i2c", 0x53).unwrap();
    let samples = sensor.samples_mg().unwrap();
    assert_eq!(samples, [[998, -998, 0], [-3, 39, 15_912]]);
    assert!(sensor.samples_mg().unwrap().is_empty());
    bus.done();
}

#[test]
fn an_adxl345_that_is_another_chip_fails_at_any_step_or_lost_samples_is_told() {
    let mut bus = Bus::new(&[Said::write_read(0x53, vec![0x00], vec![0x33])]);
    let other = Adxl345::new(bus.clone(), "i2c", 0x53).err().unwrap();
    assert!(
        other
            .to_string()
            .contains("no ADXL345: its identity is 0x33")
    );
    bus.done();
    let mut whole = set_up();
    whole.extend(status(0, 1));
    whole.extend(data([0; 6]));
    for at in 0..whole.len() {
        let mut script = whole[..at].to_vec();
        script.push(whole[at].clone().with_error(NACK));
        let mut bus = Bus::new(&script);
        let failed = Adxl345::new(bus.clone(), "i2c", 0x53).and_then(|mut s| s.samples_mg());
        assert!(matches!(failed, Err(DeviceError::NoAnswer { .. })), "{at}");
        bus.done();
    }
    let script = [set_up(), status(0x01, 1), data([0; 6]), status(0, 0)];
    let mut bus = Bus::new(&script.concat());
    let mut sensor = Adxl345::new(bus.clone(), "i2c", 0x53).unwrap();
    assert!(matches!(
        sensor.samples_mg(),
        Err(DeviceError::Overrun { .. })
    ));
    assert!(sensor.samples_mg().is_ok());
    bus.done();
}

#[test]
fn sensors_are_named_by_bus_address_and_kind() {
    let spec = SensorSpec::parse("i2c:1:0x48,kind=tmp105").unwrap();
    assert_eq!(
        (&*spec.bus, spec.address, spec.chip),
        ("/dev/i2c-1", 0x48, Chip::Tmp105)
    );
    let mut bus = Bus::new(&[
        Said::write(0x48, vec![0x01, 0x60]),
        Said::write_read(0x48, vec![0x00], vec![0x17, 0x80]),
    ]);
    let mut sensor = spec.start(bus.clone()).unwrap();
    let mut rows = Vec::new();
    assert_eq!(sensor.read(&mut rows).unwrap(), 1);
    assert_eq!(
        (sensor.channels(), &rows[..]),
        (&["temperature_c"][..], &[23.5][..])
    );
    bus.done();
    let spec = SensorSpec::parse("i2c:/dev/i2c-7:83,kind=adxl345").unwrap();
    assert_eq!(
        (&*spec.bus, spec.address, spec.chip),
        ("/dev/i2c-7", 0x53, Chip::Adxl345)
    );
    for (text, part) in [
        ("spi:1", "expected i2c:"),
        ("i2c:1:0x48", "kind="),
        ("i2c:1,kind=lm75", "BUS:ADDRESS"),
        ("i2c:x:0x48,kind=lm75", "got 'x'"),
        ("i2c:1:0x07,kind=lm75", "0x08 to 0x77, got '0x07'"),
        ("i2c:1:0x78,kind=lm75", "got '0x78'"),
        ("i2c:1:zz,kind=lm75", "got 'zz'"),
        ("i2c:1:0x48,kind=bme280", "got 'bme280'"),
    ] {
        let error = SensorSpec::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_scan_lists_who_answers_and_who_is_held_and_stops_at_a_broken_bus() {
    let script: Vec<Said> = ADDRESSES
        .map(|address| match address {
            0x48 => Said::read(address, vec![0]),
            0x50 => Said::read(address, vec![0]).with_error(ErrorKind::Overrun),
            _ => Said::read(address, vec![0]).with_error(NACK),
        })
        .collect();
    let mut bus = Bus::new(&script);
    let found = scan(&mut bus, "i2c", |error| *error == ErrorKind::Overrun).unwrap();
    assert_eq!(found, [Presence::Answers(0x48), Presence::Held(0x50)]);
    bus.done();
    let mut bus = Bus::new(&[Said::read(0x08, vec![0]).with_error(ErrorKind::Bus)]);
    assert!(matches!(
        scan(&mut bus, "i2c", |_| false),
        Err(DeviceError::Bus { address: 0x08, .. })
    ));
    bus.done();
}
