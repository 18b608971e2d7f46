//! The workflow. It may be interrupted at any line, go on in another process, and wait for days.

use crate::contracts::{APPROVAL, Decision, Order, PAYMENTS, PaymentEvent, Receipt, Refusal};
use crate::provider::{Authorization, Provider};
use sakia::{Ctx, Error, Result, Retry};
use std::time::Duration;

const THREE_DAYS: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// What the workflow needs from its process.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Takes the money.
    pub provider: Provider,
}

/// From an order to its receipt, with one event on the way out.
pub async fn payment(ctx: Ctx<Deps>, order: Order) -> Result<Receipt> {
    let paid = pay(&ctx, &order).await;
    let event = match &paid {
        Ok(receipt) => PaymentEvent::Paid(receipt.clone()),
        Err(error) => match error.details::<Refusal>() {
            Some(refusal) => PaymentEvent::Refused(refusal),
            None => PaymentEvent::Failed { why: error.to_string() },
        },
    };
    ctx.send(PAYMENTS, &order.id, event);
    paid
}

async fn pay(ctx: &Ctx<Deps>, order: &Order) -> Result<Receipt> {
    let provider = &ctx.app().provider;
    let authorization = ctx
        .run("authorize", async || provider.authorize(order, &ctx.idempotency_key()).await)
        .retry(Retry::times(5))
        .await?;
    let captured = capture_when_approved(ctx, order, &authorization).await;
    if captured.is_err() {
        // The compensation: it must happen, however long the provider is away.
        ctx.run("void", async || provider.void(&authorization, &ctx.idempotency_key()).await)
            .retry(Retry::forever())
            .await?;
    }
    captured
}

async fn capture_when_approved(
    ctx: &Ctx<Deps>,
    order: &Order,
    authorization: &Authorization,
) -> Result<Receipt> {
    let patience = order.keep_ms.map_or(THREE_DAYS, Duration::from_millis);
    match ctx.recv(APPROVAL).timeout(patience).await? {
        Some(Decision::Approve) => {}
        Some(Decision::Reject { why }) => return Err(Error::permanent(Refusal::Rejected(why))),
        None => return Err(Error::permanent(Refusal::TimedOut)),
    }
    let provider = &ctx.app().provider;
    ctx.run("capture", async || provider.capture(authorization, &ctx.idempotency_key()).await)
        .retry(Retry::times(8).starting_at(Duration::from_secs(1)))
        .await
}
