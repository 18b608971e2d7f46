//! Named places where a test makes the process die.

/// With the feature `fail-points`, and if the environment's `FAILPOINTS` names the place with the action `return`, the
/// process ends here as by `kill -9`: no destructor runs, nothing is flushed.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "fail-points")]
        fail::fail_point!($name, |_| std::process::abort());
    };
}

pub(super) use crash_point;
