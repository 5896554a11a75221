//! redb may panic on a file that something else overwrote. That must reach the user as an error, not as a crash.
//!
//! Owns: the one place at which a panic becomes [`StoreError::Damaged`]. Every call into redb goes through [`guarded`].

use super::StoreError;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic inside it is not printed, and comes back as a damaged store.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    quiet_hook();
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.unwrap_or_else(|_| {
        Err(StoreError::Damaged(
            "its pages do not make sense".to_owned(),
        ))
    })
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
    fn a_panic_comes_back_as_a_damaged_store_and_an_answer_as_it_is() {
        let panicked = guarded(|| -> Result<(), _> { panic!("a page of another kind") });
        assert!(matches!(panicked, Err(StoreError::Damaged(_))));
        assert!(matches!(guarded(|| Ok(7)), Ok(7)));
        assert!(!GUARDED.get());
    }
}
