//! The command `sakia`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    sakia::cli::main().await
}
