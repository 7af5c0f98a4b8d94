//! Signals that reach the wrapper and are meant for the command.
//!
//! Main type: [`Passing`]. Comes in: the signals of this process. Goes out: the same signals, sent to the child, unless the
//! terminal has sent them to both already: what is typed reaches the whole foreground group, and would arrive twice. The
//! child stays in the group of its caller, so that job control and a change of the window's size need no help from here.

#[cfg(unix)]
pub(super) use unix::Passing;

#[cfg(not(unix))]
pub(super) use elsewhere::Passing;

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io;

    use rustix::process::{Pid, Signal, getpgrp, kill_process};
    use rustix::termios::tcgetpgrp;
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    /// What a terminal sends to the foreground group by itself.
    const TYPED: [Signal; 2] = [Signal::INT, Signal::QUIT];

    #[derive(Debug)]
    pub(crate) struct Passing {
        hangup: Stream,
        interrupt: Stream,
        quit: Stream,
        terminate: Stream,
        user1: Stream,
        user2: Stream,
    }

    impl Passing {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self {
                hangup: signal(SignalKind::hangup())?,
                interrupt: signal(SignalKind::interrupt())?,
                quit: signal(SignalKind::quit())?,
                terminate: signal(SignalKind::terminate())?,
                user1: signal(SignalKind::user_defined1())?,
                user2: signal(SignalKind::user_defined2())?,
            })
        }

        pub(crate) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.hangup.recv() => Signal::HUP,
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.quit.recv() => Signal::QUIT,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.user1.recv() => Signal::USR1,
                _ = self.user2.recv() => Signal::USR2,
            }
        }

        /// `child` is `None` once it has ended, so that no other process of that number is met.
        pub(crate) fn pass(&self, signal: &Signal, child: Option<u32>) {
            if TYPED.contains(signal) && is_in_foreground() {
                return;
            }
            let child = child.and_then(|id| i32::try_from(id).ok());
            if let Some(child) = child.and_then(Pid::from_raw) {
                let _ = kill_process(child, *signal);
            }
        }
    }

    /// Whether this group is the one that the terminal sends to.
    fn is_in_foreground() -> bool {
        File::open("/dev/tty")
            .ok()
            .and_then(|terminal| tcgetpgrp(&terminal).ok())
            .is_some_and(|group| group == getpgrp())
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::io;

    /// The console tells every process of its group by itself, the child included; the wrapper only must not end first.
    #[derive(Debug)]
    pub(crate) struct Passing;

    impl Passing {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) async fn next(&mut self) {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }

        pub(crate) fn pass(&self, _signal: &(), _child: Option<u32>) {}
    }
}
