//! What the system asks of a proxy that serves.
//!
//! Main type: [`Signals`]. Goes out: one [`Signal`] at a time. What follows is for `serve` to do.

/// What a signal asks for.
pub(super) enum Signal {
    /// SIGHUP: read the config files again.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only unix has the signal"))]
    Reload,
    /// End, with the name of the signal.
    End(&'static str),
}

/// The signals that a proxy heeds.
pub(super) struct Signals {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::End("SIGTERM"),
            _ = self.interrupt.recv() => Signal::End("SIGINT"),
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    pub(super) async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::End("Ctrl-C"),
            // Without a console there is nothing to wait for; the process is ended from outside.
            Err(_) => std::future::pending().await,
        }
    }
}
