//! Any text as a card, as a board's profile, as settings, as a label, as a source.
#![no_main]

use fieldhead::{backbone::Card, board::Profile, config::Settings, label, source};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = Card::parse(text);
    let _ = Profile::parse("fuzz.toml", text);
    let _ = Settings::parse(text);
    let _ = label::check(text);
    // Opens nothing, and starts no program.
    let _ = source::parse(text);
});
