//! `board read command,format=…`: whether a microphone hears.

use super::board::Read;
use super::context::Context;
use super::exit::Usage;
use super::output::round;
use anyhow::Result;
use fieldhead::source::level::{Level, levels};
use fieldhead::source::sound::{Microphone, Window};
use serde_json::{Value, json};

/// Prints the levels of so many windows, or of all that a recording has: a JSON object each, or a line for each channel.
pub fn read(context: &Context, options: &Read) -> Result<()> {
    if options.interval_ms.is_some() {
        let text = "--interval-ms is for sensors; a window of sound comes when it is whole: leave it out, or set window_ms=";
        return Err(Usage(text.into()).into());
    }
    let mut microphone = Microphone::open(&options.sensor, &context.clock)?;
    let channels = microphone.sound().channels();
    for nth in 0..options.count {
        let Some(window) = microphone.window()? else {
            break;
        };
        if nth == 0 {
            let head = "  seq   time s  ch  peak dBFS  RMS dBFS  clipped %";
            context.out.line(head)?;
        }
        print(context, &window, &levels(&window.samples, channels))?;
    }
    Ok(())
}

fn print(context: &Context, window: &Window, levels: &[Level]) -> Result<()> {
    context.out.json(&json!({
        "seq": window.seq,
        "time_us": window.time_us,
        "channels": levels.iter().map(object).collect::<Vec<_>>(),
    }))?;
    for (channel, level) in levels.iter().enumerate() {
        let note = note(level).map_or(String::new(), |note| format!("  {note}"));
        context.out.line(format!(
            "{:>5}  {:>7.2}  {channel:>2}  {:>9}  {:>8}  {:>9.2}{note}",
            window.seq,
            window.time_us as f64 / 1e6,
            tenths(level.peak_dbfs),
            tenths(level.rms_dbfs),
            100.0 * level.clipped_share
        ))?;
    }
    Ok(())
}

fn object(level: &Level) -> Value {
    json!({
        "peak_dbfs": level.peak_dbfs.map(round),
        "rms_dbfs": level.rms_dbfs.map(round),
        "clipped_share": level.clipped_share,
        "not_finite_share": level.not_finite_share,
        "note": note(level),
    })
}

/// What is wrong, if anything is.
fn note(level: &Level) -> Option<&'static str> {
    match level {
        _ if level.not_finite_share > 0.0 => Some("no numbers: not f32le?"),
        _ if level.silent => Some("digital silence"),
        _ if level.clipped_share > 0.0 => Some("clipping: lower the gain"),
        _ => None,
    }
}

fn tenths(dbfs: Option<f64>) -> String {
    // No "-0.0".
    let rounded = |dbfs: f64| (10.0 * dbfs).round() / 10.0 + 0.0;
    dbfs.map_or("-".into(), |dbfs| format!("{:.1}", rounded(dbfs)))
}
