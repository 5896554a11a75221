//! The drawings of the page, as SVG text.
//!
//! Colours are classes of the page's style, so that they follow light and dark. The six of the map are Okabe and Ito's (Color
//! Universal Design, 2008), told apart with any colour vision; four shapes tell apart what has the same colour.

use super::super::output::fit;
use super::escape;
use fieldhead::learn::metrics::{Bin, Confusion, wilson};

const COLOURS: usize = 6;
const SHAPES: usize = 4;

/// The confusion matrix as a heat map; only cells with photos are drawn.
pub fn confusion(confusion: &Confusion) -> String {
    const LEFT: f64 = 92.0;
    const TOP: f64 = 72.0;
    const RIGHT: f64 = 50.0;
    let labels = confusion.labels();
    let k = labels.len() as f64;
    let cell = (264.0 / k).clamp(18.0, 48.0);
    let (width, height) = (LEFT + cell * k + RIGHT, TOP + cell * k + 6.0);
    let mut body = String::new();
    for (i, label) in labels.iter().enumerate() {
        let middle = (i as f64 + 0.5) * cell;
        let (short, long) = (escape(&short(label)), escape(label));
        body.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" dominant-baseline=\"central\">{short}<title>{long}</title></text>\
             <text transform=\"translate({:.1} {:.1}) rotate(-45)\" dominant-baseline=\"central\">{short}<title>{long}</title></text>\n",
            LEFT - 6.0,
            TOP + middle,
            LEFT + middle,
            TOP - 8.0,
        ));
    }
    body.push_str(&format!(
        "<rect class=\"grid\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
        cell * k,
        cell * k
    ));
    for (truth, row) in confusion.rows().iter().enumerate() {
        let n = row.iter().sum::<u64>().max(1) as f64;
        for (given, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let share = count as f64 / n;
            // The root lets few mistakes be seen among many right answers.
            let depth = 0.08 + 0.92 * if truth == given { share } else { share.sqrt() };
            let (x, y) = (LEFT + given as f64 * cell, TOP + truth as f64 * cell);
            body.push_str(&format!(
                "<g><rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" fill-opacity=\"{:.2}\"/>\
                 <text{} x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" dominant-baseline=\"central\"{}>{count}</text>\
                 <title>{} called {}: {count} of {n}</title></g>\n",
                if truth == given { "right" } else { "wrong" },
                x + 1.0,
                y + 1.0,
                cell - 2.0,
                cell - 2.0,
                depth,
                if depth > 0.6 { " class=\"strong\"" } else { "" },
                x + cell / 2.0,
                y + cell / 2.0,
                if count > 99 && cell < 24.0 { " font-size=\"8\"" } else { "" },
                escape(&labels[truth]),
                escape(&labels[given]),
            ));
        }
    }
    // A large matrix is scrolled rather than shrunk until nothing can be read.
    let (large, least) = match width > 430.0 {
        true => (" large", width * 0.85),
        false => ("", 0.0),
    };
    format!(
        "<div class=\"wide{large}\"><svg viewBox=\"0 0 {width:.0} {height:.0}\" style=\"min-width:{least:.0}px;max-width:{:.0}px\" role=\"img\" \
         aria-label=\"Confusion matrix\">\n{body}</svg></div>\n",
        width * 1.25
    )
}

/// At most as much of a label as fits beside the matrix; letters of wide scripts count twice.
fn short(label: &str) -> String {
    const COLUMNS: usize = 13;
    let columns = |c: char| if u32::from(c) < 0x1100 { 1 } else { 2 };
    let mut used = 0;
    let fits = label.chars().take_while(|&c| {
        used += columns(c);
        used <= COLUMNS
    });
    let fits = fits.count();
    fit(label, fits.max(1))
}

