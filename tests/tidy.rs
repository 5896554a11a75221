//! The repository's own rules.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder whose name ends so.
fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
            }
        }
    }
    found.sort();
    found
}

/// The part of a source file before its tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

#[test]
fn printing_lives_in_cli_and_nowhere_else() {
    for (path, text) in files("src", ".rs") {
        let at_home = path.starts_with("src/cli") || path == Path::new("src/main.rs");
        for word in ["println!", "eprintln!", "print!(", "dbg!"] {
            assert!(
                at_home || !text.contains(word),
                "{word} in {}",
                path.display()
            );
        }
    }
}

#[test]
fn nothing_in_the_field_panics_on_purpose() {
    for (path, text) in files("src", ".rs") {
        if path.ends_with("tests.rs") {
            continue;
        }
        for word in [
            ".unwrap()",
            ".expect(",
            "panic!(",
            "todo!(",
            "unimplemented!(",
            "unreachable!(",
        ] {
            assert!(
                !without_tests(&text).contains(word),
                "{word} in {}",
                path.display()
            );
        }
    }
}

#[test]
fn only_the_command_line_reads_a_clock() {
    for (path, text) in files("src", ".rs") {
        let reads = text.contains("Instant::now") || text.contains("SystemTime::now");
        assert!(path.starts_with("src/cli") || !reads, "{}", path.display());
    }
}

#[test]
fn files_are_short_and_say_what_they_own() {
    for folder in ["src", "tests"] {
        for (path, text) in files(folder, ".rs") {
            let lines = text.lines().count();
            assert!(lines <= 500, "{} has {lines} lines", path.display());
            assert!(
                text.starts_with("//!"),
                "{} has no first comment",
                path.display()
            );
        }
    }
}

#[test]
fn no_test_is_switched_off_and_no_warning_silenced_wholesale() {
    for folder in ["src", "tests", "benches"] {
        for (path, text) in files(folder, ".rs") {
            for word in [
                concat!("#[", "ignore"),
                concat!("allow(", "clippy::all"),
                concat!("allow(", "warnings"),
            ] {
                assert!(!text.contains(word), "{word} in {}", path.display());
            }
        }
    }
}

#[test]
fn the_top_level_is_the_agreed_one() {
    let expected = [
        ".ci",
        ".git",
        ".gitignore",
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "benches",
        "boards",
        "docs",
        "field",
        "fuzz",
        "models",
        "src",
        "target",
        "tests",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(expected.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn the_readme_gives_its_commands_first() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let screen: String = readme.lines().take(40).collect::<Vec<_>>().join("\n");
    for command in ["cargo run --release -- demo", "cargo test --release"] {
        assert!(screen.contains(command), "{command}");
    }
}
