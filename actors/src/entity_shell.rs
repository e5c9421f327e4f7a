//! The shell of an entity whose state is one row: it takes one input at a time, reads the row where it must, lets the pure
//! [`Machine`] decide, has the decision written, and only then acknowledges, answers and performs the calls.
//!
//! [`Shell`] itself does no I/O: it takes messages and returns actions, so that tests run the same code as production.
//! [`actor`] performs the actions.
//! Invariant: at most one change of an entity is in the journal, and no call is made before its change is committed.
//! Invariant: a cached row may be written over, since the version decides; a decision that writes nothing is made on a row that
//! was read after the input arrived. Exceptions are named in [`Machine::cached_is_enough`].

pub mod actor;
mod requester;

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use bus::contract::Timestamp;
use bus::service::Answered;
use bus::{Context, Failure};
use bytes::Bytes;
use tokio::time::Instant;

use crate::delivery::{Change, Outcome, Rows, StoredAnswer};
pub use requester::{Caller, Refusal, Requester};

/// Tries to write one input when the version keeps moving.
const STALE_MAX: u32 = 10;

/// The rules of one kind of entity. Pure.
pub trait Machine: Sized + Send + 'static {
    /// The row.
    type State: Clone + Send + Sync + 'static;
    type Input: Send + 'static;
    /// A call to another part, made after the commit; equal calls are in flight only once.
    type Call: Clone + Eq + Hash + Send + 'static;
    /// The outcome that a request waits for, where its own step does not answer it.
    type Wait: Clone + PartialEq + Send + 'static;
    /// The log lines of a decision.
    type Log: Send + 'static;
    type Rows: Rows;

    /// The result of the input, given the row or its absence.
    fn decide(
        &self,
        state: Option<&Self::State>,
        input: &Self::Input,
        requester: &Requester,
        now: Timestamp,
    ) -> Result<Plan<Self>, Refusal>;

    /// Whether a cached row suffices for this decision. The rule is `writes`; an exception needs a reason.
    fn cached_is_enough(&self, state: Option<&Self::State>, input: &Self::Input, writes: bool) -> bool;

    /// Whether two waiting inputs count as one.
    fn is_same(&self, first: &Self::Input, second: &Self::Input) -> bool;

    /// The database rejected the change: another input instead, or the refusal.
    fn rejected(
        &self,
        input: Self::Input,
        rejection: <Self::Rows as Rows>::Rejection,
    ) -> Result<Self::Input, Refusal>;

    /// The answer to a request whose idempotency key was used before.
    fn repeated(&self, stored: &StoredAnswer, hash: &[u8; 32]) -> Answered;

    /// Whether the request may be a repeated one, so that its key is looked up before it is decided.
    fn may_be_repeated(&self, _state: Option<&Self::State>, _input: &Self::Input) -> bool {
        false
    }

    /// How long the first input of an entity waits for another one that goes before it.
    fn defers(&self, _input: &Self::Input) -> Option<Duration> {
        None
    }

    /// Whether a waiting request is answered, waits on or is decided again, given the row if it is cached.
    fn poll(
        &self,
        wait: &Self::Wait,
        state: Option<&Self::State>,
        in_flight: &HashSet<Self::Call>,
    ) -> Poll<Self::Input>;

    /// Whether a call in flight makes this one unnecessary.
    fn is_needless(&self, _call: &Self::Call, _in_flight: &HashSet<Self::Call>) -> bool {
        false
    }

    /// Logs and counts a committed decision.
    fn committed(&self, _input: &Self::Input, _before: Option<&Self::State>, _plan: &Plan<Self>) {}
}

/// A decision.
pub struct Plan<M: Machine> {
    /// The row afterwards, where it changes.
    pub next: Option<M::State>,
    /// Whether `next` is a new version, and not only another deadline.
    pub is_new_version: bool,
    /// The change to write; none where nothing is written.
    pub change: Option<Change<M::Rows>>,
    /// Performed after the commit.
    pub calls: Vec<M::Call>,
    pub reply: Reply<M::Wait>,
    /// The answer to the requests that wait for this.
    pub completes: Option<(M::Wait, Bytes)>,
    pub context: Context,
    pub log: M::Log,
}

/// How a requester is answered once its step is committed.
pub enum Reply<W> {
    Now(Bytes),
    /// The requester waits for another input.
    Later(W),
}

