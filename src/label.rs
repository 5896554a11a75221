//! Labels: the user's own names for what the board sees.
//!
//! Invariant: a label can stand in a file name, on a terminal and in JSON without being escaped into something else.

/// The longest label, in bytes of UTF-8. Folder names may have 255 on Linux; 64 keep an 80-column table readable.
pub const MAX_LABEL_BYTES: usize = 64;

/// The most classes a field may have; heads and files bound their tables by it.
pub const MAX_LABELS: usize = 1_000;

/// What is said of a picture that shows nothing that was learned.
pub const UNKNOWN: &str = "unknown";

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LabelError {
    #[error("the label is empty; give it a name, such as --label washer")]
    Empty,
    #[error(
        "the label '{start}…' has {bytes} bytes, at most {MAX_LABEL_BYTES} are allowed; shorten it"
    )]
    TooLong { start: String, bytes: usize },
    #[error(
        "the label {label:?} holds the character {found:?}; control and invisible characters, '/' and '\\' are not allowed in a label"
    )]
    Character { label: String, found: char },
    #[error("'{0}' cannot be a label: it means a folder; choose another name")]
    Dots(String),
    #[error("the label {0:?} begins or ends with a space; remove it")]
    Space(String),
    #[error(
        "'{0}' cannot be a label: it is the answer to a picture of no class that was learned; choose another name, such as other"
    )]
    Reserved(String),
}

/// Whether a terminal obeys a character instead of showing it: control characters, line separators, what embeds, overrides or isolates
/// a direction of writing (Unicode's annex 9), the space of no width and the byte order mark.
pub fn is_invisible(c: char) -> bool {
    let obeyed =
        matches!(c, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    obeyed || c.is_control()
}

/// Refuses what cannot be a label: empty, longer than [`MAX_LABEL_BYTES`], invisible characters, path separators, `.` and `..`.
pub fn check(label: &str) -> Result<(), LabelError> {
    if label.trim().is_empty() && !label.chars().any(char::is_control) {
        return Err(LabelError::Empty);
    }
    if label.len() > MAX_LABEL_BYTES {
        return Err(LabelError::TooLong {
            start: label
                .chars()
                .filter(|&c| !is_invisible(c))
                .take(16)
                .collect(),
            bytes: label.len(),
        });
    }
    if let Some(found) = label
        .chars()
        .find(|&c| is_invisible(c) || matches!(c, '/' | '\\'))
    {
        return Err(LabelError::Character {
            label: label.into(),
            found,
        });
    }
    if label == "." || label == ".." {
        return Err(LabelError::Dots(label.into()));
    }
    if label.trim() != label {
        return Err(LabelError::Space(label.into()));
    }
    Ok(())
}

/// Refuses what cannot be the label of a new sample or class: as [`check`], and [`UNKNOWN`] in any case. Fields and heads that were made
/// before that was refused may have such a class; it can be read, and renamed.
pub fn check_new(label: &str) -> Result<(), LabelError> {
    check(label)?;
    match label.eq_ignore_ascii_case(UNKNOWN) {
        true => Err(LabelError::Reserved(label.into())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_labels_in_any_script_are_taken() {
        for label in [
            "washer",
            "hex nut",
            "Blaumeise",
            "カケス",
            "نسر",
            "می‌خورد",
            "MT_Free",
            "0",
        ] {
            assert_eq!(check(label), Ok(()), "{label}");
        }
    }

    #[test]
    fn labels_that_would_break_a_path_a_table_or_a_terminal_are_refused() {
        for label in [
            "",
            " ",
            "a/b",
            "a\\b",
            "..",
            ".",
            "a\nb",
            "\u{1b}[2J",
            "a\0",
            "a\u{202e}b",
            "a\u{2067}b",
            "a\u{200b}",
            "\u{feff}a",
            " a",
            "a ",
            "\t",
        ] {
            assert!(check(label).is_err(), "{label:?}");
        }
        assert!(check(&"x".repeat(65)).is_err());
        assert!(check(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn a_new_class_is_not_called_what_the_program_answers_and_an_old_one_may_be() {
        for label in ["unknown", "Unknown", "UNKNOWN"] {
            assert_eq!(check_new(label), Err(LabelError::Reserved(label.into())));
            assert_eq!(check(label), Ok(()));
        }
        for label in ["unknown bird", "unknowns", "other"] {
            assert_eq!(check_new(label), Ok(()));
        }
        assert_eq!(check_new("a/b"), check("a/b"));
    }
}