/// Share of right answers by confidence, with whiskers, and below it how many answers there are.
pub fn reliability(bins: &[Bin]) -> String {
    const LEFT: f64 = 40.0;
    const TOP: f64 = 10.0;
    const SIDE: f64 = 270.0;
    const COUNTS: f64 = 44.0;
    let (x, y) = (
        |share: f64| LEFT + SIDE * share,
        |share: f64| TOP + SIDE * (1.0 - share),
    );
    let floor = TOP + SIDE + 10.0 + COUNTS;
    let mut body = String::new();
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        body.push_str(&format!(
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}M{x:.1} {TOP}V{:.1}\"/>\
             <text class=\"soft\" x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\" dominant-baseline=\"central\">{:.0}</text>\
             <text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0}</text>\n",
            LEFT + SIDE,
            TOP + SIDE,
            LEFT - 6.0,
            100.0 * share,
            floor + 14.0,
            100.0 * share,
            x = x(share),
            y = y(share),
        ));
    }
    body.push_str(&format!(
        "<path class=\"ideal\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/><path class=\"axis\" d=\"M{LEFT} {floor:.1}H{:.1}\"/>\n",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0),
        LEFT + SIDE
    ));
    let most = bins.iter().map(|bin| bin.n).max().unwrap_or(0).max(1) as f64;
    let step = SIDE / bins.len().max(1) as f64;
    for (index, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.n > 0) {
        let share = bin.right as f64 / bin.n as f64;
        let (low, high) = wilson(bin.right, bin.n);
        let tall = (COUNTS - 12.0) * bin.n as f64 / most;
        let left = LEFT + index as f64 * step;
        body.push_str(&format!(
            "<g><path class=\"whisker\" d=\"M{at:.1} {:.1}V{:.1}\"/><circle class=\"right\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"5\"/>\
             <title>confidence {:.1} %: {} of {} right, 95 %: {:.1} to {:.1} %</title></g>\
             <rect class=\"count\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"/>\
             <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9\">{}</text>\n",
            y(low),
            y(high),
            y(share),
            100.0 * bin.confidence,
            bin.right,
            bin.n,
            100.0 * low,
            100.0 * high,
            left + 1.0,
            floor - tall,
            step - 2.0,
            left + step / 2.0,
            floor - tall - 3.0,
            bin.n,
            at = x(bin.confidence),
        ));
    }
    let (width, height) = (LEFT + SIDE + 16.0, floor + 34.0);
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" style=\"max-width:{:.0}px\" role=\"img\" aria-label=\"Reliability diagram\">\n{body}\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">confidence, %</text>\
         <text transform=\"translate(11 {:.1}) rotate(-90)\" text-anchor=\"middle\">right answers, %</text>\n</svg>\n",
        width * 1.4,
        LEFT + SIDE / 2.0,
        floor + 30.0,
        TOP + SIDE / 2.0
    )
}

/// One photo on the map.
pub struct Dot {
    pub at: [f64; 2],
    pub class: usize,
    pub wrong: bool,
    pub title: String,
}

/// Photos by their first two principal components, one unit as long in either direction.
pub fn map(dots: &[Dot], explained: &[f64; 2]) -> String {
    const SIDE: f64 = 340.0;
    const EDGE: f64 = 12.0;
    let range = |axis: usize| {
        let values = dots.iter().map(|dot| dot.at[axis]);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        })
    };
    let (x_range, y_range) = (range(0), range(1));
    let length = |(low, high): (f64, f64)| if high > low { high - low } else { 1.0 };
    let scale = (SIDE - 2.0 * EDGE) / length(x_range).max(length(y_range));
    let height = 2.0 * EDGE + scale * length(y_range);
    let width = 2.0 * EDGE + scale * length(x_range);
    let mut body = String::new();
    // Rings last, on top of what they ring.
    let mut rings = String::new();
    for dot in dots {
        let x = EDGE + scale * (dot.at[0] - x_range.0);
        let y = EDGE + scale * (y_range.1 - dot.at[1]);
        body.push_str(&shape(dot.class, x, y, &escape(&dot.title)));
        if dot.wrong {
            rings.push_str(&format!(
                "<circle class=\"ring\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"/>\n"
            ));
        }
    }
    format!(
        "<svg viewBox=\"0 0 {:.0} {:.0}\" style=\"max-width:{:.0}px\" role=\"img\" aria-label=\"Map of the samples\">\n\
         <rect class=\"grid\" x=\"14\" y=\"0.5\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"6\"/>\n<g transform=\"translate(14 0)\">\n\
         {body}{rings}</g>\n<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">first component, {:.0} %</text>\
         <text class=\"soft\" transform=\"translate(9 {:.1}) rotate(-90)\" text-anchor=\"middle\">second, {:.0} %</text>\n</svg>\n",
        width + 15.0,
        height + 17.0,
        (width + 15.0) * 1.4,
        14.0 + width / 2.0,
        height + 13.0,
        100.0 * explained[0],
        height / 2.0,
        100.0 * explained[1],
    )
}