pub enum Poll<I> {
    Wait,
    Answer(Answered),
    /// The request is decided again.
    Again(I),
}

pub enum Message<M: Machine> {
    Input(M::Input, Requester),
    /// The row that another part of this process has just committed.
    Cached(Box<M::State>),
    Read(Result<Option<M::State>, Failure>),
    Written(Box<Written<M>>),
    /// A call has ended, with the input that follows from it, if any.
    CallDone(M::Call, Option<M::Input>),
    /// The key of a request was looked up; the request, where the key is new.
    KeyRead(Option<Box<Job<M>>>),
    /// A deferred input has waited long enough.
    Deferred,
}

/// An action that the shell requests. Reads and writes are answered by a message.
pub enum Action<M: Machine> {
    Read,
    Write(Change<M::Rows>, Box<Job<M>>, Box<Plan<M>>),
    Call {
        call: M::Call,
        state: Option<M::State>,
        context: Context,
        until: Option<Instant>,
    },
    /// Read the key of the request, and answer with the first answer where it was used before.
    ReadKey(Box<Job<M>>),
    Wake(Duration),
}

/// An input with its requester.
pub struct Job<M: Machine> {
    pub input: M::Input,
    pub requester: Requester,
    /// The call whose outcome it is: in flight until this is handled.
    call: Option<M::Call>,
    key_is_new: bool,
}

pub struct Written<M: Machine> {
    pub job: Job<M>,
    pub plan: Plan<M>,
    pub outcome: Outcome<M::Rows>,
}

#[derive(Debug, Clone)]
enum Cached<S> {
    Unread,
    Absent,
    Row(S),
}

pub struct Shell<M: Machine> {
    pub machine: M,
    cached: Cached<M::State>,
    queue: VecDeque<Job<M>>,
    deferred: Option<Job<M>>,
    /// A read or a write is in flight.
    is_busy: bool,
    /// The row was read for the input that is next.
    is_fresh: bool,
    stale: u32,
    in_flight: HashSet<M::Call>,
    keys_in_flight: usize,
    waiting: Vec<(M::Wait, Requester)>,
}

