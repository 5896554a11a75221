//! Reading a table of TOML value by value, so that an error can name the file, the key, what was expected and what came.
//!
//! Owns: the walk over keys. Invariant: a key that nobody asked for is an error, so that a misspelt one is never passed over.

use super::BoardError;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use toml::{Table, Value};

/// The longest text and the longest list of a profile; the longest of those in `boards/` have 150 characters and 28 entries.
const MAX_TEXT: usize = 1_000;
const MAX_LIST: usize = 256;

/// A table of a file, and the keys that were asked for.
pub(super) struct Reader<'a> {
    file: &'a str,
    /// Where the table stands, such as `cpu.`.
    path: String,
    table: &'a Table,
    asked: BTreeSet<&'a str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, table: &'a Table) -> Reader<'a> {
        Reader {
            file,
            path: String::new(),
            table,
            asked: BTreeSet::new(),
        }
    }

    pub(super) fn text(&mut self, key: &'a str) -> Result<&'a str, BoardError> {
        let value = self.value(key)?;
        let text = value.as_str().filter(|text| is_text(text));
        text.ok_or_else(|| self.wrong(key, expected_text(), value))
    }

    /// A text that names something; `expected` says what, where `make` gives nothing.
    pub(super) fn named<T>(
        &mut self,
        key: &'a str,
        expected: &str,
        make: impl Fn(&str) -> Option<T>,
    ) -> Result<T, BoardError> {
        let text = self.text(key)?;
        make(text).ok_or_else(|| self.wrong(key, expected.into(), &text.into()))
    }

    pub(super) fn number(
        &mut self,
        key: &'a str,
        range: RangeInclusive<u32>,
    ) -> Result<u32, BoardError> {
        let value = self.value(key)?;
        number_in(value, &range).ok_or_else(|| self.wrong(key, expected_number(&range), value))
    }

    pub(super) fn texts(&mut self, key: &'a str) -> Result<Vec<String>, BoardError> {
        self.each(key, &expected_text(), |value| {
            let text = value.as_str().filter(|text| is_text(text))?;
            Some(text.to_owned())
        })
    }

    /// A list, each of its values turned into something; `expected` says what one is.
    pub(super) fn each<T>(
        &mut self,
        key: &'a str,
        expected: &str,
        make: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, BoardError> {
        let value = self.value(key)?;
        let list = value
            .as_array()
            .filter(|list| list.len() <= MAX_LIST)
            .ok_or_else(|| self.wrong(key, format!("a list of at most {MAX_LIST}"), value))?;
        list.iter()
            .enumerate()
            .map(|(at, value)| {
                make(value)
                    .ok_or_else(|| self.wrong(&format!("{key}[{at}]"), expected.into(), value))
            })
            .collect()
    }

    pub(super) fn table(&mut self, key: &'a str) -> Result<Reader<'a>, BoardError> {
        let value = self.value(key)?;
        match value.as_table() {
            Some(table) => Ok(self.inner(key, table)),
            None => Err(self.wrong(key, "a table".into(), value)),
        }
    }

    /// The table of a key that may be missing.
    pub(super) fn optional(&mut self, key: &'a str) -> Result<Option<Reader<'a>>, BoardError> {
        match self.table.contains_key(key) {
            true => self.table(key).map(Some),
            false => Ok(None),
        }
    }

    /// The tables of a key, `[[key]]`; none where it is missing.
    pub(super) fn tables(&mut self, key: &'a str) -> Result<Vec<Reader<'a>>, BoardError> {
        self.asked.insert(key);
        let Some(value) = self.table.get(key) else {
            return Ok(Vec::new());
        };
        let list = value.as_array().filter(|list| list.len() <= MAX_LIST);
        let tables: Option<Vec<&Table>> =
            list.and_then(|list| list.iter().map(Value::as_table).collect());
        let tables = tables.ok_or_else(|| self.wrong(key, "tables, [[…]]".into(), value))?;
        let named = tables
            .into_iter()
            .enumerate()
            .map(|(at, table)| self.inner(&format!("{key}[{at}]"), table));
        Ok(named.collect())
    }

    /// Refuses a key that was not asked for.
    pub(super) fn finish(self) -> Result<(), BoardError> {
        match self
            .table
            .iter()
            .find(|(key, _)| !self.asked.contains(key.as_str()))
        {
            Some((key, value)) => {
                let known: Vec<&str> = self.asked.iter().copied().collect();
                Err(self.wrong(key, format!("one of the keys {}", known.join(", ")), value))
            }
            None => Ok(()),
        }
    }

    /// What is wrong with the value of a key.
    pub(super) fn wrong(&self, key: &str, expected: String, got: &Value) -> BoardError {
        BoardError::Value {
            file: self.file.into(),
            key: format!("{}{key}", self.path),
            expected,
            got: shown(got),
        }
    }

    fn value(&mut self, key: &'a str) -> Result<&'a Value, BoardError> {
        self.asked.insert(key);
        self.table.get(key).ok_or_else(|| BoardError::Value {
            file: self.file.into(),
            key: format!("{}{key}", self.path),
            expected: "a value".into(),
            got: "nothing".into(),
        })
    }

    fn inner(&self, key: &str, table: &'a Table) -> Reader<'a> {
        Reader {
            path: format!("{}{key}.", self.path),
            ..Reader::new(self.file, table)
        }
    }
}

/// A whole number of a range.
pub(super) fn number_in(value: &Value, range: &RangeInclusive<u32>) -> Option<u32> {
    let number = u32::try_from(value.as_integer()?).ok()?;
    range.contains(&number).then_some(number)
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

fn expected_text() -> String {
    format!("a text of 1 to {MAX_TEXT} bytes on one line")
}

fn expected_number(range: &RangeInclusive<u32>) -> String {
    format!("a whole number from {} to {}", range.start(), range.end())
}

/// A value on one line, shortened.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string().replace(['\n', '\r'], " ");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
