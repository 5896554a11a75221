//! The page of `eval --html`: one file with its style and pictures inside, no script, nothing loaded from elsewhere.
//!
//! Owns: the document, its words and its style. Does not own: any figure printed in it (`learn`), drawings ([`figures`]), thumbnails
//! ([`thumbnail`]), writing the file (`export`).
//!
//! Invariant: whatever a label, a path or a backbone is called reaches the page escaped.

mod figures;
pub mod thumbnail;

use super::embed::EmbeddedTree;
use super::eval::{Answer, Judged, confidences};
use super::output::{are, are_samples, count, plain, range, with_interval};
use super::strangers::Strangers;
use anyhow::Result;
use fieldhead::learn::map::map;
use fieldhead::learn::metrics::{Interval, reliability};
use fieldhead::store::HeadRecord;
use std::path::Path;

/// The most mistakes shown: what a person looks through, and with thumbnails of at most 32 KB less than a megabyte and a half.
const MISTAKES: usize = 24;
/// The most points on the map: browsers draw them at once, and more only cover each other.
const POINTS: usize = 2000;

const STYLE: &str = include_str!("page/style.css");

/// What was judged, on what.
pub struct About<'a> {
    pub folder: &'a Path,
    pub version: u64,
    pub head: &'a HeadRecord,
    /// Photos that are samples of the field.
    pub known: usize,
    /// What is said of photos of none of the classes, where there are any.
    pub strangers: Option<&'a Strangers>,
}

/// The whole page.
pub fn page(about: &About, tree: &EmbeddedTree, judged: &Judged) -> Result<String> {
    let folder = escape(&about.folder.display().to_string());
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>fieldhead on {folder}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         {}{}<div class=\"figures\">\n{}{}{}</div>\n{}{}</main>\n</body>\n</html>\n",
        opening(about, tree, &folder),
        tiles(judged),
        confusion(judged),
        calibration(judged),
        samples(about, tree, judged)?,
        classes(judged),
        mistakes(about, tree, judged),
    ))
}

/// A text that cannot be taken for markup, in a text or in a quoted attribute. Control characters are shown.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A name of any script that leaves the words around it in their order.
fn name(text: &str) -> String {
    format!("<bdi>{}</bdi>", escape(text))
}

fn opening(about: &About, tree: &EmbeddedTree, folder: &str) -> String {
    let (recipe, learned) = (&about.head.recipe, &about.head.learned);
    let mut html = format!(
        "<header>\n<h1>How well it knows <bdi>{folder}</bdi></h1>\n<p class=\"quiet\">{} judged by head version {}: {} on {}, \
         {}, {}; learned from {} of {}</p>\n",
        count(tree.files.len(), tree.noun),
        about.version,
        learned.settings.kind,
        escape(&recipe.backbone),
        recipe.view.fit,
        recipe.set,
        count(learned.n_samples as usize, "sample"),
        count(learned.labels.len(), "class"),
    );
    if about.known > 0 {
        html.push_str(&format!(
            "<p class=\"warning\">{} of these {}s {} of the field, and a head does better on what it learned from than on \
             anything new: the figures below are too high.</p>\n",
            about.known,
            tree.noun,
            are_samples(about.known)
        ));
    }
    if let Some(strangers) = about.strangers {
        html.push_str(&format!(
            "<p class=\"quiet\">Beside them {}.</p>\n",
            strangers.words()
        ));
    }
    if !tree.skipped.is_empty() {
        let skipped = count(tree.skipped.len(), "file");
        html.push_str(&format!(
            "<p class=\"quiet\">{skipped} could not be read.</p>\n"
        ));
    }
    html + "</header>\n"
}

fn tiles(judged: &Judged) -> String {
    let confusion = &judged.confusion;
    let n = confusion.n();
    let unknown = judged.answers.iter().filter(|a| a.unknown).count();
    let share = |name: &str, share: f64, interval: Interval| {
        let (low, high) = interval;
        let bar = format!(
            "<div class=\"track\"><i style=\"left:{:.1}%;width:{:.1}%\"></i><b style=\"left:{:.1}%\"></b></div>",
            100.0 * low,
            100.0 * (high - low),
            100.0 * share
        );
        let note = format!("95 %: {} %, n = {n}", range(interval));
        tile(name, &format!("{:.1} %", 100.0 * share), &bar, &note)
    };
    [
        "<section class=\"tiles\">\n".to_owned(),
        share(
            "Balanced accuracy",
            confusion.balanced_accuracy(),
            confusion.balanced_accuracy_95(),
        ),
        share("Accuracy", confusion.accuracy(), confusion.accuracy_95()),
        tile(
            "Calibration error",
            &format!("{:.3}", judged.calibration_error),
            "",
            "confidence against right answers",
        ),
        tile(
            "Called unknown",
            &unknown.to_string(),
            "",
            &format!("of {}", count(judged.answers.len(), judged.noun)),
        ),
        "</section>\n".to_owned(),
    ]
    .concat()
}