/// The mark of a class, for a legend.
pub fn swatch(class: usize) -> String {
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 10 10\" aria-hidden=\"true\">{}</svg>",
        shape(class, 5.0, 5.0, "").trim_end()
    )
}

/// A mark of 24: colours change from class to class, shapes too, and no two of 24 classes share both.
fn shape(class: usize, x: f64, y: f64, title: &str) -> String {
    let colour = class % COLOURS;
    let start = format!("class=\"dot c{colour}\"");
    let mark = match (class + class / COLOURS) % SHAPES {
        0 => format!("<circle {start} cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.6\""),
        1 => format!(
            "<rect {start} x=\"{:.1}\" y=\"{:.1}\" width=\"6.4\" height=\"6.4\"",
            x - 3.2,
            y - 3.2
        ),
        2 => format!("<path {start} d=\"M{x:.1} {:.1}l4.2 7.2h-8.4z\"", y - 4.4),
        _ => format!(
            "<path {start} d=\"M{x:.1} {:.1}l4.4 4.4l-4.4 4.4l-4.4 -4.4z\"",
            y - 4.4
        ),
    };
    let tag = mark.split([' ', '<']).nth(1).unwrap_or("path");
    match title {
        "" => format!("{mark}/>\n"),
        title => format!("{mark}><title>{title}</title></{tag}>\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_four_classes_have_marks_of_their_own() {
        let marks: std::collections::BTreeSet<String> = (0..24).map(swatch).collect();
        assert_eq!(marks.len(), 24);
        assert_eq!(swatch(0), swatch(24));
    }

    #[test]
    fn a_label_is_text_and_never_markup() {
        let labels = ["<script>alert(1)<", "a\"&'b"].map(String::from).to_vec();
        let svg = confusion(&Confusion::new(labels, &[(0, 1), (1, 1)]));
        assert!(!svg.contains("<script"), "{svg}");
        assert!(svg.contains("&lt;script&gt;alert(1)&lt; called a&quot;&amp;&#39;b: 1 of 1"));
        let dots = [Dot {
            at: [0.0, 0.0],
            class: 1,
            wrong: true,
            title: "</title><script>".into(),
        }];
        let svg = map(&dots, &[1.0, 0.0]);
        assert!(
            svg.contains("<title>&lt;/title&gt;&lt;script&gt;</title></rect>"),
            "{svg}"
        );
        assert!(svg.contains("class=\"ring\"") && !svg.contains("NaN"));
    }

    #[test]
    fn one_point_or_none_is_drawn_without_a_division_by_zero() {
        for svg in [
            map(&[], &[0.0, 0.0]),
            reliability(&[]),
            reliability(&[Bin::default(); 10]),
        ] {
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn labels_of_any_script_fit_beside_the_matrix() {
        assert_eq!(short("washer"), "washer");
        assert_eq!(short("a label that is long").chars().count(), 13);
        assert!(short("カケスカケスカケスカケス").chars().count() <= 6);
    }
}
