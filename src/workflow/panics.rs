//! Where the code of a workflow panicked: only the panic hook knows the line.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes the process's panic hook note the place. What it did before, it still does.
pub(super) fn note_locations() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string);
            // A thread that is being torn down has no thread-local storage any more; then the place stays unknown.
            let _ = LAST.try_with(|last| *last.borrow_mut() = place);
            earlier(info);
        }));
    });
}

/// The line of this thread's last panic.
pub(super) fn last_location() -> Option<String> {
    LAST.with(|last| last.borrow_mut().take())
}