fn tile(name: &str, value: &str, bar: &str, note: &str) -> String {
    format!(
        "<div class=\"tile\"><h2>{name}</h2><p class=\"value\">{value}</p>{bar}<p class=\"quiet\">{note}</p></div>\n"
    )
}

fn section(title: &str, body: &str, caption: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{body}<p class=\"quiet\">{caption}</p>\n</section>\n")
}

fn confusion(judged: &Judged) -> String {
    section(
        "What is taken for what",
        &figures::confusion(&judged.confusion),
        &format!(
            "A row is what the {}s show, a column what the head says. The stronger the colour, the larger the share of the row: blue is \
             right, orange is wrong.",
            judged.noun
        ),
    )
}

fn calibration(judged: &Judged) -> String {
    section(
        "Can its confidence be believed?",
        &figures::reliability(&reliability(&confidences(&judged.answers))),
        &format!(
            "Where a point lies on the line, answers are right as often as their confidence says; below it the head is too sure. \
             Whiskers are 95 % intervals; the bars below count answers. Calibration error {:.3}, n = {}.",
            judged.calibration_error,
            judged.answers.len()
        ),
    )
}

/// Rows on the map: all where they are few, else the mistakes first, and of the rest every so many.
fn shown(answers: &[Answer]) -> Vec<usize> {
    let all = 0..answers.len();
    if all.len() <= POINTS {
        return all.collect();
    }
    let (wrong, right): (Vec<usize>, Vec<usize>) = all.partition(|&i| !answers[i].right());
    let every = |rows: &[usize], most: usize| -> Vec<usize> {
        let most = most.min(rows.len());
        (0..most).map(|i| rows[i * rows.len() / most]).collect()
    };
    let mut shown = every(&wrong, POINTS / 2);
    shown.extend(every(&right, POINTS - shown.len()));
    shown.sort_unstable();
    shown
}

fn samples(about: &About, tree: &EmbeddedTree, judged: &Judged) -> Result<String> {
    let rows = shown(&judged.answers);
    let normalizer = &about.head.learned.normalizer;
    let features: Vec<Vec<f32>> = rows
        .iter()
        .map(|&row| normalizer.apply(&tree.features[row]))
        .collect();
    let map = map(&features);
    let labels = judged.confusion.labels();
    let dots: Vec<figures::Dot> = rows
        .iter()
        .zip(&map.points)
        .map(|(&row, &at)| {
            let answer = &judged.answers[row];
            figures::Dot {
                at,
                class: answer.truth,
                wrong: !answer.right(),
                title: format!(
                    "{} called {}: {}",
                    labels[answer.truth],
                    labels[answer.given],
                    below(&tree.files[row].path, about.folder)
                ),
            }
        })
        .collect();
    let few = match rows.len() < judged.answers.len() {
        true => format!(
            " {} of {} {} drawn.",
            rows.len(),
            count(judged.answers.len(), judged.noun),
            are(rows.len())
        ),
        false => String::new(),
    };
    let explained = map.explained.iter().sum::<f64>() * 100.0;
    Ok(section(
        &format!("A map of the {}s", judged.noun),
        &(figures::map(&dots, &map.explained) + &legend(judged)),
        &format!(
            "What looks alike to the backbone stands close together: the first two principal components, {explained:.0} % of \
             what there is to see. Ringed are mistakes.{few}"
        ),
    ))
}

fn legend(judged: &Judged) -> String {
    let classes = judged.confusion.per_class().into_iter().enumerate();
    let entries: String = classes
        .filter(|(_, class)| class.n > 0)
        .map(|(at, class)| format!("<li>{}{}</li>", figures::swatch(at), name(&class.label)))
        .collect();
    format!("<ul class=\"legend\">{entries}</ul>\n")
}

