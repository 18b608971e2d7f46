//! The app: one of any number of equal processes. They find each other through Kafka.

use payment_example::contracts::{APPROVAL, CLICKS, ORDERS, PAYMENT};
use payment_example::payment::{Deps, payment};
use payment_example::provider::Provider;
use sakia::App;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let url = std::env::var("PROVIDER_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".into());
    let provider = match Provider::new(url) {
        Ok(provider) => provider,
        Err(error) => {
            eprintln!("payments: the provider's client: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut app = App::new("payments", Deps { provider });
    app.workflow(PAYMENT, payment);
    app.stream(ORDERS).start(PAYMENT, |_key, order| (order.id.clone(), order));
    app.stream(CLICKS).signal(PAYMENT, APPROVAL, |order, decision| (order.clone(), decision));
    app.main().await
}
