//! What the workers run besides [`crate::jobs`]: transfers of a bank, accounts that count signals, alarms.

use crate::campaign::effects::Effects;
use crate::jobs::{Seen, out_topic};
use sakia::{App, Ctx, Error, Result, Signal, Workflow};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Moves money from one account to another, or gives it back.
pub const TRANSFER: Workflow<Transfer, bool> = Workflow::new("transfer");
/// The child of a transfer that pays the receiver.
pub const CREDIT: Workflow<Transfer, ()> = Workflow::new("credit");
/// Waits for a fixed number of deposits, and tells their sum.
pub const ACCOUNT: Workflow<u64, i64> = Workflow::new("account");
/// A deposit.
pub const DEPOSIT: Signal<Deposit> = Signal::new("deposit");
/// Sleeps until a time.
pub const ALARM: Workflow<Alarm, ()> = Workflow::new("alarm");

/// Deposits that close an account.
pub const DEPOSITS: u64 = 10;

/// A transfer as it is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transfer {
    /// Its number.
    pub n: u64,
    /// Who pays.
    pub from: u64,
    /// Who is paid.
    pub to: u64,
    /// How much.
    pub amount: i64,
    /// The receiver's account refuses it.
    pub refuse: bool,
}

/// One deposit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deposit {
    /// Its place among the account's deposits.
    pub place: u64,
    /// How much.
    pub amount: i64,
}

/// An alarm as it is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alarm {
    /// Its number.
    pub n: u64,
    /// When it is due, in milliseconds since the epoch.
    pub due_ms: u64,
}

/// The receiver does not take the money.
#[derive(Debug, Serialize, Deserialize)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

/// What the workflows of the `worker` app need.
pub struct Deps {
    /// The topic that they write.
    pub out: &'static str,
    /// Where steps tell that they ran.
    pub effects: Effects,
}

/// Adds the workflows of this module.
pub fn register(app: &mut App<Deps>) {
    app.workflow(TRANSFER, transfer);
    app.workflow(CREDIT, credit);
    app.workflow(ACCOUNT, account);
    app.workflow(ALARM, alarm);
}

async fn transfer(ctx: Ctx<Deps>, order: Transfer) -> Result<bool> {
    let (n, amount) = (order.n, order.amount);
    ctx.run("authorize", async || {
        ctx.app().effects.tell(&ctx.idempotency_key(), amount.unsigned_abs()).await?;
        Ok(())
    })
    .await?;
    post(&ctx, &Seen { n, account: order.from, amount: -amount, ..Seen::stage("debit") });
    let paid = ctx.call(CREDIT, format!("credit-{n}"), order.clone()).await;
    if let Err(error) = &paid {
        if !error.is_permanent() {
            return Err(Error::msg(format!("a child failed for no reason of its own: {error}")));
        }
        post(&ctx, &Seen { n, account: order.from, amount, ..Seen::stage("refund") });
    }
    let settled = Seen { n, paid: paid.is_ok(), ..Seen::stage("settled") };
    ctx.send(out_topic(ctx.app().out), &ctx.id(), settled);
    Ok(paid.is_ok())
}

async fn credit(ctx: Ctx<Deps>, order: Transfer) -> Result<()> {
    ctx.sleep(Duration::from_millis(5)).await?;
    if order.refuse {
        return Err(Error::permanent(Refused));
    }
    post(&ctx, &Seen { n: order.n, account: order.to, amount: order.amount, ..Seen::stage("credit") });
    Ok(())
}

/// Postings are keyed by account, so those of one transfer are on different partitions.
fn post(ctx: &Ctx<Deps>, posting: &Seen) {
    ctx.send(out_topic(ctx.app().out), &format!("acct-{}", posting.account), posting.clone());
}

async fn account(ctx: Ctx<Deps>, n: u64) -> Result<i64> {
    let (mut sum, mut ordered) = (0, true);
    for place in 0..DEPOSITS {
        let deposit = ctx.recv(DEPOSIT).await?;
        ordered &= deposit.place == place;
        sum += deposit.amount;
    }
    ctx.send(
        out_topic(ctx.app().out),
        &ctx.id(),
        Seen { n, amount: sum, paid: ordered, ..Seen::stage("closed") },
    );
    Ok(sum)
}

async fn alarm(ctx: Ctx<Deps>, alarm: Alarm) -> Result<()> {
    let due = UNIX_EPOCH + Duration::from_millis(alarm.due_ms);
    ctx.sleep(due.duration_since(ctx.now()).unwrap_or_default()).await?;
    let fired =
        Seen { n: alarm.n, asked_ms: alarm.due_ms, slept_ms: epoch_ms(ctx.now()), ..Seen::stage("fired") };
    ctx.send(out_topic(ctx.app().out), &ctx.id(), fired);
    Ok(())
}

/// Milliseconds since the epoch.
pub fn epoch_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