fn classes(judged: &Judged) -> String {
    let confusion = &judged.confusion;
    let percent =
        |share: Option<f64>| share.map_or("–".into(), |x| format!("{:.1} %", 100.0 * x));
    let row = |(at, class): (usize, fieldhead::learn::metrics::Class)| {
        let interval = class
            .recall
            .map(|_| format!("{} %", range(class.recall_95)));
        let mistaken = confusion.mistaken(at).map(|(other, count)| {
            let other = name(&confusion.labels()[other]);
            format!("<small>mostly taken for {other} ({count})</small>")
        });
        format!(
            "<tr><th scope=\"row\">{}{}{}</th><td>{}</td><td>{} <small>{}</small></td><td>{}</td></tr>\n",
            figures::swatch(at),
            name(&class.label),
            mistaken.unwrap_or_default(),
            class.n,
            percent(class.recall),
            interval.unwrap_or_default(),
            percent(class.precision),
        )
    };
    let rows: String = confusion
        .per_class()
        .into_iter()
        .enumerate()
        .map(row)
        .collect();
    section(
        "Class by class",
        &format!(
            "<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">class</th><th scope=\"col\">n</th><th scope=\"col\">recall \
             <small>95 %</small></th><th scope=\"col\">precision</th></tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table></div>\n"
        ),
        "Recall: of those that show the class, how many are called so. Precision: of those called so, how many are.",
    )
}

fn mistakes(about: &About, tree: &EmbeddedTree, judged: &Judged) -> String {
    let answers = &judged.answers;
    let mut wrong: Vec<usize> = (0..answers.len())
        .filter(|&i| !answers[i].right())
        .collect();
    wrong.sort_by(|&a, &b| answers[b].confidence.total_cmp(&answers[a].confidence));
    let all = wrong.len();
    wrong.truncate(MISTAKES);
    let labels = judged.confusion.labels();
    let figure = |&row: &usize| {
        let (answer, path) = (&answers[row], &tree.files[row].path);
        let (truth, given) = (&labels[answer.truth], &labels[answer.given]);
        let picture = match thumbnail::of(path) {
            Some(data) => format!(
                "<img alt=\"{} called {}\" src=\"{data}\">",
                escape(truth),
                escape(given)
            ),
            None => "<div class=\"gone\">no longer readable</div>".to_owned(),
        };
        format!(
            "<figure>{picture}<figcaption>{} called {} <span class=\"nowrap\">{:.0} %{}</span><small>{}</small></figcaption></figure>\n",
            name(truth),
            name(given),
            100.0 * answer.confidence,
            if answer.unknown { ", unknown" } else { "" },
            name(&below(path, about.folder))
        )
    };
    let figures: String = wrong.iter().map(figure).collect();
    let caption = match (all, wrong.len()) {
        (0, _) => "There is none.".to_owned(),
        (all, shown) if all == shown => format!("All {all}, the most confident first."),
        (all, shown) => format!("The {shown} most confident of {all}."),
    };
    let share = 1.0 - judged.confusion.accuracy();
    let (low, high) = judged.confusion.accuracy_95();
    let of_all = format!(
        "{} of all answers are wrong, n = {}.",
        with_interval(share, (1.0 - high, 1.0 - low)),
        judged.confusion.n()
    );
    format!(
        "<section>\n<h2>The worst mistakes</h2>\n<p class=\"quiet\">{caption} {of_all}</p>\n<div class=\"mistakes\">\n{figures}</div>\n</section>\n"
    )
}

/// A path as it stands below the folder.
fn below(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder)
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_markup_is_escaped_and_control_characters_are_shown() {
        assert_eq!(
            escape("<a href='x' b=\"&amp;\">\u{1b}[2J"),
            "&lt;a href=&#39;x&#39; b=&quot;&amp;amp;&quot;&gt;\\u{1b}[2J"
        );
        assert_eq!(name("עורב"), "<bdi>עורב</bdi>");
    }

    #[test]
    fn a_crowded_map_keeps_the_mistakes_and_thins_the_rest() {
        let answer = |i: usize| Answer {
            truth: 0,
            given: usize::from(i % 50 == 7),
            confidence: 0.5,
            unknown: false,
            unknown_score: 0.0,
        };
        let answers: Vec<Answer> = (0..5000).map(answer).collect();
        let rows = shown(&answers);
        assert_eq!(rows.len(), POINTS);
        assert!(rows.is_sorted_by(|a, b| a < b));
        let wrong = rows.iter().filter(|&&row| !answers[row].right());
        assert_eq!(wrong.count(), 100);
        assert_eq!(shown(&answers[..300]).len(), 300);
    }
}
