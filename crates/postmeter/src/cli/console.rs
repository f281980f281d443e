//! `postmeter console`.

use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::output::{self, Wrong};
use super::worker::{stop_at_signal, wait};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address and port; the default is 127.0.0.1:8080.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Write the OpenAPI document to standard output and end.
    #[arg(long)]
    openapi: bool,
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    if args.openapi {
        output::raw(&::console::document())?;
        return Ok(ExitCode::SUCCESS);
    }
    let database = context.config.database()?;
    context.config.check_database()?;
    context.config.check_console(args.listen.as_deref())?;
    let stop = stop_at_signal()?;
    let Some(waited) = stop.run_until_cancelled(wait(&database)).await else { return Ok(ExitCode::SUCCESS) };
    waited?;
    serve(context, args.listen.as_deref(), stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// Serves until `stop`, with connections of its own.
pub(super) async fn serve(context: &Context, listen: Option<&str>, stop: CancellationToken) -> anyhow::Result<()> {
    let listen = listen.unwrap_or(&context.config.listen);
    let database = context.config.database()?;
    outbox::migrate::check(&database).await?;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| Wrong(format!("cannot listen at {listen}: {error}; name another with --listen")))?;
    output::started(format!("listening at http://{}", listener.local_addr()?));
    let stopped = async move { stop.cancelled().await };
    let catalogue = Arc::new(super::catalog::Catalogue);
    ::console::serve(listener, database, catalogue, context.config.console.clone(), stopped).await?;
    Ok(())
}
