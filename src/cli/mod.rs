//! placeholder
pub async fn main_of<S: Send + Sync + 'static>(app: crate::App<S>) -> std::process::ExitCode {
    match app.serve(crate::Config::from_env().unwrap_or_else(|e| panic!("{e}"))).await {
        Ok(()) => 0.into(),
        Err(e) => {
            eprintln!("{e}");
            1.into()
        }
    }
}
