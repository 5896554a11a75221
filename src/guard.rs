//! Libraries that may panic on a damaged file: redb on a store that something else overwrote, tract on a model that makes no sense. That
//! must reach the user as an error, not as a crash.
//!
//! Owns: the one place at which a panic becomes an error. Every call into redb goes through [`guarded`], and every one in which
//! tract makes a plan of a model or runs it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic inside it is not printed, and its message comes back.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    quiet_hook();
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|panic| message(panic.as_ref()).to_owned())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// Lets the hook that was there print every panic but those of guarded work.
fn quiet_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_comes_back_as_its_message_and_an_answer_as_it_is() {
        let text = guarded(|| -> u8 { panic!("a page of another kind") });
        assert_eq!(text.unwrap_err(), "a page of another kind");
        let made = guarded(|| -> u8 { panic!("page {}", std::hint::black_box(7)) });
        assert_eq!(made.unwrap_err(), "page 7");
        assert_eq!(guarded(|| 7), Ok(7));
        assert!(!GUARDED.get());
    }
}
