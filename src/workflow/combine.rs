//! `select!` and `join!` over operations, futures and anything else that is `IntoFuture`.

use futures::future::{FutureExt, LocalBoxFuture};
use std::future::IntoFuture;

/// Makes a future of an operation, for combinators that need one.
///
/// ```no_run
/// # async fn example(ctx: sakia::Ctx<()>) -> sakia::Result<()> {
/// let steps = ["a", "b"].map(|name| sakia::boxed(ctx.run(name, async || Ok(1))));
/// let sum: i32 = sakia::futures::future::try_join_all(steps).await?.into_iter().sum();
/// # Ok(()) }
/// ```
pub fn boxed<'a, F>(operation: F) -> LocalBoxFuture<'a, F::Output>
where
    F: IntoFuture,
    F::IntoFuture: 'a,
{
    operation.into_future().boxed_local()
}

/// Waits for the first of several operations and drops the others, which cancels them. Always biased: if several are
/// ready, the one written first wins, in replay as live.
///
/// ```no_run
/// # use std::time::Duration;
/// # const APPROVAL: sakia::Signal<bool> = sakia::Signal::new("approval");
/// # async fn example(ctx: sakia::Ctx<()>) -> sakia::Result<bool> {
/// sakia::select! {
///     approved = ctx.recv(APPROVAL) => approved,
///     _ = ctx.sleep(Duration::from_secs(30)) => Ok(false),
/// }
/// # }
/// ```
#[macro_export]
macro_rules! select {
    ($($pattern:pat = $operation:expr => $then:expr),+ $(,)?) => {
        $crate::futures::select_biased! {
            $($pattern = $crate::futures::FutureExt::fuse($crate::boxed($operation)) => $then,)+
        }
    };
}

/// Waits for all of several operations and returns a tuple of their results.
///
/// ```no_run
/// # async fn example(ctx: sakia::Ctx<()>) -> sakia::Result<i32> {
/// let (a, b) = sakia::join!(ctx.run("a", async || Ok(1)), ctx.run("b", async || Ok(2)));
/// Ok(a? + b?)
/// # }
/// ```
#[macro_export]
macro_rules! join {
    ($($operation:expr),+ $(,)?) => {
        $crate::futures::join!($($crate::boxed($operation)),+)
    };
}
