//! Ctrl-C: one flag that the handler sets and that running work checks. Owns the handler; it must never know what
//! is interrupted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::report::console::Console;

/// The flag that Ctrl-C sets. The first Ctrl-C ends the run after the current step, the second one ends the process
/// at once. All callers share one flag.
pub fn interrupt_flag(console: &Console) -> Arc<AtomicBool> {
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let start = || {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, console) = (stop.clone(), console.clone());
        // If no handler can be set, Ctrl-C still ends the process, but leaves the hidden output folder behind.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            // A step of a large model can take a minute, so the user is told that the signal arrived.
            console.note("interrupted: ending after this step; press Ctrl-C again to end at once");
        });
        stop
    };
    STOP.get_or_init(start).clone()
}

/// Ends the work if the user pressed Ctrl-C.
///
/// # Errors
/// [`Error::Interrupted`] if the flag is set.
pub fn check_interrupted(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    Ok(())
}
