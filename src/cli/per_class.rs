//! What a confusion matrix says of each class, as a table and as JSON: shared by train and eval.

use super::context::Context;
use super::output::{count, ends, fit, range, round};
use anyhow::Result;
use fieldhead::learn::metrics::Confusion;
use serde_json::{Map, Value, json};

/// Columns that are left for what a class is taken for.
const MISTAKEN: usize = 19;

/// Of each label its samples, precision and recall.
pub fn json(confusion: &Confusion) -> Map<String, Value> {
    let classes = confusion.per_class().into_iter();
    classes
        .map(|class| {
            let value = json!({
                "n": class.n,
                "precision": class.precision.map(round),
                "recall": class.recall.map(round),
                "recall_95": class.recall.map(|_| ends(class.recall_95)),
            });
            (class.label, value)
        })
        .collect()
}

/// A line a class, 80 columns wide. Of more than `most` classes those with the lowest recalls, as far as their intervals reach.
pub fn table(context: &Context, confusion: &Confusion, most: usize) -> Result<()> {
    let percent = |share: Option<f64>| share.map_or("–".into(), |x| format!("{:.1}", x * 100.0));
    context.out.line(format!(
        "{:20} {:>5} {:>8} {:>11} {:>11}  {}",
        "class", "n", "recall %", "95 %", "precision %", "mostly taken for"
    ))?;
    let classes = confusion.per_class();
    let mut shown: Vec<usize> = (0..classes.len()).collect();
    if classes.len() > most {
        let lowest = |&at: &usize| classes[at].recall.map_or(1.0, |_| classes[at].recall_95.0);
        shown.sort_by(|a, b| lowest(a).total_cmp(&lowest(b)));
        shown.truncate(most);
    }
    for at in shown {
        let class = &classes[at];
        let mistaken = confusion.mistaken(at).map(|(other, n)| {
            let n = format!(" ({n})");
            let label = fit(&confusion.labels()[other], MISTAKEN.saturating_sub(n.len()));
            label + &n
        });
        let line = format!(
            "{:20} {:>5} {:>8} {:>11} {:>11}  {}",
            fit(&class.label, 20),
            class.n,
            percent(class.recall),
            class.recall.map_or("–".into(), |_| range(class.recall_95)),
            percent(class.precision),
            mistaken.unwrap_or_default()
        );
        context.out.line(line.trim_end())?;
    }
    if classes.len() > most {
        context.out.line(format!(
            "and {} of higher recall; --json lists all",
            count(classes.len() - most, "class")
        ))?;
    }
    Ok(())
}
