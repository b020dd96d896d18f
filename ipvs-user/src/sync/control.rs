//! Both ends of the line to the task of the sync daemons: who asks holds a [`Control`], the task the [`Requests`].

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::{Config, Daemons, Error, Role};

/// What is asked of the task.
#[derive(Debug)]
pub(super) enum Request {
    Start(Config, Answer),
    Stop(Role, Answer),
}

type Answer = oneshot::Sender<Result<(), Error>>;
pub(super) type Running = Arc<Mutex<Vec<Config>>>;

/// The task's end.
#[derive(Debug)]
pub struct Requests {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) running: Running,
}

/// The asking end. It waits for answers, so it is for threads that may block.
#[derive(Debug)]
pub struct Control {
    requests: mpsc::Sender<Request>,
    running: Running,
}

impl Control {
    #[must_use]
    pub fn new() -> (Self, Requests) {
        let (sender, receiver) = mpsc::channel(8);
        let running = Running::default();
        let this = Self {
            requests: sender,
            running: Arc::clone(&running),
        };
        let requests = Requests {
            requests: receiver,
            running,
        };
        (this, requests)
    }

    fn ask(&self, request: impl FnOnce(Answer) -> Request) -> Result<(), Error> {
        let gone = || Error::Failed("the task of the sync daemons has ended".to_owned());
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.blocking_send(request(answer));
        sent.map_err(|_| gone())?;
        answered.blocking_recv().map_err(|_| gone())?
    }
}

impl Daemons for Control {
    fn start(&mut self, config: &Config) -> Result<(), Error> {
        self.ask(|answer| Request::Start(config.clone(), answer))
    }

    fn stop(&mut self, role: Role) -> Result<(), Error> {
        self.ask(|answer| Request::Stop(role, answer))
    }

    /// The master first.
    fn running(&self) -> Vec<Config> {
        let running = self.running.lock();
        running.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