impl<M: Machine> Shell<M> {
    pub fn new(machine: M) -> Self {
        Self {
            machine,
            cached: Cached::Unread,
            queue: VecDeque::new(),
            deferred: None,
            is_busy: false,
            is_fresh: false,
            stale: 0,
            in_flight: HashSet::new(),
            keys_in_flight: 0,
            waiting: Vec::new(),
        }
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_quiet(&self) -> bool {
        let is_idle = self.queue.is_empty() && self.deferred.is_none() && !self.is_busy;
        is_idle && self.in_flight.is_empty() && self.keys_in_flight == 0 && self.waiting.is_empty()
    }

    pub fn handle(&mut self, message: Message<M>, now: Timestamp) -> Vec<Action<M>> {
        let mut actions = Vec::new();
        match message {
            Message::Input(input, requester) => self.take_in(input, requester, &mut actions),
            Message::Cached(state) if matches!(self.cached, Cached::Unread) && !self.is_busy => {
                self.cached = Cached::Row(*state);
            }
            Message::Cached(_) => {}
            Message::Read(read) => self.read(read),
            Message::Written(written) => self.written(*written, &mut actions),
            Message::CallDone(call, Some(input)) => {
                let job = Job { input, requester: Requester::Nobody, call: Some(call), key_is_new: false };
                self.queue.push_back(job);
            }
            Message::CallDone(call, None) => drop(self.in_flight.remove(&call)),
            Message::KeyRead(job) => {
                self.keys_in_flight -= 1;
                self.queue.extend(job.map(|job| Job { key_is_new: true, ..*job }));
            }
            Message::Deferred => {
                if let Some(job) = self.deferred.take() {
                    self.cached = Cached::Unread;
                    self.queue.push_back(job);
                }
            }
        }
        self.go_on(now, &mut actions);
        actions
    }

    fn take_in(&mut self, input: M::Input, requester: Requester, actions: &mut Vec<Action<M>>) {
        let is_first = matches!(self.cached, Cached::Unread) && self.deferred.is_none() && !self.is_busy;
        let job = Job { input, requester, call: None, key_is_new: false };
        if is_first
            && self.queue.is_empty()
            && let Some(pause) = self.machine.defers(&job.input)
        {
            // The row of a first input almost never exists: if it does, the write fails and shows it.
            self.cached = Cached::Absent;
            self.deferred = Some(job);
            return actions.push(Action::Wake(pause));
        }
        let is_same = |waits: &Job<M>| {
            matches!(waits.requester, Requester::Nobody) && self.machine.is_same(&waits.input, &job.input)
        };
        if matches!(job.requester, Requester::Nobody) && self.queue.iter().any(is_same) {
            return;
        }
        self.queue.push_back(job);
        self.queue.extend(self.deferred.take());
    }

    /// Takes inputs until one has to wait for the database.
    fn go_on(&mut self, now: Timestamp, actions: &mut Vec<Action<M>>) {
        loop {
            while !self.is_busy {
                let Some(job) = self.queue.pop_front() else { break };
                if matches!(self.cached, Cached::Unread) {
                    self.queue.push_front(job);
                    self.is_busy = true;
                    return actions.push(Action::Read);
                }
                self.take(job, now, actions);
            }
            if self.is_busy || !self.poll_waiting() {
                return;
            }
        }
    }

    fn read(&mut self, read: Result<Option<M::State>, Failure>) {
        self.is_busy = false;
        match read {
            Ok(row) => {
                self.cached = row.map_or(Cached::Absent, Cached::Row);
                self.is_fresh = true;
            }
            Err(failure) => {
                for job in std::mem::take(&mut self.queue) {
                    self.finish(job, Err(failure.clone().into()));
                }
            }
        }
    }

    fn state(&self) -> Option<&M::State> {
        match &self.cached {
            Cached::Row(state) => Some(state),
            Cached::Unread | Cached::Absent => None,
        }
    }

    fn take(&mut self, job: Job<M>, now: Timestamp, actions: &mut Vec<Action<M>>) {
        let is_fresh = std::mem::take(&mut self.is_fresh);
        if job.requester.until().is_some_and(|until| until <= Instant::now()) {
            return self.finish(job, Err(Failure::transient("nobody waits for this any more").into()));
        }
        let has_key = job.requester.key().is_some() && !job.key_is_new;
        if has_key && self.machine.may_be_repeated(self.state(), &job.input) {
            self.keys_in_flight += 1;
            return actions.push(Action::ReadKey(Box::new(job)));
        }
        let decided = self.machine.decide(self.state(), &job.input, &job.requester, now);
        let writes = matches!(&decided, Ok(plan) if plan.change.is_some());
        if !is_fresh && !self.machine.cached_is_enough(self.state(), &job.input, writes) {
            self.cached = Cached::Unread;
            return self.queue.push_front(job);
        }
        match decided {
            Err(refusal) => self.finish(job, Err(refusal)),
            Ok(mut plan) => match plan.change.take() {
                Some(change) => {
                    self.is_busy = true;
                    actions.push(Action::Write(change, Box::new(job), Box::new(plan)));
                }
                None => self.perform(job, plan, actions),
            },
        }
    }

    fn written(&mut self, written: Written<M>, actions: &mut Vec<Action<M>>) {
        self.is_busy = false;
        let Written { job, mut plan, outcome } = written;
        match outcome {
            Outcome::Committed { .. } => {
                self.stale = 0;
                self.machine.committed(&job.input, self.state(), &plan);
                if let Some(next) = plan.next.take() {
                    self.cached = Cached::Row(next);
                }
                self.perform(job, plan, actions);
            }
            Outcome::Repeated(stored) => {
                let repeated = job.requester.key().map(|(_, hash)| self.machine.repeated(&stored, hash));
                let no_key =
                    || Err(Failure::poison("a change without an idempotency key was repeated").into());
                self.finish(job, repeated.map_or_else(no_key, |answer| answer.map_err(Refusal::Rejected)));
            }
            Outcome::Stale => {
                self.cached = Cached::Unread;
                self.stale += 1;
                if self.stale <= STALE_MAX {
                    return self.queue.push_front(job);
                }
                self.stale = 0;
                self.finish(job, Err(Failure::transient("the entity keeps changing").into()));
            }
            Outcome::Rejected(rejection) => {
                let Job { input, requester, call, key_is_new } = job;
                match self.machine.rejected(input, rejection) {
                    Ok(input) => self.queue.push_front(Job { input, requester, call, key_is_new }),
                    Err(refusal) => self.settle(call, requester, Err(refusal)),
                }
            }
            Outcome::Failed(failure) => {
                self.cached = Cached::Unread;
                self.finish(job, Err(failure.into()));
            }
        }
    }

    /// The actions after a decision, once it is committed or where there was nothing to commit.
    fn perform(&mut self, mut job: Job<M>, plan: Plan<M>, actions: &mut Vec<Action<M>>) {
        if let Some(call) = job.call.take() {
            self.in_flight.remove(&call);
        }
        if let Some((wait, answer)) = plan.completes {
            self.answer(&wait, &answer);
        }
        let until = job.requester.until();
        for call in plan.calls {
            if !self.machine.is_needless(&call, &self.in_flight) && self.in_flight.insert(call.clone()) {
                let (state, context) = (self.state().cloned(), plan.context.clone());
                actions.push(Action::Call { call, state, context, until });
            }
        }
        match plan.reply {
            Reply::Now(answer) => job.requester.done(Ok(answer)),
            Reply::Later(wait) => self.waiting.push((wait, job.requester)),
        }
    }

    fn finish(&mut self, job: Job<M>, result: Result<Bytes, Refusal>) {
        self.settle(job.call, job.requester, result);
    }

    fn settle(&mut self, call: Option<M::Call>, requester: Requester, result: Result<Bytes, Refusal>) {
        if let Some(call) = &call {
            self.in_flight.remove(call);
        }
        requester.done(result);
    }

    fn answer(&mut self, wait: &M::Wait, answer: &Bytes) {
        let waiting = std::mem::take(&mut self.waiting);
        let (done, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(other, _)| other == wait);
        self.waiting = left;
        done.into_iter().for_each(|(_, requester)| requester.done(Ok(answer.clone())));
    }

    /// Answers the requests whose outcome is known now. True where a request is decided again.
    fn poll_waiting(&mut self) -> bool {
        for (wait, requester) in std::mem::take(&mut self.waiting) {
            match self.machine.poll(&wait, self.state(), &self.in_flight) {
                Poll::Wait => self.waiting.push((wait, requester)),
                Poll::Answer(answered) => requester.done(answered.map_err(Refusal::Rejected)),
                Poll::Again(input) => {
                    self.queue.push_back(Job { input, requester, call: None, key_is_new: true });
                }
            }
        }
        !self.queue.is_empty()
    }
}

/// The empty answer.
pub fn nothing() -> Bytes {
    Bytes::from_static(b"null")
}

/// The memory of a process about an entity that waits only for calls, for model checks.
#[cfg(test)]
pub struct Memory<M: Machine> {
    cached: Cached<M::State>,
    in_flight: HashSet<M::Call>,
    waiting: Vec<M::Wait>,
}

#[cfg(test)]
impl<M: Machine> Default for Memory<M> {
    fn default() -> Self {
        Self { cached: Cached::Unread, in_flight: HashSet::new(), waiting: Vec::new() }
    }
}

#[cfg(test)]
impl<M: Machine> Clone for Memory<M> {
    fn clone(&self) -> Self {
        let Self { cached, in_flight, waiting } = self;
        Self { cached: cached.clone(), in_flight: in_flight.clone(), waiting: waiting.clone() }
    }
}

#[cfg(test)]
impl<M: Machine> Memory<M> {
    pub fn in_flight(&self) -> &HashSet<M::Call> {
        &self.in_flight
    }

    pub fn fingerprint(&self) -> String
    where
        M::State: std::fmt::Debug,
        M::Call: std::fmt::Debug,
        M::Wait: std::fmt::Debug,
    {
        let calls: std::collections::BTreeSet<String> =
            self.in_flight.iter().map(|call| format!("{call:?}")).collect();
        format!("{:?} {calls:?} {:?}", self.cached, self.waiting)
    }
}

#[cfg(test)]
impl<M: Machine> Shell<M> {
    pub fn remembering(machine: M, memory: Memory<M>) -> Self {
        let Memory { cached, in_flight, waiting } = memory;
        let waiting = waiting.into_iter().map(|wait| (wait, Requester::Nobody)).collect();
        Self { cached, in_flight, waiting, ..Self::new(machine) }
    }

    /// Panics while an input is handled.
    pub fn memory(self) -> Memory<M> {
        assert!(self.queue.is_empty() && self.deferred.is_none() && !self.is_busy, "an input is lost");
        let waiting = self.waiting.into_iter().map(|(wait, _)| wait).collect();
        Memory { cached: self.cached, in_flight: self.in_flight, waiting }
    }
}
