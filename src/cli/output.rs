//! What leaves the program: JSON lines or text on stdout, progress on stderr.

use fieldhead::config;
use fieldhead::label::is_invisible;
use fieldhead::learn::metrics::Interval;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A result that nobody took.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the results to the standard output: {0}; look at where it leads")]
pub struct Unwritten(#[from] io::Error);

/// Whoever read our output has seen enough, as in `fieldhead samples | head`.
pub fn was_enough(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Unwritten>()
        .is_some_and(|Unwritten(error)| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Where results go.
#[derive(Clone, Debug)]
pub struct Output {
    pub json: bool,
    /// JSON that is kept for whoever asked, instead of printed.
    kept: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Output {
    pub fn new(json: bool) -> Output {
        Output { json, kept: None }
    }

    /// Keeps what would be printed with `--json`.
    pub fn keeping() -> Output {
        Output {
            json: true,
            kept: Some(Arc::default()),
        }
    }

    /// Keeps what was kept before.
    pub fn again(&self, lines: &[u8]) {
        if let Some(kept) = &self.kept {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(lines);
        }
    }

    /// What was kept since the last call.
    pub fn take(&self) -> Vec<u8> {
        let kept = self.kept.as_deref().map(|kept| kept.lock());
        let kept =
            kept.map(|kept| std::mem::take(&mut *kept.unwrap_or_else(PoisonError::into_inner)));
        kept.unwrap_or_default()
    }

    /// One JSON object on a line of its own; nothing without `--json`.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Unwritten> {
        if !self.json {
            return Ok(());
        }
        let mut line = serde_json::to_vec(value).map_err(io::Error::from)?;
        line.push(b'\n');
        if let Some(kept) = &self.kept {
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(line);
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        Ok(out.flush()?)
    }

    /// A line for people; nothing with `--json`.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), Unwritten> {
        if self.json {
            return Ok(());
        }
        Ok(writeln!(io::stdout().lock(), "{}", plain(text.as_ref()))?)
    }

    /// A remark for people on stderr.
    pub fn note(&self, text: impl AsRef<str>) {
        // A remark that cannot be written has nowhere else to go.
        let _ = writeln!(io::stderr().lock(), "{}", plain(text.as_ref()));
    }

    /// Says once that samples were stored without their picture, and what that means.
    pub fn without_picture(&self, samples: usize, folder: &Path) {
        if samples > 0 {
            self.note(format!(
                "stored without a picture: {samples}, because the room of photos_mb is used up, or they are too large; another backbone, fit or \
                 choice of features cannot learn from what has none: raise photos_mb in {}",
                folder.join(config::FILE_NAME).display()
            ));
        }
    }

    /// A progress bar on stderr; drawn only on a terminal.
    pub fn progress(&self, length: u64, what: &str) -> ProgressBar {
        let bar = ProgressBar::new(length);
        if let Ok(style) =
            ProgressStyle::with_template("{msg:12} {bar:36} {pos}/{len}  {elapsed} + {eta}")
        {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar
    }
}

/// A text for people: what a terminal would obey in a name or a source is shown, not sent to it.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// So many of something: one has no ending.
pub fn count(n: usize, one: &str) -> String {
    let ending = match n {
        1 => "",
        _ if one.ends_with('s') => "es",
        _ => "s",
    };
    format!("{n} {one}{ending}")
}

/// "is" or "are", of so many of more.
pub fn are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

/// "is a sample" or "are samples", of so many of more.
pub fn are_samples(n: usize) -> &'static str {
    if n == 1 { "is a sample" } else { "are samples" }
}

/// "has" or "have", of so many of more.
pub fn have(n: usize) -> &'static str {
    if n == 1 { "has" } else { "have" }
}

/// How many to take at the most: all without a count.
pub fn limit(count: Option<u64>) -> usize {
    count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// Rounds for JSON: six decimals are more than any accuracy or time here carries.
pub fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// An interval for JSON.
pub fn ends((low, high): Interval) -> [f64; 2] {
    [round(low), round(high)]
}

/// A share with its interval, in percent.
pub fn with_interval(share: f64, (low, high): Interval) -> String {
    let [share, low, high] = [share, low, high].map(|x| 100.0 * x);
    format!("{share:.1} % (95 %: {low:.1} to {high:.1})")
}

/// An interval in percent, for a column of a table.
pub fn range((low, high): Interval) -> String {
    format!("{:.1}–{:.1}", 100.0 * low, 100.0 * high)
}

/// Milliseconds since `start`.
pub fn ms_since(start: std::time::Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Shortens a text to `width` characters, for a column of a table.
pub fn fit(text: &str, width: usize) -> String {
    // Before its characters are counted: what is shown of them is what fills the column.
    let text = plain(text);
    if text.chars().count() <= width {
        return text;
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_counted_without_an_ending() {
        let counted = [
            (0, "class"),
            (1, "class"),
            (2, "class"),
            (1, "photo"),
            (3, "photo"),
        ];
        assert_eq!(
            counted.map(|(n, one)| count(n, one)),
            ["0 classes", "1 class", "2 classes", "1 photo", "3 photos"]
        );
    }
}
